"""What rows learn of words from their neighbours alone: a bigram of words, trained on sentences made for it.

Document 003 lists relations between words that an embedding is said to learn: synonyms, antonyms, analogies, part and
whole, categories. Here a real bigram learns which word follows which, and its rows are compared before and after.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor

from ..generators import generator
from ..models.bigram import Bigram
from ..training.projection import analogy, centred, cosines, neighbours

NOUNS = ("house", "ship", "field", "stone")
DRINKS = ("water", "milk", "soup", "tea")
SENTENCES: tuple[str, ...] = (
    *(f"they saw a {size} {thing}" for size in ("big", "large") for thing in NOUNS),
    *(f"we had {warmth} {drink}" for warmth in ("hot", "cold") for drink in DRINKS),
    *(f"the {animal} {does}" for animal in ("cat", "dog") for does in ("sleeps", "eats", "plays", "hides")),
    *(f"one wheel of the car {does}" for does in ("turns", "breaks", "squeaks")),
    *(f"the car {does}" for does in ("stops", "starts")),
    *(f"the {person} {what}" for person, own in (("king", "himself"), ("queen", "herself")) for what in (own, "rules")),
    *(f"the {person} {what}" for person, own in (("man", "himself"), ("woman", "herself")) for what in (own, "works")),
)
"""The whole text. No sentence says how two words are related."""
PAIRS = (
    ("synonyms", "big", "large"),
    ("antonyms", "hot", "cold"),
    ("one category", "cat", "dog"),
    ("part and whole", "wheel", "car"),
    ("nothing in common", "big", "dog"),
)
STEPS, LR = 150, 0.1


@dataclass(frozen=True)
class Relation:
    """Two words: the cosine of their rows (without the average row) before and after training, and how often they meet.

    together: of the sentences that have either word, the share that has both.
    """

    kind: str
    one: str
    other: str
    before: float
    after: float
    together: float


@dataclass(frozen=True, eq=False)
class WordRelations:
    """The relations by pair; and the words nearest to king − man + woman, nearest first, before and after training.

    Its three own words are left out there; `sum_all` has them in, with their cosines, after training.
    """

    relations: tuple[Relation, ...]
    sum_before: tuple[str, ...]
    sum_after: tuple[str, ...]
    sum_all: tuple[tuple[str, float], ...]
    loss_before: float
    loss_after: float
    words: int


@lru_cache(maxsize=1)
def word_relations() -> WordRelations:
    """Train the bigram of words, well within a second, and compare its rows; kept."""
    sentences = [sentence.split() for sentence in SENTENCES]
    words = sorted({word for sentence in sentences for word in sentence})
    ids = {word: i for i, word in enumerate(words)}
    pairs = [(ids[a], ids[b]) for sentence in sentences for a, b in pairwise(sentence)]
    inputs, targets = torch.tensor(pairs).T
    model = Bigram(len(words), generator(1, "weights"))
    table = model.token_embedding.weight
    before, loss_before = table.detach().clone(), float(F.cross_entropy(table[inputs].detach(), targets))
    optimizer = torch.optim.AdamW([table], lr=LR)
    loss = torch.tensor(0.0)
    for _ in range(STEPS):
        loss = F.cross_entropy(table[inputs], targets)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    after = table.detach()
    alike = {name: cosines(centred(rows)) for name, rows in (("before", before), ("after", after))}

    def relation(kind: str, one: str, other: str) -> Relation:
        either = [sentence for sentence in sentences if one in sentence or other in sentence]
        both = sum(one in sentence and other in sentence for sentence in either)
        a, b = ids[one], ids[other]
        return Relation(kind, one, other, float(alike["before"][a, b]), float(alike["after"][a, b]), both / len(either))

    asked = [ids[word] for word in ("king", "man", "woman")]

    def nearest(rows: Tensor) -> tuple[str, ...]:
        return tuple(words[one.row] for one in neighbours(rows, analogy(rows, *asked), leave_out=asked)[:3])

    return WordRelations(
        tuple(relation(*pair) for pair in PAIRS),
        nearest(before),
        nearest(after),
        tuple((words[one.row], one.cosine) for one in neighbours(after, analogy(after, *asked))[:5]),
        loss_before,
        float(loss.detach()),
        len(words),
    )
