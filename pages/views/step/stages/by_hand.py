"""Backward by hand for the chosen weight: the nodes on its way, called one by one; its slope as a sum of products."""

from __future__ import annotations

import streamlit as st
import torch

from engine.analysis.autograd_graph import accumulate_gradients
from engine.analysis.backward_by_hand import BackwardByHand, Term, backward_by_hand, score_terms
from engine.models.base import LanguageModel
from engine.training.checkpoint import PausedState
from engine.training.state import replay
from engine.training.trainer import STAGES
from pages.charts.static import heading
from pages.views.shared.inspected_step import InspectedStep
from pages.views.step.stages.shared import cached, digits, document_note, number_table, scrollable, short, weight_name

MOST_TERMS = 8


def by_hand_view(shown: InspectedStep, name: str, spot: tuple[int, ...]) -> None:
    """The chain of slopes to the chosen weight, made by hand on the graph of this step."""
    way, arrived, told = cached(shown, f"by hand {name}", lambda: walk(shown, name))
    heading(
        "Backward by hand",
        "Each node of this step's graph was called with the slopes that the nodes before it gave, from the loss to the "
        "weights. A line is a node on the way to the chosen parameter: the shape of the slope that it passes on, and "
        "its length.",
    )
    with scrollable(len(way)):
        number_table([(node, str(tuple(slope)), short(norm)) for node, slope, norm in way], ("node", "gives", "norm"))
    found = shown.parameters[name].grad
    if arrived is not None and found is not None:
        number_table(
            [
                ("by hand, at the end of the way", digits(float(arrived[spot]))),
                ("in .grad, by torch", digits(float(found[spot]))),
            ],
            (weight_name(shown, name, spot), "value"),
        )
    st.text(told)
    sum_of_products(shown, name, spot)
    left = accumulate_gradients([torch.ones(3), torch.ones(3)]).tolist()
    document_note(
        "document 003",
        "AccumulateGrad is the call of backward() that computes the gradient.",
        "What is above was computed without it: the last node before it holds the whole gradient already. Handed "
        f"[1, 1, 1] twice, an AccumulateGrad of another tensor leaves {left} in .grad: it stores and adds, and "
        "computes no slope.",
    )


def walk(shown: InspectedStep, name: str) -> tuple[list[tuple[str, torch.Size, float]], torch.Tensor | None, str]:
    """The way to parameter `name` (node, shape, norm), what arrives there, and how all parameters compare with torch.

    The graph is this step's own, made again up to where backward() is called, with the same dropout.
    """
    moment = PausedState(shown.moment.snapshot, STAGES.index("backward"), shown.moment.turns)
    again = replay(shown.config, shown.dataset, moment)
    hand: BackwardByHand = backward_by_hand(again.loss)
    parameter = dict(again.model.named_parameters())[name]
    way = [(node, slope.shape, float(slope.norm())) for node, slope in hand.way_to(parameter)]
    same = sum(
        (one := hand.gradient(p)) is not None and found.grad is not None and torch.equal(one, found.grad)
        for p, found in zip(again.parameters, shown.trainer.parameters, strict=True)
    )
    there_are = len(again.parameters)
    told = (
        f"{len(hand.calls)} nodes were called. What arrived by hand equals torch's .grad to the last bit in {same} of "
        f"{there_are} {'parameter' if there_are == 1 else 'parameters'}."
    )
    return way, hand.gradient(parameter), told


def sum_of_products(shown: InspectedStep, name: str, spot: tuple[int, ...]) -> None:
    """The chosen weight's slope as a sum over the places of the batch, where the weight makes scores directly."""
    if not isinstance(shown.model, LanguageModel):
        return
    terms = score_terms(shown.model, shown.trainer.inputs, shown.trainer.targets, name, *spot) if len(spot) == 2 else []
    if not terms:
        if "head.weight" in shown.parameters:
            st.caption("Of a weight of the last layer the chain is short enough to be written out: choose head.weight.")
        return
    heading(
        "One weight, written out",
        "This weight makes a score, so its slope is a sum over the places of the batch: how far the probability of its "
        "token is from what came (p − 1 where the token came, p elsewhere), divided by the number of places, times "
        "the number that the weight was multiplied with there. The largest terms come first.",
    )
    number_table(term_rows(terms), ("window, position", "(p − came) / (B·T)", "× the number there", "product"))
    if shown.config.dropout:
        st.caption("Computed without dropout; the run's own .grad has it.")


def term_rows(terms: list[Term]) -> list[tuple[str, str, str, str]]:
    """The largest terms, what the others add up to, and the sum."""
    ordered = sorted(terms, key=lambda term: -abs(term.product))
    rows = [
        (f"{one.row}, {one.position}", short(one.pull), short(one.fed), short(one.product))
        for one in ordered[:MOST_TERMS]
    ]
    rest = ordered[MOST_TERMS:]
    if rest:
        rows.append((f"{len(rest):,} others", "", "", short(sum(one.product for one in rest))))
    return [*rows, ("the sum", "", "", digits(sum(one.product for one in terms)))]
