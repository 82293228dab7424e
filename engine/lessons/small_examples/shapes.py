"""Shapes: what B, T and C are, which slice is the last step, and how a text grows token by token."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from ...generators import generator
from ...models.bigram import Bigram
from ...training.sampling import draw_token, evaluating
from ..results import Example, Grid, Table, cells, row_text

WORDS = ("the", "cat", "sat", "on", "mat")
PRINTED_INPUTS = (
    (53, 59, 6, 1, 58, 56, 47, 40),
    (49, 43, 43, 54, 1, 47, 58, 1),
    (13, 52, 45, 43, 50, 53, 8, 0),
    (1, 39, 1, 46, 53, 59, 57, 43),
)
STEPS = (
    ((0.1, 0.2, 0.3, 0.4), (0.2, 0.3, 0.4, 0.1), (0.3, 0.4, 0.1, 0.2)),
    ((0.4, 0.3, 0.2, 0.1), (0.1, 0.4, 0.3, 0.2), (0.2, 0.1, 0.4, 0.3)),
)
SHAPES_HELP = "Each line of code and the shape of what it leaves behind. Read the first number as rows of the batch."


def shape(tensor: torch.Tensor) -> str:
    """The shape as text: "(4, 8, 65)"."""
    return str(tuple(tensor.shape))


def batch_time_channels() -> Example:
    """The printed batch through a real bigram table of 65 tokens."""
    inputs = torch.tensor(PRINTED_INPUTS)
    model = Bigram(65, generator(1337, "weights"))
    with evaluating(model):
        logits = model.logits(inputs)
    flat = logits.view(-1, logits.size(-1))
    first = logits[0, 0]
    below = int((first < 0).sum())
    batch, time = inputs.shape
    actual = (
        f"The printed batch has the shape {shape(inputs)}: B = {batch} and T = {time}. B is not 8 there, and during "
        f"generation it is 1. T counts characters, not words. A row of logits is {len(first)} scores: {below} of the "
        f"first row are negative and they sum to {float(first.sum()):.2f}, so they are no probabilities; their softmax "
        f"sums to {float(F.softmax(first, dim=0).sum()):.2f}."
    ).replace("-", "−")
    table = Table(
        "The shapes on the way to the loss",
        SHAPES_HELP,
        ("code", "shape", "in letters"),
        (
            ("idx", shape(inputs), "(B, T)"),
            ("logits = model(idx)", shape(logits), "(B, T, C)"),
            ("logits.view(B * T, C)", shape(flat), "(B·T, C)"),
            ("targets.view(B * T)", shape(inputs.view(-1)), "(B·T,)"),
        ),
    )
    grid = Grid(
        "The printed batch: token ids",
        "A row is one piece of text, a column a place in it. Each number is the id of one character.",
        cells(inputs),
        tuple(f"B{i}" for i in range(batch)),
        tuple(f"T{i}" for i in range(time)),
        "signed",
    )
    return Example(
        "003, lines 241–271 and 487–506",
        "B is 4 sentences, later 8 “in this context”; T is 8 words; C is 65; logits are predicted probabilities.",
        actual,
        (grid, table),
        {"B": batch, "T": time, "C": logits.size(-1), "below": below, "rows": flat.size(0)},
    )


def one_number_in_brackets() -> Example:
    """(B*T,) is a tuple, (B*T) a number in brackets; view takes both."""
    B, T = 4, 8  # noqa: N806  (the document's own letters)
    targets = torch.tensor(PRINTED_INPUTS)
    written: dict[str, tuple[int, ...] | int] = {"(B*T,)": (B * T,), "(B*T)": B * T}
    views = {"(B*T,)": targets.view((B * T,)), "(B*T)": targets.view(B * T)}
    same = torch.equal(*views.values())
    table = Table(
        "What Python makes of each",
        "A comma makes a tuple, brackets alone do not. The shapes in the last column are those of real views.",
        ("written", "type", "value", "targets.view(…).shape"),
        tuple(
            (name, type(value).__name__, repr(value), f"torch.Size({list(views[name].shape)})")
            for name, value in written.items()
        ),
    )
    actual = (
        f"`(B*T,)` is a {type(written['(B*T,)']).__name__} of one number, `(B*T)` is the "
        f"{type(written['(B*T)']).__name__} {B * T}, the same as without brackets. `view` takes either and gives "
        f"the same tensor here{', value by value' if same else ', or should'}. A shape is always a tuple, so it is "
        "written with the comma."
    )
    return Example(
        "003, lines 103–111",
        "The trailing comma says that it is a tuple with one element; without it, it could be taken for an "
        "expression in brackets. The difference is called subtle.",
        actual,
        (table,),
        {"same": float(same)},
    )


def last_step() -> Example:
    """`logits[:, -1, :]` on the document's own numbers."""
    logits = torch.tensor(STEPS)  # (2, 3, 4)
    last = logits[:, -1, :]
    kept = logits[:, -1:, :]
    labels = tuple(f"C{i}" for i in range(4))
    actual = (
        f"`logits` is {shape(logits)}; `logits[:, -1, :]` is {shape(last)}: every row of the batch, the last place, "
        f"all scores. It gives {row_text(last[0], 1)} and {row_text(last[1], 1)}. A number takes its dimension away; "
        f"the slice `-1:` would keep it, {shape(kept)}."
    )
    grids = tuple(
        Grid(
            f"B{b}: all steps",
            "Rows are places in time, columns scores. Only the last row is drawn from when a text is continued.",
            cells(logits[b]),
            ("T0", "T1", "T2"),
            labels,
            "signed",
        )
        for b in range(2)
    )
    end = Grid(
        "logits[:, -1, :]",
        "What is left: one row for each text of the batch. Compare with the last rows above.",
        cells(last),
        ("B0", "B1"),
        labels,
        "signed",
    )
    return Example(
        "003, lines 575–607",
        "The slice selects the scores of the last time step of each text: .3 .4 .1 .2 and .2 .1 .4 .3.",
        actual,
        (*grids, end),
        {f"b{b}c{c}": float(last[b, c]) for b in range(2) for c in range(4)} | {"dims": last.dim()},
    )


def growing() -> Example:
    """Generate from zeros((1, 1)), token by token, with a real bigram table."""
    model = Bigram(len(WORDS), generator(1337, "weights"))
    draws, ids = generator(1337, "sample"), torch.zeros((1, 1), dtype=torch.long)
    rows = []
    with evaluating(model):
        for _ in range(4):
            drawn = draw_token(model, ids, draws)
            rows.append(
                (
                    shape(ids),
                    shape(drawn.last),
                    shape(drawn.probabilities),
                    shape(drawn.token),
                    shape(drawn.ids),
                    " ".join(WORDS[i] for i in drawn.ids[0].tolist()),
                )
            )
            ids = drawn.ids
    actual = (
        f"It begins as {rows[0][0]}, which is a token already: id 0, here “{WORDS[0]}”. Each turn adds one column, so "
        f"after {len(rows)} turns it is {rows[-1][4]}. T is the length so far. A bigram reads the last token only, so "
        "its T has no bound; a GPT must crop to block_size. The words make no sense: this table was never trained."
    )
    table = Table(
        "Turn by turn through generate",
        "A row is one turn of the loop, with the shape after each of its lines. Only T grows, by one a turn.",
        ("idx", "logits[:, -1, :]", "probs", "idx_next", "torch.cat", "text"),
        tuple(rows),
    )
    return Example(
        "003, lines 260–283 and 555–621",
        "idx starts as zeros of shape (1, 1) and grows; why (B, C), (B, 1) and (B, T+1) is left open.",
        actual,
        (table,),
        {"turns": len(rows), "length": ids.size(1)},
    )


def the_cat_sat() -> Example:
    """A vocabulary of five words, and the inputs and targets of their sentence."""
    ids = torch.tensor([[0, 1, 2, 3, 4]])
    inputs, targets = ids[:, :-1], ids[:, 1:]
    rows = tuple((WORDS[a], WORDS[b]) for a, b in zip(inputs[0].tolist(), targets[0].tolist(), strict=True))
    spelled = ["the", "cat", "sat", "on", "a", "mat"]
    outside = [word for word in spelled if word not in WORDS]
    actual = (
        f"The five words are {shape(ids)}, and as training pairs they give inputs {shape(inputs)} and targets "
        f"{shape(targets)}, moved on by one word: {len(rows)} predictions from {ids.size(1)} words. The sentence that "
        f"the document writes at the end has {len(spelled)} words, and “{', '.join(outside)}” is not in its vocabulary "
        f"of {len(WORDS)}: no id can stand for it."
    )
    table = Table(
        "Inputs and targets",
        "Each word is asked for the one after it. The last word has no target, the first is nobody's.",
        ("sees", "should say"),
        rows,
    )
    return Example(
        "003, lines 357–372",
        "A vocabulary of five words; idx begins as “the cat”, (1, 2), and has become “the cat sat on a mat”, (1, 5).",
        actual,
        (table,),
        {"pairs": len(rows), "outside": len(outside), "words": len(spelled)},
    )
