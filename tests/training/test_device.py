"""Where a model trains and how precisely, on what a CPU can show of it."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torchgen
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from engine.config import LiveSettings, RunConfig, changed
from engine.distributed.place import Place
from engine.distributed.processes import Processes
from engine.errors import InputError
from engine.models.base import Dropout
from engine.storage.reader import read_run
from engine.stream.messages import Record, Scalars
from engine.text.corpus import Corpus
from engine.training.checkpoint import PausedState
from engine.training.device import LARGE, in_bfloat16, pick_device, present_devices
from engine.training.state import replay, restore, take_snapshot
from engine.training.step_recorder import HostStepRecorder
from engine.training.trainer import Trainer
from tests.bench import gpu

SMALL: dict[str, Any] = {"model": "gpt", "n_layer": 2, "n_head": 2, "n_embd": 16, "block_size": 8}
CPU, CUDA, MPS = (torch.device(name) for name in ("cpu", "cuda", "mps"))


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """`machine("cuda", "mps")`: one that has these and no other accelerator."""

    def has(*names: str) -> None:
        monkeypatch.setattr(torch.cuda, "is_available", lambda: "cuda" in names)
        monkeypatch.setattr(torch.backends.mps, "is_available", lambda: "mps" in names)

    return has


def trainer_of(corpus: Corpus, settings: LiveSettings | None = None, **config: Any) -> tuple[Trainer, list[Record]]:
    records: list[Record] = []
    run = RunConfig(**(SMALL | config))
    return Trainer(run, settings or LiveSettings(batch_size=6), corpus, records.append), records


def losses(records: list[Record]) -> list[float]:
    return [record.loss for record in records if isinstance(record, Scalars)]


# ------------------------------------------------------------------ Apple's GPU


def test_apples_gpu_is_for_those_who_ask_and_auto_never_takes_it(machine: Callable[..., None]) -> None:
    machine("mps")
    assert present_devices() == ("auto", "cpu", "mps")
    assert (pick_device("mps").type, pick_device("auto").type) == ("mps", "cpu")
    with pytest.raises(InputError, match="device 'cuda' is not available here; choose cpu, mps or auto"):
        pick_device("cuda")
    machine()
    with pytest.raises(InputError, match="device 'mps' is not available here; choose cpu or auto"):
        pick_device("mps")
    machine("cuda", "mps")
    assert pick_device("auto").type == "cuda"


def test_apples_gpu_has_the_hosts_ledger_and_no_dropout_of_its_own(corpus: Corpus) -> None:
    """The branches that `mps` takes, on tensors of the CPU and of no device at all."""
    trainer, _ = trainer_of(corpus, dropout=0.3)
    assert isinstance(trainer.recorder, HostStepRecorder) and not trainer.recorder.late
    here, there = (torch.Generator().manual_seed(5) for _ in range(2))
    for draws, device in ((here, "cpu"), (there, "meta")):
        layer = Dropout(0.5)
        layer.generator = draws
        assert layer.train()(torch.ones(4, 6, device=device)).device.type == device
    assert torch.equal(here.get_state(), there.get_state()), "the same numbers were drawn, on the CPU"


def test_apples_gpu_is_not_for_several_processes() -> None:
    two = Processes.__new__(Processes)
    two.rank, two.size, two.local_rank, two.local_size = Place(0, 2, 0, 2)
    with pytest.raises(InputError, match="device 'mps' does not go with 2 processes"):
        two.check(32, MPS)


class Seen(TorchDispatchMode):
    """Every operation of torch that is carried out, by its full name, and the types of what it was given."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: dict[str, set[torch.dtype]] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        schema = func._schema
        name = schema.name.removeprefix("aten::") + (f".{schema.overload_name}" if schema.overload_name else "")
        given = {one.dtype for one in args if isinstance(one, Tensor) and one.is_floating_point()}
        self.calls.setdefault(name, set()).update(given)
        return func(*args, **(kwargs or {}))


ELSEWHERE = {
    "take": "a batch is looked up by [] there",
    "_linalg_eigh": "the projection is computed on the CPU",
    "_scaled_dot_product_flash_attention_for_cpu": "the CPU's form of one operation that each device has",
    "_scaled_dot_product_flash_attention_for_cpu_backward": "the CPU's form of one operation that each device has",
}
"""What a step on a CPU does that one on Apple's GPU does not."""


def test_each_operation_of_a_step_exists_on_apples_gpu(corpus: Corpus) -> None:
    listed = Path(torchgen.__file__).parent / "packaged" / "ATen" / "native" / "native_functions.yaml"
    known = {one.split("(")[0]: one for one in listed.read_text(encoding="utf-8").split("\n- func: ")}

    def exists(name: str) -> bool:
        delegate = re.search(r"\n  structured_delegate: (\S+)", known[name])
        if delegate is not None:
            return exists(delegate[1])
        kernels = re.search(r"\n  dispatch:\n((?:    .*\n)+)", known[name] + "\n")
        return kernels is None or any(kind in kernels[1] for kind in ("MPS", "CompositeImplicit", "CompositeExplicit"))

    with Seen() as seen:
        for own, knobs in (
            ({"optimizer": "muon", "dropout": 0.1}, {"grad_clip": 1.0, "micro_batches": 2}),
            ({"optimizer": "adamw", "attention": "fused", "tie_weights": True}, {"lr": 1e7, "weight_decay": 10.0}),
            ({"optimizer": "sgd", "momentum": 0.9, "first_weights": "small", "precision": "bfloat16"}, {}),
        ):
            settings = LiveSettings(**({"batch_size": 6} | knobs))
            trainer, _ = trainer_of(
                corpus, settings, observe_every=1, eval_every=1, sample_every=2, sample_tokens=3, **own
            )
            trainer.observer.show_start()
            for _ in range(3):
                trainer.advance()
    names = {name for name in seen.calls if "::" not in name}
    assert len(names) > 60
    assert sorted(name for name in names - set(ELSEWHERE) if not exists(name)) == []
    where = torch.arange(6).view(2, 3)
    assert torch.equal(corpus.train[where], corpus.train.take(where))


# ------------------------------------------------------------------ bfloat16


def test_bfloat16_is_the_default_of_large_models_on_cuda_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: not including_emulation)
    for precision, parameters, device, expected in (
        ("auto", LARGE + 1, CUDA, True),
        ("auto", LARGE, CUDA, False),
        ("auto", LARGE + 1, CPU, False),
        ("auto", LARGE + 1, MPS, False),
        ("float32", LARGE + 1, CUDA, False),
        ("bfloat16", 10, CUDA, True),
        ("bfloat16", 10, CPU, True),
    ):
        assert in_bfloat16(precision, parameters, device) is expected, (precision, parameters, device)  # type: ignore[arg-type]
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: including_emulation)
    assert not in_bfloat16("auto", LARGE + 1, CUDA), "a GPU that only emulates it is slower with it"


@pytest.mark.parametrize("own", [{}, {"attention": "fused", "optimizer": "muon"}, {"dropout": 0.2}], ids=str)
def test_under_bfloat16_no_product_of_a_step_is_left_in_float32(corpus: Corpus, own: dict[str, Any]) -> None:
    trainer, _ = trainer_of(corpus, LiveSettings(batch_size=6, micro_batches=2), precision="bfloat16", **own)
    with Seen() as seen:
        for _ in range(4):  # batch, forward, loss, backward
            trainer.stage()
    products = {
        name: kinds for name, kinds in seen.calls.items() if any(word in name for word in ("mm", "dot_product"))
    }
    assert {"mm", "addmm"} <= set(products)
    assert {kind for kinds in products.values() for kind in kinds} <= {torch.bfloat16, torch.float32}
    for name, kinds in products.items():
        # the log-sum-exp that the kernel of attention hands to its own backward is float32
        allowed = {torch.bfloat16, torch.float32} if name.endswith("for_cpu_backward") else {torch.bfloat16}
        assert kinds <= allowed, name
    assert trainer.logits.dtype == trainer.loss.dtype == torch.float32


def test_bfloat16_chosen_on_a_cpu_trains_and_goes_on_bit_for_bit_from_a_snapshot(corpus: Corpus) -> None:
    settings = LiveSettings(batch_size=6, lr=3e-3, warmup_steps=5, grad_clip=1.0)
    own = {"precision": "bfloat16", "dropout": 0.1, "optimizer": "muon", "attention": "fused"}
    whole, records = trainer_of(corpus, settings, **own)
    for _ in range(6):
        whole.advance()
    snapshot = take_snapshot(whole)
    kept = [*snapshot.weights.values(), *(t for state in snapshot.optimizer.values() for t in state.values())]
    assert {tensor.dtype for tensor in kept} == {torch.float32}
    for _ in range(6):
        whole.advance()
    again, resumed = trainer_of(corpus, settings, **own)
    restore(again, snapshot)
    for _ in range(6):
        again.advance()
    assert losses(resumed) == losses(records)[6:]
    _, exact = one_precision_more(corpus, settings, **(own | {"precision": "float32"}))
    assert losses(records) != exact
    assert losses(records) == pytest.approx(exact, abs=0.02)


def one_precision_more(corpus: Corpus, settings: LiveSettings, **own: Any) -> tuple[Trainer, list[float]]:
    trainer, records = trainer_of(corpus, settings, **own)
    for _ in range(12):
        trainer.advance()
    return trainer, losses(records)


def test_float32_is_what_a_cpu_trains_in_unless_told_otherwise(corpus: Corpus) -> None:
    found = [one_precision_more(corpus, LiveSettings(batch_size=6), precision=kind)[1] for kind in ("auto", "float32")]
    assert found[0] == found[1]
    assert RunConfig().precision == "auto"


def test_a_run_of_before_goes_on_in_float32(tmp_path: Path) -> None:
    folder = Path(__file__).parent.parent / "fixtures" / "runs" / "gpt-dropout"
    stored = read_run(Path(shutil.copytree(folder, tmp_path / folder.name)))
    assert stored.config is not None
    assert stored.config.precision == "float32"


# ------------------------------------------------------------------ compiled


def test_a_compiled_model_trains_and_copies_of_it_are_not_compiled(
    corpus: Corpus, monkeypatch: pytest.MonkeyPatch
) -> None:
    compiled: list[torch.nn.Module] = []

    def compiles(model: torch.nn.Module) -> torch.nn.Module:
        compiled.append(model)
        return model

    monkeypatch.setattr(torch, "compile", compiles)
    trainer, records = trainer_of(corpus, compile=True)
    plain, expected = trainer_of(corpus)
    for _ in range(3):
        trainer.advance()
        plain.advance()
    assert compiled == [trainer.model]
    assert losses(records) == losses(expected)
    replay(trainer.config, corpus, PausedState(take_snapshot(trainer), 2))
    assert len(compiled) == 1


def test_a_model_with_dropout_is_not_compiled() -> None:
    with pytest.raises(InputError, match=r"compile does not go with dropout 0.1, .*; set dropout 0, or compile false"):
        changed(RunConfig(**SMALL), dropout=0.1, compile=True)
    assert changed(RunConfig(), dropout=0.1, compile=True).compile, "a bigram has no dropout"


@pytest.mark.thorough
def test_torchs_compiler_changes_losses_by_rounding_alone_and_resumes_bit_for_bit(corpus: Corpus) -> None:
    settings = LiveSettings(batch_size=6, lr=3e-3)
    whole, records = trainer_of(corpus, settings, compile=True)
    _, expected = one_precision_more(corpus, settings)
    for _ in range(6):
        whole.advance()
    snapshot = take_snapshot(whole)
    for _ in range(6):
        whole.advance()
    assert losses(records) == pytest.approx(expected, abs=1e-4)
    again, resumed = trainer_of(corpus, settings, compile=True)
    restore(again, snapshot)
    for _ in range(6):
        again.advance()
    assert losses(resumed) == losses(records)[6:]


# ------------------------------------------------------------------ the bench


def test_the_gpus_bench_says_not_measured_without_one_and_would_run(machine: Callable[..., None]) -> None:
    machine()
    assert {(one.value, one.note) for one in gpu.gpu("cpu", quick=True)} == {
        (None, "not measured: there is no CUDA device here")
    }
    small = gpu.Sizes(1, 2, 16, block=8, batch=2, tokens=65, padded=80, steps=3, rounds=1, compiled=False)
    found = gpu.measured(small, "cpu")
    assert [one.name for one in found] == [gpu.NAMES[name] for name in ("same", "theirs", "tokens", "float32")]
    assert all(one.value is not None and one.value > 0 for one in found)
