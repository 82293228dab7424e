"""AdamW taken apart, against torch's own optimizers."""

from __future__ import annotations

import pytest
import torch

from engine.analysis.adamw import adamw_update, sgd_update, ulps


def steps(size, seed, weight_decay, **kind):
    """Yields, at each update: the pieces computed here, and the weights and moments that torch has after it."""
    draws = torch.Generator().manual_seed(seed)
    weight = torch.nn.Parameter(torch.randn(size, generator=draws))
    optimizer = torch.optim.AdamW([weight], lr=3e-3, weight_decay=weight_decay, **kind)
    for number in range(1, 30):
        scale = 10.0 ** torch.randint(-6, 1, size, generator=draws)
        weight.grad = torch.randn(size, generator=draws) * scale
        kept = optimizer.state.get(weight, {})
        moments = [kept[name].clone() if kept else None for name in ("exp_avg", "exp_avg_sq")]
        taken = adamw_update(weight.detach().clone(), weight.grad, *moments, number, 3e-3, weight_decay)
        optimizer.step()
        yield taken, weight.detach(), optimizer.state[weight]


@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
@pytest.mark.parametrize("size", [(65, 65), (3,), (32, 96)], ids=str)
def test_it_is_torch_s_fused_adamw(size, weight_decay) -> None:
    """To the last bit where the kernel works on 16 numbers at once; the few left over may be one float32 apart."""
    vector = torch.backends.cpu.get_cpu_capability().startswith("AVX")
    for taken, weight, state in steps(size, 1, weight_decay, fused=True):
        whole = weight.numel() // 16 * 16 if vector else 0
        pairs = (taken.after, weight), (taken.exp_avg, state["exp_avg"]), (taken.exp_avg_sq, state["exp_avg_sq"])
        for mine, its in pairs:
            apart = ulps(mine, its).flatten()
            assert not apart[:whole].any()
            assert apart.max() <= 1


def test_it_is_the_textbook_loop_within_rounding() -> None:
    """torch's plain loop adds in another order: up to two float32 numbers apart in a moment, the same update."""
    for taken, weight, state in steps((40, 40), 2, 0.1, foreach=False, fused=False):
        torch.testing.assert_close(taken.after, weight, rtol=3e-7, atol=1e-9)
        torch.testing.assert_close(taken.exp_avg_sq, state["exp_avg_sq"], rtol=1e-6, atol=0)


def test_the_first_update_is_about_lr_whatever_the_gradient_and_decay_moves_the_rest() -> None:
    gradient = torch.tensor([2e-6, -2e-4, 2e-2, 0.0])
    taken = adamw_update(torch.full((4,), 0.5), gradient, None, None, 1, 1e-3, 0.01)
    assert torch.allclose(taken.change[:3], -1e-3 * gradient[:3].sign() - 0.5e-5, rtol=6e-3)
    assert float(taken.change[3]) == pytest.approx(-0.5e-5, rel=1e-2)
    assert torch.equal(taken.change[3], (taken.decayed - taken.weight)[3])
    assert torch.allclose(sgd_update(torch.zeros(4), gradient, 1e-3, 0.0), -1e-3 * gradient, rtol=1e-6)


@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
def test_sgd_is_torch_s(weight_decay) -> None:
    draws = torch.Generator().manual_seed(3)
    before, gradient = torch.randn(73, 73, generator=draws), torch.randn(73, 73, generator=draws)
    for fused in (True, False):
        weight = torch.nn.Parameter(before.clone())
        weight.grad = gradient.clone()
        torch.optim.SGD([weight], lr=0.05, weight_decay=weight_decay, fused=fused).step()
        mine = sgd_update(before, gradient, 0.05, weight_decay)
        torch.testing.assert_close(mine, weight.detach(), rtol=1e-6, atol=1e-7)
        if fused and torch.backends.cpu.get_cpu_capability().startswith("AVX"):
            assert torch.equal(mine, weight.detach())


def test_ulps_counts_float32_numbers() -> None:
    one = torch.tensor([1.0, -1.0, 0.0, 1e-30])
    up = torch.nextafter(one, torch.full((4,), torch.inf))
    assert ulps(one, up).tolist() == [1, 1, 1, 1]
    assert ulps(torch.tensor(-0.0), torch.tensor(0.0)).item() == 0
