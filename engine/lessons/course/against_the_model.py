"""Lesson 11. You against the model: what guessing the next character costs people, and what it costs a model."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ...errors import InputError
from ...models.base import LanguageModel
from ...runs.run import Run
from ..poll import Choice, Number
from .looking_back import LINK, STEPS
from .measures import baselines, model_of, points, run_of, smoothed, step_below
from .scene import Again, Lesson, Look, Measured, Outcome, Predict, Training

PAGE = "lessons"
FEW = 5  # losses that are averaged


def knows_the_letters(outcome: Outcome) -> Measured:
    """The step from which the model's loss is below that of whoever knows how often each character comes."""
    run = run_of(outcome)
    lines = baselines(run)
    there = step_below(smoothed(run, FEW), lines.unigram)
    if there is None:
        raise InputError(
            f"in {run.step:,} steps it never came below {lines.unigram:.2f}; set it up anew and run it again"
        )
    guessing = step_below(points(run), lines.uniform)
    return Measured(there, {"there": there, "letters": lines.unigram, "guessing": lines.uniform, "at": guessing or 0})


def hardest_place(outcome: Outcome) -> Measured:
    """The mean loss on validation text: of a word's first letter, of its second, of later ones, of what ends it."""
    run = run_of(outcome)
    losses, _, places = _by_place(run)
    facts = {
        "first": float(losses[places == 0].mean()),
        "second": float(losses[places == 1].mean()),
        "later": float(losses[places >= 2].mean()),
        "end": float(losses[places == -1].mean()),
    }
    order = ("second", "end", "first", "later")
    worst = max(order, key=lambda name: facts[name])
    return Measured(order.index(worst), facts)


def right_at_once(outcome: Outcome) -> Measured:
    """Of a hundred characters of validation text, how many the model's likeliest character is."""
    run = run_of(outcome)
    losses, right, places = _by_place(run)
    ends = 100 * float(right[places == -1].mean())
    share = 100 * float(right.mean())
    return Measured(
        share, {"share": share, "ends": ends, "loss": float(losses.mean()), "bits": float(losses.mean()) / math.log(2)}
    )


def _by_place(run: Run) -> tuple[Tensor, Tensor, Tensor]:
    """Of each character of the validation text with a whole window before it: its loss, whether it was the model's
    first choice (0 or 1), and its place in its word: 0 for the first letter, -1 for what ends a word, -2 elsewhere.
    """
    model = model_of(run)
    if not isinstance(model, LanguageModel):
        raise InputError("the question is about a text; start a model of text")
    size = run.config.block_size
    ids = run.corpus.val.long()
    windows = ids.unfold(0, size + 1, 1)
    losses, right = [], []
    with torch.no_grad():
        for some in torch.split(windows, 512):
            logits = model.eval().logits(some[:, :-1])[:, -1:]
            losses.append(model.pointwise_loss(logits, some[:, -1:]).flatten())
            right.append((logits[:, 0].argmax(-1) == some[:, -1]).float())
    places, letters = [], 0
    for token in ids.tolist():
        if run.corpus.tokenizer.vocab[token].isalpha():
            places.append(letters)
            letters += 1
        else:
            places.append(-1 if letters else -2)
            letters = 0
    return torch.cat(losses), torch.cat(right), torch.tensor(places[size:])


HARDEST = Predict(
    "What is hardest?",
    "You have guessed for a while. Now the model: on validation text, which characters cost it most?",
    Choice(
        (
            "The second letter of a word",
            "What ends a word: a blank or a stop",
            "The first letter of a word",
            "Letters in the middle of a word",
        )
    ),
    Training(f"{LINK}&speed=100"),
    hardest_place,
    "The first letter, at {first:.2f} nats; the second costs {second:.2f}, later ones {later:.2f}, and what ends a "
    "word {end:.2f}. With the first letter a new word is chosen, and most of what may be said is open. You will have "
    "found the same: people and models find the same places hard.",
    {
        0: "After the first letter few continuations are left. The second costs {second:.2f}.",
        1: "Words have a length that one gets a feeling for. What ends them costs {end:.2f}.",
        3: "Inside a word much is decided. Later letters cost {later:.2f}.",
    },
)

LESSON = Lesson(
    11,
    "against-the-model",
    "You against the model",
    15,
    "say what it means to be surprised by a text, and how a model is measured against people",
    (
        Look(
            "Guess the next character",
            "A passage of the play that no model has learnt from is covered up. Guess its characters one after the "
            "other. Claude Shannon played this game in 1951 to find out how predictable English is: from people's "
            "guesses he estimated 0.6 to 1.3 bits a letter for plain English, 0.4 to 0.9 nats. Play at least ten "
            "places before you go on.",
            page=PAGE,
        ),
        Predict(
            "When does it know the letters?",
            "A small GPT begins to learn. Somebody who knows nothing of a language but how often each letter comes "
            f"has a loss of her own, the middle dashed line. At which of {STEPS} steps does the model overtake her?",
            Number(1, STEPS, "steps", log=True),
            Training(f"{LINK}&speed=10"),
            knows_the_letters,
            "At about step {there}. Below guessing, {guessing:.2f}, it was at step {at}, and below {letters:.2f}, the "
            "price of knowing how often each letter comes, some steps later. These are the first two things that a "
            "model of language learns, whatever it is made of.",
        ),
        HARDEST,
        Predict(
            "Right at once",
            "The model names the character that it thinks likeliest. Of a hundred characters of text it has never "
            "seen, how many does it get right at once?",
            Number(0, 100, "of 100"),
            Training(f"{LINK}&speed=100"),
            right_at_once,
            "{share:.0f} of 100, and of those that end a word {ends:.0f}. Its loss is {loss:.2f} nats, {bits:.2f} bits "
            "a character. Compare with your own: being right often is one thing, and how much belief was given to what "
            "came is another. The loss measures the second.",
        ),
        Look(
            "Who is ahead?",
            "Look at the game once more. Its picture has your figure beside the model's at each stored moment of the "
            "training, and says at which step the model overtakes you, if it does. Then guess another ten places and "
            "see whether you have become better at it.",
            page=PAGE,
        ),
        Again(
            "And for a bigram?",
            HARDEST.title,
            Predict(
                "And for a bigram?",
                "A bigram sees the last character and no more. Which characters cost it most?",
                HARDEST.kind,
                Training("preset=bigram&lr=0.01&max_steps=3000&speed=1000"),
                hardest_place,
                "The first letter again, at {first:.2f} nats. But later letters cost {later:.2f} and the end of a word "
                "{end:.2f}, more than the GPT pays: a bigram does not know which word it is in, nor how long it has "
                "been.",
                {
                    0: "One letter says a good deal about the next: {second:.2f} nats.",
                    1: "A bigram cannot count letters, and still many letters hardly ever end a word: {end:.2f} nats.",
                    3: "They cost {later:.2f}. Only the start of a word, of which the blank before it says little, "
                    "costs more.",
                },
            ),
        ),
    ),
)
