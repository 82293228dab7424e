"""The update stage: the optimizer's rule taken apart for one weight, beside what another would have done."""

from __future__ import annotations

from typing import Literal, NamedTuple

import plotly.graph_objects as go
import streamlit as st
import torch
from torch import Tensor

from engine.analysis.adamw import AdamWUpdate, adamw_update, sgd_update, ulps
from engine.analysis.muon import muon_update
from pages.charts.palette import EVENT, TRAIN
from pages.charts.static import heading, plane, show
from pages.views.shared.inspected_step import InspectedStep
from pages.views.step.stages.agreement import agreement_view
from pages.views.step.stages.shared import (
    digits,
    document_note,
    gradient_of,
    number_table,
    short,
    weight_name,
    weight_picker,
)

MOST_DOTS = 3000
FEW = 20
FORMULA = "new weight = old weight − learning rate × gradient; a larger gradient moves a weight more."


def update_view(shown: InspectedStep) -> None:
    """Where each weight went, and why that far."""
    if shown.trainer.recorder.diverged:
        st.text("The guard withheld this update: no weight was moved.")
        return
    name, spot = weight_picker(shown)
    rule, taken = rule_of(shown, name), update_of(shown, name)
    plain = -rule.lr * taken.gradient  # document 000's formula, before it is rounded into a weight
    if rule.name == "muon":
        muon_table(shown, name, spot, rule)
        agreement_view(shown)
        return
    one, other = st.columns([1, 1])
    with one:
        if rule.name == "adamw":
            adamw_table(shown, name, spot, taken, plain)
        else:
            sgd_table(shown, name, spot, taken)
    with other:
        if taken.gradient.numel() > FEW:
            show(
                moves_figure(taken, plain, rule.lr),
                "step_moves",
                "How far each weight moves, against its gradient",
                "A dot is a weight of this parameter. Under −lr · gradient (pink) the move grows with the gradient; "
                "under AdamW (blue) the first moves are all about lr, however small the gradient; later ones shorter.",
                height=360,
            )
        if rule.name == "adamw":
            compare_with_formula(shown, taken, plain)
        else:
            plain_rule(shown, taken, spot)
    heading(
        "From the largest gradient to none",
        "A few weights of this parameter, each with the move that either rule makes, in units of lr. "
        "A weight without a gradient still decays under AdamW, and keeps its old momentum.",
    )
    number_table(sample_of_weights(shown, taken, plain), ("weight", "gradient", "AdamW: Δw / lr", "−gradient"))
    agreement_view(shown)


class Rule(NamedTuple):
    """The rule that moves a parameter in this step, its rate, and its weight decay."""

    name: Literal["adamw", "sgd", "muon"]
    lr: float
    weight_decay: float


def rule_of(shown: InspectedStep, name: str) -> Rule:
    """How the parameter of that name is moved. Muon leaves all but hidden matrices to AdamW."""
    parameter = shown.parameters[name]
    groups = shown.trainer.optimizer.param_groups
    number = next(i for i, group in enumerate(groups) if any(one is parameter for one in group["params"]))
    kind = shown.config.optimizer if number == 0 or shown.config.optimizer != "muon" else "adamw"
    return Rule(kind, groups[number]["lr"], groups[number]["weight_decay"])


def update_of(shown: InspectedStep, name: str) -> AdamWUpdate:
    """The parts of AdamW's update of a parameter; under another rule, of AdamW's first update from here."""
    kept, rule, config = shown.moment.snapshot.optimizer.get(name, {}), rule_of(shown, name), shown.config
    return adamw_update(
        shown.before[name],
        gradient_of(shown, name),
        kept.get("exp_avg"),
        kept.get("exp_avg_sq"),
        int(kept["step"]) + 1 if "step" in kept else 1,
        rule.lr,
        rule.weight_decay,
        (config.beta1, config.beta2),
        config.epsilon,
    )


def muon_table(shown: InspectedStep, name: str, spot: tuple[int, ...], rule: Rule) -> None:
    """Each quantity on the way to the Δw of one weight of a hidden matrix, and torch's own result."""
    kept = shown.moment.snapshot.optimizer.get(name, {}).get("momentum_buffer")
    before, gradient, after = shown.before[name], gradient_of(shown, name), shown.parameters[name].detach()
    taken = muon_update(before, gradient, kept, rule.lr, rule.weight_decay)
    sizes = torch.linalg.svdvals(taken.way), torch.linalg.svdvals(taken.direction)
    spread = [f"{short(float(one.min()))} to {short(float(one.max()))}" for one in sizes]
    heading(
        "Muon, taken apart for one weight of a hidden matrix",
        "Muon moves a matrix as a whole: its momentum is turned into a matrix whose directions all have about the "
        "same size, so that rare directions move as far as common ones. Embeddings, head, biases and norms are "
        "AdamW's: choose one of them above.",
    )
    number_table(
        [
            ("w, before", "", digits(float(before[spot]))),
            ("g, the gradient", "", digits(float(gradient[spot]))),
            ("m, momentum", "0.95 · m + 0.05 · g", digits(float(taken.momentum[spot]))),
            ("the way", "0.05 · g + 0.95 · m", digits(float(taken.way[spot]))),
            ("its directions' sizes (singular values)", "from the least to the largest", spread[0]),
            ("the way, made orthogonal", "five steps of Newton and Schulz", digits(float(taken.direction[spot]))),
            ("its directions' sizes", "all near 1", spread[1]),
            (
                "the step",
                f"−{rule.lr:g} · √max(1, rows/columns) = −{rule.lr * taken.stretch:.4g}, times that",
                digits(-rule.lr * taken.stretch * float(taken.direction[spot])),
            ),
            (
                "the decay",
                f"−{rule.lr:g} · {rule.weight_decay:g} · w",
                digits(-rule.lr * rule.weight_decay * float(before[spot])),
            ),
            ("w, after, by hand", "", digits(float(taken.after[spot]))),
            ("w, after, by the optimizer", "", digits(float(after[spot]))),
            ("Δw of AdamW instead", "its first update from here", digits(float(update_of(shown, name).change[spot]))),
        ],
        (weight_name(shown, name, spot), "how", "value"),
    )
    apart = float((taken.after - after).abs().max())
    st.text(f"Over all {after.numel():,} weights of this matrix the two results differ by at most {apart:.1e}.")


def adamw_table(shown: InspectedStep, name: str, spot: tuple[int, ...], taken: AdamWUpdate, plain: Tensor) -> None:
    """Each quantity on the way to one weight's Δw, and torch's own result."""
    rule, n, config = rule_of(shown, name), taken.number, shown.config
    kept = shown.moment.snapshot.optimizer.get(name, {})
    m, v = (float(kept[key][spot]) if kept else 0.0 for key in ("exp_avg", "exp_avg_sq"))
    after = shown.parameters[name].detach()
    at = {key: float(getattr(taken, key)[spot]) for key in ("weight", "gradient", "exp_avg", "exp_avg_sq", "after")}
    pull = -rule.lr * rule.weight_decay * at["weight"]
    mean, size = float(taken.mean[spot]), float(taken.denominator[spot])
    heading(
        "AdamW, taken apart for one weight",
        "From top to bottom, each line uses those above it. The last lines hold the result against what torch did to "
        "this very weight; 0 apart means equal to the last bit.",
    )
    number_table(
        [
            ("w, before", "", digits(at["weight"])),
            ("g, the gradient", "", digits(at["gradient"])),
            ("m, first moment", f"{config.beta1:g} · {short(m)} + {1 - config.beta1:.3g} · g", digits(at["exp_avg"])),
            (
                "v, second moment",
                f"{config.beta2:g} · {short(v)} + {1 - config.beta2:.3g} · g²",
                digits(at["exp_avg_sq"]),
            ),
            ("m̂, bias corrected", f"m / (1 − {config.beta1:g}^{n:,}) = m / {taken.correction:.6g}", digits(mean)),
            ("√v̂ + ε", f"√(v / (1 − {config.beta2:g}^{n:,})) + {config.epsilon:g}", digits(size)),
            ("m̂ / (√v̂ + ε)", "about ±1 while all gradients point one way", digits(mean / size)),
            ("lr / (√v̂ + ε)", "this weight's own learning rate", digits(rule.lr / size)),
            ("the step", f"−lr · that, lr = {rule.lr:g}", digits(-rule.lr * mean / size)),
            (
                "the decay",
                f"−lr · {rule.weight_decay:g} · w",
                digits(pull),
            ),
            ("w, after, by hand", "", digits(at["after"])),
            ("w, after, by torch", "", digits(float(after[spot]))),
            ("Δw by torch", "after − before", digits(float(after[spot]) - at["weight"])),
            ("Δw of plain SGD instead", "−lr · g", digits(float(plain[spot]))),
        ],
        (weight_name(shown, name, spot), "how", "value"),
    )
    st.text(agreement(taken.after, after))


def agreement(mine: Tensor, theirs: Tensor) -> str:
    """How exactly two results agree, over all weights of a parameter."""
    apart = ulps(mine, theirs)
    off = int((apart > 0).sum())
    if not off:
        return f"Every weight of this parameter, {apart.numel():,} in all, agrees with torch to the last bit."
    return (
        f"{apart.numel() - off:,} of {apart.numel():,} weights agree with torch to the last bit, the others are "
        f"at most {int(apart.max()):,} float32 numbers apart: at a tensor's end, and on other devices, torch rounds in "
        "another order."
    )


def sgd_table(shown: InspectedStep, name: str, spot: tuple[int, ...], taken: AdamWUpdate) -> None:
    """The same for a run under SGD: its formula, torch's result, and what AdamW would do first."""
    rule, after = rule_of(shown, name), shown.parameters[name].detach()
    before, g = float(shown.before[name][spot]), float(taken.gradient[spot])
    kept, momentum = shown.moment.snapshot.optimizer.get(name, {}).get("momentum_buffer"), shown.config.momentum
    velocity = 0.0 if kept is None else float(kept[spot])
    change = -rule.lr * (g + rule.weight_decay * before + momentum * velocity)
    mine = sgd_update(shown.before[name], taken.gradient, rule.lr, rule.weight_decay, momentum, kept)
    pushed = f" + {momentum:g} · {short(velocity)}" if momentum else ""
    heading(
        "SGD, taken apart for one weight",
        "The whole rule in one line: against the slope, by the learning rate. The result is held against what torch "
        "did to this very weight.",
    )
    number_table(
        [
            ("w, before", "", digits(before)),
            ("g, the gradient", "", digits(g)),
            (
                "Δw",
                f"−{rule.lr:g} · (g + {rule.weight_decay:g} · w{pushed})",
                digits(change),
            ),
            ("w, after, by hand", "", digits(float(mine[spot]))),
            ("w, after, by torch", "", digits(float(after[spot]))),
            ("Δw of AdamW instead", "its first update from here", digits(float(taken.change[spot]))),
        ],
        (weight_name(shown, name, spot), "how", "value"),
    )
    st.text(agreement(mine, after))


def moves_figure(taken: AdamWUpdate, plain: Tensor, lr: float) -> go.Figure:
    """|Δw| / lr against |g|, both logarithmic, for both rules; weights without a gradient are left out."""
    gradient = taken.gradient.abs().flatten()
    chosen = gradient.nonzero().flatten()
    chosen = chosen[:: max(1, len(chosen) // MOST_DOTS)]
    figure = plane("|gradient|", "|Δw| / lr", log_x=True, log_y=True)
    for label, moved, colour in (("AdamW", taken.change, TRAIN), ("−lr · gradient", plain, EVENT)):
        ys = moved.abs().flatten()[chosen] / lr
        figure.add_scatter(
            x=gradient[chosen].tolist(),
            y=[y or None for y in ys.tolist()],
            mode="markers",
            marker={"size": 5, "color": colour, "opacity": 0.7},
            name=label,
            hovertemplate="|g| %{x:.3~g}<br>|Δw|/lr %{y:.3~g}<extra></extra>",
        )
    figure.update_xaxes(exponentformat="power", dtick=1)
    figure.update_yaxes(dtick=1)
    return figure


def plain_rule(shown: InspectedStep, taken: AdamWUpdate, spot: tuple[int, ...]) -> None:
    """Document 000's formula under SGD, where it is the rule, and what AdamW would do instead."""
    g, first = float(taken.gradient[spot]), -float(taken.mean[spot] / taken.denominator[spot])
    document_note(
        "document 000",
        FORMULA,
        f"This run is under plain SGD, and for it the formula is the rule: with gradient {short(g)} the weight moves "
        f"{short(-g)} × lr. AdamW's first update from the same place would move it {short(first)} × lr, as it "
        "would for nearly any gradient.",
    )


def compare_with_formula(shown: InspectedStep, taken: AdamWUpdate, plain: Tensor) -> None:
    """Document 000's formula beside both rules, on the real weights."""
    lr, has = shown.trainer.rate, taken.gradient != 0
    if not bool(has.any()):
        return
    g = taken.gradient.abs()[has]
    by_adamw, by_sgd = (moved.abs()[has] / lr for moved in (taken.change, plain))
    sizes = by_adamw.sort().values
    least, most = (sizes[int(share * (len(sizes) - 1))] for share in (0.01, 0.99))
    rest = ""
    if not bool(has.all()):
        still = taken.change[~has].abs()
        why = "decay alone, at its first update" if taken.number == 1 else "decay, and momentum from earlier steps"
        rest = (
            f" The {int((~has).sum()):,} weights without a gradient: AdamW moves them by up to "
            f"{float(still.max()) / lr:.3g} × lr ({why}), the formula not at all."
        )
    document_note(
        "document 000",
        FORMULA,
        f"That is plain SGD: its moves span {short(float(by_sgd.min()))} to {short(float(by_sgd.max()))} × lr, as "
        f"the gradients do ({short(float(g.min()))} to {short(float(g.max()))}). Under AdamW, at its update "
        f"{taken.number:,}, 98 % of them move between {short(float(least))} and {short(float(most))} × lr.{rest}",
    )


def sample_of_weights(shown: InspectedStep, taken: AdamWUpdate, plain: Tensor) -> list[tuple[str, str, str, str]]:
    """Weights from the largest gradient to none: place, gradient, and both moves in units of lr."""
    flat, lr = taken.gradient.abs().flatten(), shown.trainer.rate
    order = flat.argsort(descending=True)
    has = int((flat > 0).sum())
    ranks = [0, has // 3, 2 * has // 3, has - 1] + ([has] if has < len(flat) else [])
    rows = []
    for place in dict.fromkeys(int(order[max(0, rank)]) for rank in ranks):
        spot = tuple(int(i) for i in torch.unravel_index(torch.tensor(place), taken.gradient.shape))
        moved, other = (float(t.flatten()[place]) / lr for t in (taken.change, plain))
        rows.append(
            (
                weight_name(shown, "w", spot),
                short(float(taken.gradient[spot])),
                short(moved),
                short(other),
            )
        )
    return rows
