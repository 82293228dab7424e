"""Lesson 9. Learning by heart: when validation turns, which weights to keep, and what the test is for."""

from __future__ import annotations

from ...models.base import LanguageModel
from ...runs.run import Run
from ...stream.status import State
from ...training.evaluation import split_loss
from ..poll import Choice, Number
from .measures import LOSS, VALIDATION, last, lowest, model_of, points, run_of, value_at, which
from .scene import Act, Again, Do, Lesson, Look, Measured, Outcome, Predict, Training

STEPS = 4000
TURNED = 1.005
"""Times its lowest: a validation loss that ends above this has turned."""
SAME = 0.01
"""Nats: losses on the test text that differ by less are the same."""
STOP_BELOW = 2.46
"""The validation loss at which the task has the run paused."""
SHORT = f"preset=bigram&corpus=ferry-notebook&lr=0.01&max_steps={STEPS}&eval_every=100"


def turns(outcome: Outcome) -> Measured:
    """The step with the lowest validation loss, and both losses there and at the end."""
    run = run_of(outcome)
    step, loss = lowest(run, VALIDATION)
    facts = {
        "step": step,
        "lowest": loss,
        "end": last(run, VALIDATION),
        "steps": run.step,
        "train_then": _training_loss(run, step),
        "train_end": _training_loss(run, run.step),
    }
    return Measured(max(step, 1), facts)


def turns_on_a_long_text(outcome: Outcome) -> Measured:
    """Does validation turn, and when?"""
    found = turns(outcome).facts
    turned = found["end"] > TURNED * found["lowest"]
    answer = which(
        sooner=turned and found["step"] < 1000,
        same=turned and 1000 <= found["step"] <= 2000,
        later=turned and found["step"] > 2000,
        never=not turned,
    )
    return Measured(answer, found)


def which_to_keep(outcome: Outcome) -> Measured:
    """The test loss of the weights with the lowest validation loss, which the run made, and of the last weights."""
    run = run_of(outcome)
    model = model_of(run)
    assert isinstance(model, LanguageModel)
    best, at = last(run, "test/loss"), int(last(run, "test/step"))
    end = split_loss(model, run.corpus.test, run.config.block_size)
    answer = which(last=end < best - SAME, best=best < end - SAME, same=abs(best - end) <= SAME)
    facts = {
        "best": best,
        "at": at,
        "end": end,
        "steps": run.step,
        "train_at": value_at(run, "eval/train_loss", at),
        "train_end": last(run, "eval/train_loss"),
    }
    return Measured(answer, facts)


def stopped_in_time(run: Run) -> bool:
    """Does the run stand still at a validation loss that is low enough?"""
    return run.state in (State.PAUSED, State.STOPPED) and run.step > 0 and last(run, VALIDATION) < STOP_BELOW


def _training_loss(run: Run, step: int) -> float:
    """The mean of the five hundred losses up to a step."""
    found = points(run, LOSS)
    return float(found.values[(found.steps > step - 500) & (found.steps <= step)].mean(dtype="float64"))


TURN = Predict(
    "Where does validation turn?",
    f"A bigram learns from a diary of 8,000 characters for {STEPS:,} steps. Its loss on the training text falls to the "
    "end. Its loss on the validation text, which it never learns from, falls and then rises again. At which step is "
    "it lowest?",
    Number(1, STEPS, "steps", log=True),
    Training(f"{SHORT}&speed=1000"),
    turns,
    "At step {step:,}, with {lowest:.3f}. At the end it was {end:.3f}. On the training text the loss went on falling "
    "all the while, from {train_then:.3f} to {train_end:.3f}. What is learnt late is what the diary happened to say; "
    "other text does not say it.",
)

LESSON = Lesson(
    9,
    "by-heart",
    "Learning by heart",
    12,
    "see where a model begins to learn by heart, choose the weights to keep, and say what the test text is for",
    (
        Look(
            "Three parts of a text",
            "A text is cut in three. Most of it is for training. A tenth is for validation: the model is asked about "
            "it again and again and never learns from it. The last tenth is for the test, which is asked once, at the "
            "very end.",
            page="data",
        ),
        TURN,
        Do(
            "Stop it in time",
            f"The same run once more. Pause it while its validation loss is below {STOP_BELOW:g}: not too soon, and "
            "not too late.",
            stopped_in_time,
            "You have seen where it turns. Pause it a little before that.",
            (Act(1400),),
            Training(f"{SHORT}&speed=100"),
        ),
        Predict(
            "Which weights would you keep?",
            "Now a small GPT reads the diary 24 times. Its weights are kept at each look at the validation text. Which "
            "of them will do best on the test text, which nothing has seen yet?",
            Choice(
                (
                    "The last ones, after the most training",
                    "Those with the lowest validation loss",
                    "All the same: they learnt from the same text",
                )
            ),
            Training("preset=simple&n_layer=1&n_embd=64&epochs=24&speed=100"),
            which_to_keep,
            "Those of step {at}, which had the lowest validation loss, have a test loss of {best:.3f}; the last ones, "
            "of step {steps}, have {end:.3f}. On the training text the last ones are better, {train_end:.2f} against "
            "{train_at:.2f}. The choice is made with the validation text, so that its loss is a little too good to be "
            "true: the test is asked once, after the choice.",
            {
                0: "They are the best on the text that they learnt from, {train_end:.2f}, by knowing it by heart.",
                2: "They learnt from the same text, and how much of it they know by heart differs.",
            },
        ),
        Again(
            "Eight times the text",
            TURN.title,
            Predict(
                "Eight times the text",
                f"The same bigram on a play of 66,000 characters, {STEPS:,} steps at the same rate. When does "
                "validation turn?",
                Choice(
                    (
                        "Sooner: there is more to confuse it",
                        "At about the same step",
                        "Later, but within these steps",
                        f"Not within {STEPS:,} steps",
                    )
                ),
                Training(f"preset=bigram&lr=0.01&max_steps={STEPS}&eval_every=250&speed=1000"),
                turns_on_a_long_text,
                "It was lowest at step {step:,} with {lowest:.3f} and ended at {end:.3f}. A table of pairs is too "
                "small to know 66,000 characters by heart. More text is the best remedy against learning by heart; "
                "stopping in time is the second best.",
                {
                    0: "More text is less to know by heart for each weight, and more to learn that holds elsewhere "
                    "too.",
                    1: "The steps are the same, and each of them reads other text: nothing is read often enough.",
                    2: "It hardly falls any more at the end, but it does not rise.",
                },
            ),
        ),
    ),
)
