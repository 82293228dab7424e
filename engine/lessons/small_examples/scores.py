"""Scores, probabilities and losses: the documents' tables of logits, computed."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from ..results import Chart, Curve, Example, Grid, Table, cells, percent, plain_labels, row_text

HELLO = ("h", "e", "l", "o")
SEEN, NEXT = ("h", "e", "l"), ("e", "l", "l")
HELLO_LOGITS = ((0.1, 0.5, 0.3, 0.1), (0.2, 0.1, 0.4, 0.3), (0.3, 0.2, 0.1, 0.4))
ANIMALS = ("cat", "dog", "bird", "fish")
ANIMAL_LOGITS = (
    (0.7, 0.2, 0.1, 0.0),
    (0.2, 0.7, 0.0, 0.1),
    (0.1, 0.1, 0.7, 0.1),
    (0.1, 0.1, 0.7, 0.1),
    (0.0, 0.0, 0.1, 0.9),
    (0.2, 0.7, 0.0, 0.1),
)
ANIMAL_TARGETS = (0, 1, 2, 2, 3, 1)
PRINTED_LOGITS = (
    (0.3134, -0.1676, 0.3773, -0.0824, -0.2973),
    (-0.0856, 0.0987, 0.1772, 0.0565, -0.2135),
    (0.0624, 0.0895, 0.0927, -0.0507, -0.1921),
)
PRINTED_SOFTMAX = (
    (0.2175, 0.1338, 0.2301, 0.1450, 0.2736),
    (0.1823, 0.2194, 0.2372, 0.2109, 0.1502),
    (0.2108, 0.2171, 0.2182, 0.1882, 0.1657),
)
SCORES_HELP = (
    "Raw scores: a row is one place of the text, a column a token that could come next. They may have any size and "
    "sign; only how far they are apart in a row matters."
)
CHANCES_HELP = (
    "The same rows after softmax. Each row sums to 1; a good model has most of a row in the column of what really "
    "comes."
)


def two_grids(logits: Tensor, rows: tuple[str, ...], columns: tuple[str, ...], seen: str = "seen") -> tuple[Grid, Grid]:
    """Logits (rows, columns) and their softmax, side by side."""
    probs = F.softmax(logits, dim=-1)
    return (
        Grid("Logits", SCORES_HELP, cells(logits), rows, columns, "signed", seen, "next"),
        Grid("softmax of the logits", CHANCES_HELP, cells(probs), rows, columns, "probability", seen, "next"),
    )


def hello() -> Example:
    """Three characters of hello, their logits, the loss of each."""
    logits = torch.tensor(HELLO_LOGITS)
    targets = torch.tensor([HELLO.index(c) for c in NEXT])
    losses = F.cross_entropy(logits, targets, reduction="none")
    mean = F.cross_entropy(logits, targets)
    probs = F.softmax(logits, dim=-1).gather(1, targets.unsqueeze(1)).squeeze(1)
    guessing = math.log(len(HELLO))
    best = "".join(HELLO[i] for i in logits.argmax(dim=1).tolist())
    actual = (
        f"The losses are {row_text(losses, 4)}, their mean is {float(mean):.4f}. Guessing among {len(HELLO)} "
        f"characters costs ln {len(HELLO)} = {guessing:.4f}, so this model is {guessing - float(mean):.4f} better than "
        "guessing. "
        f"Its favourites are {', '.join(best)}: right in {sum(a == b for a, b in zip(best, NEXT, strict=True))} of "
        f"{len(NEXT)} places."
    )
    table = Table(
        "From probability to loss",
        "The loss of a place is minus the logarithm of the probability that the right character got. Certain and right "
        "would be 0.",
        ("sees", "should say", "probability of that", "loss, nats"),
        tuple(
            (seen, right, f"{float(p):.4f}", f"{float(loss):.4f}")
            for seen, right, p, loss in zip(SEEN, NEXT, probs, losses, strict=True)
        ),
    )
    return Example(
        "000, lines 144–256",
        "After h comes e, after e comes l, after l comes l: the targets are the inputs moved on by one. Three rows of "
        "scores are given; the loss is said to follow from them, and is not computed.",
        actual,
        (*two_grids(logits, SEEN, HELLO), table),
        {"mean": float(mean)} | {f"loss_{i}": float(loss) for i, loss in enumerate(losses)},
    )


def looks_like_probabilities() -> Example:
    """Logits that happen to sum to 1."""
    row = torch.tensor(HELLO_LOGITS[0])
    variants = {"as printed": row, "all + 100": row + 100, "all × 10": row * 10}
    probs = {name: F.softmax(scores.double(), dim=0) for name, scores in variants.items()}
    shift = float((probs["as printed"] - probs["all + 100"]).abs().max())
    actual = (
        f"The row {row_text(row, 1)} sums to {float(row.sum()):.1f} and looks like probabilities; its softmax is "
        f"{row_text(probs['as printed'])}. Adding 100 to every score changes no probability by more than {shift:.0e}: "
        f"only differences matter. Ten times the differences give {row_text(probs['all × 10'])}."
    )
    grid = Grid(
        "softmax of the same row, moved and stretched",
        "Rows are the scores as printed, all raised by 100, and all multiplied by 10. Equal rows mean that softmax "
        "sees no difference.",
        cells(torch.stack(list(probs.values()))),
        plain_labels(*variants),
        HELLO,
        "probability",
        "scores",
        "next",
    )
    first = Grid(
        "The scores", SCORES_HELP, cells(torch.stack(list(variants.values()))), plain_labels(*variants), HELLO, "signed"
    )
    return Example(
        "000, lines 187–210",
        "The scores .1 .5 .3 .1 are not probabilities yet; softmax makes them so. A higher score means a surer model.",
        actual,
        (first, grid),
        {"sum": float(row.sum()), "shift": shift}
        | {f"p{i}": float(p) for i, p in enumerate(probs["as printed"])}
        | {f"wide{i}": float(p) for i, p in enumerate(probs["all × 10"])},
    )


def o_for_e() -> Example:
    """The same row with its scores for e and o exchanged."""
    right = torch.tensor(HELLO_LOGITS[0])
    wrong = right[[0, 3, 2, 1]]
    target = torch.tensor([1])
    rows: list[tuple[str, str, str, str]] = []
    numbers: dict[str, float] = {}
    for factor in (1, 10):
        for name, scores in (("e", right), ("o", wrong)):
            loss = float(F.cross_entropy((factor * scores).unsqueeze(0), target))
            chance = float(F.softmax(factor * scores, dim=0)[1])
            rows.append((f"× {factor}", name, f"{chance:.4f}", f"{loss:.4f}"))
            numbers[f"{name}_{factor}"] = loss
    actual = (
        f"With these flat scores the loss is {numbers['e_1']:.4f} when e is the favourite and {numbers['o_1']:.4f} "
        "when o is: hardly high, since the model was unsure anyway. With scores ten times as far apart it is "
        f"{numbers['e_10']:.4f} and {numbers['o_10']:.4f}. A wrong guess costs much when it was made with confidence."
    )
    table = Table(
        "e is right; the model prefers e, or o",
        "The scores of the first row of the document, and the same with the two scores exchanged; below, all of them "
        "multiplied by 10. Compare the losses in pairs.",
        ("scores", "favourite", "probability of e", "loss, nats"),
        tuple(rows),
    )
    grid = Grid(
        "The two rows",
        SCORES_HELP,
        cells(torch.stack((right, wrong))),
        plain_labels("prefers e", "prefers o"),
        HELLO,
        "signed",
    )
    return Example(
        "000, lines 258–259 and 300",
        "If the model predicts o where e is right, the loss is high; if it predicts e, it is low.",
        actual,
        (grid, table),
        numbers,
    )


def animals() -> Example:
    """Cat, dog, bird, fish: targets as indices or one-hot rows, rows read as scores or as probabilities."""
    logits, targets = torch.tensor(ANIMAL_LOGITS), torch.tensor(ANIMAL_TARGETS)
    hot = F.one_hot(targets, len(ANIMALS)).float()
    index, one_hot = float(F.cross_entropy(logits, targets)), float(F.cross_entropy(logits, hot))
    as_chances = float(F.nll_loss(logits.log(), targets))
    perfect = float(F.cross_entropy(hot, targets))
    inputs = (0, 1, 2, 2, 3, 1)  # "cat dog bird" and "bird fish dog", as the document spells its two sentences
    unmoved = inputs == ANIMAL_TARGETS
    actual = (
        f"As scores they cost {index:.6f} with targets as indices and {one_hot:.6f} as one-hot rows. The rows sum to 1 "
        f"and look like probabilities; read as such they would cost {as_chances:.6f}, which is not what cross_entropy "
        f"computes. Perfect one-hot rows, given as scores, would still cost {perfect:.4f}: softmax of 1 against 0 is "
        f"only {percent(float(F.softmax(hot[0], dim=0).max()))}. "
    )
    actual += (
        "And the targets are the sentences themselves: nothing is moved on by one, so this model learns to repeat."
        if unmoved
        else ""
    )
    words = plain_labels(*(f"{ANIMALS[i]} {at}" for at, i in enumerate(inputs, 1)))
    table = Table(
        "One loss, four readings",
        "Mean loss over the six tokens. The first two must agree: an index says the same as a row with a single 1.",
        ("what is given", "targets", "loss, nats per token"),
        (
            ("the rows as scores", "indices", f"{index:.6f}"),
            ("the rows as scores", "one-hot rows", f"{one_hot:.6f}"),
            ("the rows as probabilities", "indices", f"{as_chances:.6f}"),
            ("one-hot rows as scores", "indices", f"{perfect:.6f}"),
        ),
    )
    return Example(
        "003, lines 37–144",
        "Logits (2·3, 4) and targets (2·3,) fit together, since an index stands for a row with one 1. The rows are "
        "edited by hand to look like a trained model.",
        actual,
        (*two_grids(logits, words, ANIMALS, "token"), table),
        {"index": index, "one_hot": one_hot, "as_chances": as_chances, "perfect": perfect, "unmoved": float(unmoved)},
    )


def negative_log_likelihood() -> Example:
    """-sum(y_true · log y_pred) for one prediction."""
    true_class, predicted = torch.tensor([0.0, 1.0, 0.0]), torch.tensor([0.2, 0.5, 0.3], dtype=torch.float64)
    long_way = float(-(true_class * predicted.log()).sum())
    short = float(-predicted[1].log())
    torch_way = float(F.nll_loss(predicted.log().unsqueeze(0), torch.tensor([1])))
    table = Table(
        "Three ways to the same number",
        "The sum over all classes, the one term that is not multiplied by 0, and PyTorch's own. They must agree.",
        ("computation", "nats"),
        (
            ("−Σ y_true · ln y_pred", f"{long_way:.6f}"),
            ("−ln y_pred[1]", f"{short:.6f}"),
            ("F.nll_loss(log y_pred, [1])", f"{torch_way:.6f}"),
        ),
    )
    grid = Grid(
        "y_pred and y_true",
        "Two rows over three classes: what was predicted, and what is right. Only the column with the 1 counts.",
        cells(torch.stack((predicted.float(), true_class))),
        ("y_pred", "y_true"),
        plain_labels("class 0", "class 1", "class 2"),
        "probability",
    )
    return Example(
        "003, lines 146–163",
        "y_pred is .2 .5 .3, the true class is the second; NLL = −Σ y_true · log y_pred.",
        f"It is {long_way:.6f}, that is −ln 0.5 = ln 2: all other terms are multiplied by 0.",
        (grid, table),
        {"nll": long_way, "short": short, "torch": torch_way},
    )


def what_the_log_does() -> Example:
    """-ln p as a function of p: flat near 1, steep near 0."""
    probs = (0.99, 0.9, 0.5, 0.1, 0.01)
    losses = {p: -math.log(p) for p in probs}
    near, far = losses[0.99] - 0.0, losses[0.01] - losses[0.1]
    grid = [i / 200 for i in range(1, 201)]
    actual = (
        f"−ln .99 = {losses[0.99]:.3f} and −ln .01 = {losses[0.01]:.3f}. Between 1 and .99 the loss changes by "
        f"{near:.3f}, between .1 and .01 by {far:.3f}. It does not magnify small differences in general: where the "
        "model is nearly right it is flat, and it is steep where the right answer was thought nearly impossible. It "
        "punishes confident mistakes."
    )
    chart = Chart(
        "Loss for each probability of the right token",
        "The probability that the right token got, and what that costs. Training pulls to the right; at the left "
        "edge the loss grows without bound.",
        "probability of the right token",
        "loss, nats",
        (Curve("−ln p", grid, [-math.log(p) for p in grid], "usual"),),
    )
    table = Table(
        "A few of them",
        "The slope says how much the loss falls for each unit of probability. Compare the first and the last row.",
        ("probability", "loss, nats", "slope, −1/p"),
        tuple((f"{p:g}", f"{loss:.4f}", f"−{1 / p:.2f}") for p, loss in losses.items()),
    )
    return Example(
        "003, lines 173–187",
        "The log magnifies small differences: a small error returns a proportionately higher loss.",
        actual,
        (chart, table),
        {"near": losses[0.99], "far": losses[0.01]},
    )


def printed_logits() -> Example:
    """Document 003's printed logits and the softmax that it prints beside them."""
    logits, printed = torch.tensor(PRINTED_LOGITS), torch.tensor(PRINTED_SOFTMAX)
    probs = F.softmax(logits, dim=-1)
    rows, columns = plain_labels("row 1", "row 2", "row 3"), plain_labels(*(f"class {i}" for i in range(5)))
    least, favoured = int(logits[0].argmin()), int(printed[0].argmax())
    off = float((printed - probs).abs().max())
    actual = (
        f"The softmax of row 1 is {row_text(probs[0])}; the document prints {row_text(printed[0])}. The largest "
        f"difference in the table is {off:.3f}. "
    )
    actual += (
        f"In its row 1 the smallest logit, {logits[0, least]:.4f} of class {least}, has the largest share, "
        f"{printed[0, favoured]:.4f}: no softmax does that, since a larger score always gets a larger probability."
        if least == favoured
        else ""
    ).replace("-", "−")
    grids = (
        Grid("The printed logits", SCORES_HELP, cells(logits), rows, columns, "signed"),
        Grid("Their softmax", CHANCES_HELP, cells(probs), rows, columns, "probability"),
        Grid(
            "What the document prints as their softmax",
            "Quoted, not computed. Its rows sum to 1 as well; compare each with the row beside it.",
            cells(printed),
            rows,
            columns,
            "probability",
        ),
        Grid(
            "Printed minus computed",
            "Where a cell is not 0, the printed probability is not the softmax of its logit. A rounded print would "
            "differ by less than .0001.",
            cells(printed - probs),
            rows,
            columns,
            "signed",
        ),
    )
    numbers = {f"p{i}": float(p) for i, p in enumerate(probs[0])} | {"off": off, "least": least, "favoured": favoured}
    return Example(
        "003, lines 391–411",
        "Three rows of logits, and below them three rows that are called their softmax.",
        actual,
        grids,
        numbers,
    )
