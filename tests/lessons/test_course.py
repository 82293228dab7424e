"""The lessons: each is played through on the shipped text, and its right answers are those of an own computation."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator
from functools import cache, partial
from itertools import pairwise
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from engine.errors import InputError
from engine.generators import generator
from engine.lessons.course import LESSONS, find_lesson
from engine.lessons.course.rehearsal import Rehearsal, Rehearsed, what_if
from engine.lessons.course.scene import Again, Bets, Predict, filled
from engine.lessons.experiments import Pacer, Start
from engine.lessons.poll import Choice
from engine.lessons.results import Chart
from engine.lessons.word_relations import SENTENCES
from engine.models.registry import build_language_model
from engine.presets import preset
from engine.runs.datasets import Datasets
from engine.text.corpus import Batcher, Corpus
from engine.text.library import Library
from tests.conftest import ROOT


@pytest.fixture(scope="module")
def rehearsal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rehearsal]:
    rehearsal = Rehearsal(Datasets(Library(Path(tmp_path_factory.mktemp("home")))))
    yield rehearsal
    rehearsal.close()


@pytest.fixture(scope="module")
def played(rehearsal: Rehearsal) -> Callable[[str], dict[str, Rehearsed]]:
    """`played("the-floor")`: every scene of that lesson by its title, played once."""
    return cache(lambda name: {one.scene.title: one for one in rehearsal.play(find_lesson(name))})


# ------------------------------------------------------------------ what all have in common


def test_lessons_are_numbered_along_the_path_and_named_once() -> None:
    assert [lesson.number for lesson in LESSONS] == sorted({lesson.number for lesson in LESSONS})
    assert len({lesson.name for lesson in LESSONS}) == len(LESSONS)


@pytest.mark.parametrize("lesson", LESSONS, ids=lambda lesson: lesson.name)
def test_each_lesson_asks_explains_and_asks_again(lesson) -> None:
    assert 3 <= len(lesson.scenes) <= 6
    assert len({scene.title for scene in lesson.scenes}) == len(lesson.scenes)
    assert isinstance(lesson.scenes[-1], Again) or any(isinstance(scene, Again) for scene in lesson.scenes)
    for scene in lesson.scenes:
        question = lesson.asked(scene)
        if question is not None and isinstance(question.kind, Choice):
            assert set(question.wrong) <= set(range(len(question.kind.options)))
            assert len(question.wrong) == len(question.kind.options) - 1, (
                f"{scene.title}: each wrong one has its reason"
            )


def test_the_right_option_is_not_always_at_the_same_place() -> None:
    questions = [
        question
        for lesson in LESSONS
        for scene in lesson.scenes
        if (question := lesson.asked(scene)) is not None and isinstance(question.kind, Choice)
    ]
    right = [next(i for i in range(len(q.kind.options)) if i not in q.wrong) for q in questions]
    assert max(right.count(place) for place in set(right)) <= len(right) / 2, right


def test_a_lesson_is_found_by_name_or_number_and_others_are_listed() -> None:
    assert find_lesson("line-learns") is find_lesson(1) is find_lesson("1")
    with pytest.raises(InputError, match="no lesson 'nowhere'; choose one of 1 line-learns, 2 before-learning"):
        find_lesson("nowhere")


# ------------------------------------------------------------------ explanations


def test_an_explanation_has_measured_numbers_with_a_real_minus() -> None:
    assert filled("from {a:.2f} to {b:+.1f} in {n:,} steps", {"a": 1.234, "b": -0.5, "n": 1000}) == (
        "from 1.23 to −0.5 in 1,000 steps"
    )


@pytest.mark.parametrize(
    "template",
    [
        "{b}",
        "{a.real}",
        "{a[0]}",
        "{a!r}",
        "{a:>99999999}",
        "{a:{a}}",
        "{}",
        "{0}",
        "{a.__class__}",
        "{a",
        "a}",
    ],
)
def test_an_explanation_names_facts_and_nothing_else(template) -> None:
    with pytest.raises(InputError):
        filled(template, {"a": 1.0})


def question(rehearsed: Rehearsed, lesson: str) -> Predict:
    found = find_lesson(lesson).asked(rehearsed.scene)
    assert found is not None
    return found


# ------------------------------------------------------------------ the right answers


@pytest.mark.parametrize("lesson", LESSONS, ids=lambda lesson: lesson.name)
def test_rehearsed_on_the_shipped_text_each_right_option_comes_out_right(lesson, played) -> None:
    """Every experiment is run, every explanation filled, every task done."""
    for scene, measured, explained, _ in played(lesson.name).values():
        asked = lesson.asked(scene)
        if asked is None:
            continue
        assert measured is not None and explained[-1] in ".:" and "{" not in explained
        if isinstance(asked.kind, Choice):
            (without_reason,) = set(range(len(asked.kind.options))) - set(asked.wrong)
            assert measured.answer == without_reason, scene.title


def plain_bigram(
    text: str, optimizer: str, lr: float, steps: int, clear: bool = True, seed: int = 0, windows: int = 32
) -> list[float]:
    """The losses of a bigram trained in the plainest loop there is: PyTorch alone, with draws of its own."""
    vocab = {character: i for i, character in enumerate(sorted(set(text)))}
    data = torch.tensor([vocab[character] for character in text[: int(0.8 * len(text))]])
    draws = torch.Generator().manual_seed(seed)
    table = torch.nn.Parameter(torch.randn(len(vocab), len(vocab), generator=draws))
    made = torch.optim.SGD([table], lr=lr) if optimizer == "sgd" else torch.optim.AdamW([table], lr=lr)
    losses = []
    for _ in range(steps):
        starts = torch.randint(len(data) - 8, (windows, 1), generator=draws) + torch.arange(8)
        loss = F.cross_entropy(table[data[starts]].view(-1, len(vocab)), data[starts + 1].view(-1))
        if clear:
            made.zero_grad()
        loss.backward()
        made.step()
        losses.append(loss.item())
    return losses


def mean(losses: list[float]) -> float:
    return sum(losses) / len(losses)


def descended(pairs: list[tuple[float, float]], lr: float, steps: int) -> list[tuple[float, float, float]]:
    """a, b and the loss after each step of gradient descent, by hand."""
    a = b = 0.0
    path = []
    for _ in range(steps + 1):
        errors = [a * x + b - y for x, y in pairs]
        path.append((a, b, sum(e * e for e in errors) / len(pairs)))
        a -= lr * 2 * sum(e * x for e, (x, _) in zip(errors, pairs, strict=True)) / len(pairs)
        b -= lr * 2 * sum(errors) / len(pairs)
    return path


def test_a_line_learns_as_arithmetic_says(played) -> None:
    scenes = played("line-learns")
    a, b, loss = descended([(1, 3), (2, 5), (3, 7)], 0.05, 1)[1]
    assert all(a * x + b < y for x, y in [(1, 3), (2, 5), (3, 7)]) and scenes["After one step"].measured.answer == 1
    facts = scenes["After one step"].measured.facts
    assert (facts["a"], facts["b"], facts["then"]) == pytest.approx((a, b, loss), rel=1e-5)
    for title, pairs, lr, steps in (
        ("Just above the edge", [(1, 3), (2, 5), (3, 7)], 0.19, 30),
        ("Other points", [(2, 3), (4, 5), (6, 7)], 0.06, 20),
    ):
        path = descended(pairs, lr, steps)
        assert path[-1][2] > path[0][2] and (path[-1][0] - path[-2][0]) * (path[-2][0] - path[-3][0]) < 0
        measured = scenes[title].measured
        assert measured.answer == 2
        assert measured.facts["last"] == pytest.approx(path[steps - 1][2], rel=1e-3)  # the loss before the last update
    assert descended([(1, 3), (2, 5), (3, 7)], 0.17, 200)[-1][2] < 1e-6, "the question says that 0.17 still arrives"
    assert descended([(1, 3), (2, 5), (3, 7)], 0.01, 40)[-1][2] > 0.001, "the task would do itself"


def test_before_learning_random_scores_cost_more_than_guessing(played, play) -> None:
    scenes = played("before-learning")
    characters = len(set(play))
    guessing = math.log(characters)
    assert plain_bigram(play, "adamw", 1e-3, 1)[0] > guessing
    assert scenes["The first loss"].measured.answer == 2
    assert scenes["The first loss"].measured.facts["guessing"] == pytest.approx(guessing)
    assert scenes["All scores at 0"].measured.facts["first"] == pytest.approx(guessing, abs=1e-5)
    assert scenes["How unsure is that?"].measured.answer == pytest.approx(characters, rel=1e-4)
    learnt = math.exp(mean(plain_bigram(play, "adamw", 0.1, 1000)[-100:]))
    assert scenes["And after learning?"].measured.answer == pytest.approx(learnt, rel=0.05)


def test_one_step_moves_the_rows_that_plain_pytorch_moves(played, corpus) -> None:
    scenes = played("one-step")
    run = preset("bigram")
    inputs, targets = Batcher(corpus.train, 8, generator(run.config.seed, "data")).draw(32)
    read = len(set(inputs.flatten().tolist()))
    assert scenes["Who has a slope?"].measured.answer == read
    assert str(corpus.vocab_size) in question(scenes["Who has a slope?"], "one-step").text
    for title, made, moved in (
        ("Which rows move under SGD?", partial(torch.optim.SGD, lr=1.0), read),
        ("And under AdamW?", partial(torch.optim.AdamW, lr=1e-3, weight_decay=0.01), corpus.vocab_size),
    ):
        table = torch.nn.Parameter(torch.randn(corpus.vocab_size, corpus.vocab_size))
        before = table.detach().clone()
        optimizer = made([table])
        F.cross_entropy(table[inputs].flatten(0, 1), targets.flatten()).backward()
        optimizer.step()
        assert int((table.detach() != before).any(1).sum()) == moved
        facts = scenes[title].measured.facts
        assert facts["touched"] + facts["untouched_moved"] == moved


def test_the_floor_is_the_entropy_of_the_counted_pairs(played, play) -> None:
    scenes = played("the-floor")
    train, val = play[: int(0.8 * len(play))], play[int(0.8 * len(play)) : int(0.9 * len(play))]
    diary = (ROOT / "data" / "ferry-notebook.txt").read_text("utf-8")
    for title, text in (("Where does it end?", train), ("A shorter text", diary[: int(0.8 * len(diary))])):
        assert scenes[title].measured.answer == pytest.approx(conditional_entropy(text), abs=0.02)
    assert scenes["Counting instead"].measured.facts["counted"] == pytest.approx(conditional_entropy(train), abs=1e-3)
    pairs, firsts = Counter(pairwise(train)), Counter(train)
    unseen = -mean([math.log((pairs[one] + 1e-3) / (firsts[one[0]] + 1e-3 * len(firsts))) for one in pairwise(val)])
    assert unseen > conditional_entropy(train) + 0.01 and scenes["Text it has never seen"].measured.answer == 0
    curve = scenes["Draw the loss"].measured.answer
    plain = plain_bigram(play, "adamw", 0.03, 2000)
    assert [value for _, value in curve][5::10] == pytest.approx(
        [mean(plain[int(step) - 32 : int(step)]) for step, _ in curve][5::10], abs=0.12
    )


def conditional_entropy(text: str) -> float:
    """Of the next character given one, in nats, by counting."""
    pairs, firsts = Counter(pairwise(text)), Counter(text[:-1])
    return -sum(n * math.log(n / firsts[one]) for (one, _), n in pairs.items()) / (len(text) - 1)


def test_what_must_be_cleared_in_a_plain_loop(played, play) -> None:
    scenes = played("must-be-cleared")
    left, kept = (plain_bigram(play, "sgd", 1.0, 1000, clear) for clear in (False, True))
    facts = scenes["Never cleared"].measured.facts
    lowest = min(range(20, 1000), key=lambda at: mean(left[at - 20 : at]))
    assert lowest < 200 and mean(left[-100:]) > mean(kept[-100:]) + 1
    assert facts["at"] < 200 and facts["end"] > facts["usual"] + 1
    left, kept = (plain_bigram(play, "adamw", 3e-3, 3000, clear) for clear in (False, True))
    assert mean(left[350:450]) < mean(kept[350:450]) - 0.1 and mean(left[-100:]) > mean(kept[-100:]) + 0.02
    assert scenes["Does AdamW forgive it?"].measured.answer == 2


def test_a_learning_rate_can_be_too_small_and_too_large(played, play) -> None:
    scenes = played("how-large-a-step")
    ends = {lr: mean(plain_bigram(play, "adamw", lr, 1000)[-100:]) for lr in (0.002, 0.02, 0.2, 2.0)}
    assert ends[0.02] < ends[0.2] < ends[2.0] and ends[0.2] < ends[0.002]
    assert 0.01 <= scenes["Bet a learning rate"].measured.answer <= 0.06
    assert scenes["Ten times too large, ten times too small"].measured.answer == 2
    few = {lr: mean(plain_bigram(play, "adamw", lr, 50)[-5:]) for lr in (0.02, 0.2, 2.0)}
    assert min(few, key=few.get) == 0.2 and 0.1 <= scenes["Only 50 steps"].measured.answer <= 0.5


def test_bets_of_more_people_than_lanes_are_thinned_and_those_of_a_choice_are_none() -> None:
    bets = Bets(10, (0.1, 1.0))
    assert bets.sweep([0.5, 0.1, 2, "x", 0.5]).values == (0.1, 0.5, 1.0)
    many = bets.sweep([1e-3 * (1 + place) for place in range(400)])
    assert len(many.values) <= 64 and many.settings.max_steps == 10 and {0.1, 1.0} <= set(many.values)
    assert (min(many.values), max(many.values)) == (1e-3, 1.0)


def test_noise_falls_with_the_root_of_the_batch(played, play) -> None:
    scenes = played("noise")
    jumps = {
        windows: mean([abs(b - a) for a, b in pairwise(plain_bigram(play, "adamw", 0.01, 150, windows=windows)[50:])])
        for windows in (1, 8, 32, 256)
    }
    assert max(jumps, key=jumps.get) == 1
    shown = [curve.name for curve in scenes_chart(scenes["Which one read a single window?"], "noise").curves]
    assert shown.index("1 window") == scenes["Which one read a single window?"].measured.answer
    assert jumps[8] / jumps[32] == pytest.approx(2, rel=0.3), "four times the windows, half the noise"
    assert scenes["Half the noise"].measured.answer == 3
    losses = plain_bigram(play, "adamw", 1e-3, 300)
    rising = 100 * mean([b > a for a, b in pairwise(losses)])
    assert scenes["Does each step help?"].measured.answer == pytest.approx(rising, abs=12)
    assert scenes["From 1 to 256"].measured.answer == pytest.approx(math.sqrt(256), rel=0.2)


def scenes_chart(one: Rehearsed, lesson: str) -> Chart:
    """The first chart of what a scene's what-if shows."""
    start = preset("bigram")
    corpus = Corpus.of((ROOT / "data" / "lamplighters.txt").read_text("utf-8"))
    what = what_if(question(one, lesson).experiment.name)
    return what(Start(start.config, start.settings, corpus), Pacer(), steps=3).displays[0]


def test_a_gpt_passes_the_floor_by_looking_one_character_back(played, rehearsal, corpus) -> None:
    scenes = played("looking-back")
    run = rehearsal.outcome(question(scenes["When does it pass the floor?"], "looking-back").experiment).run
    losses = run.history.series["train/loss"].view(10_000).values.tolist()
    floor = conditional_entropy("".join(corpus.tokenizer.vocab[i] for i in corpus.train.tolist()))
    passed = next(at for at in range(20, 401, 20) if mean(losses[at - 20 : at]) < floor)
    assert scenes["When does it pass the floor?"].measured.answer == passed
    assert scenes["With blinkers"].measured.facts["end"] > floor, "nobody who sees one character comes below it"
    model = build_language_model(run.config, corpus.vocab_size).load_weights(run.copy_weights()[1])
    windows = corpus.val.long().unfold(0, 33, 32)
    harm = {}
    for back in (1, 2, 8):  # the loss at the last place with another character so far back
        other = windows[:, :-1].clone()
        other[:, -1 - back] = torch.randint(corpus.vocab_size, (len(other),), generator=generator(0, "harm"))
        harm[back] = F.cross_entropy(model.logits(other)[:, -1], windows[:, -1]).item()
    assert harm[1] > harm[2] > harm[8]
    each = F.cross_entropy(model.logits(windows[:, :-1]).transpose(1, 2), windows[:, 1:], reduction="none").mean(0)
    assert each[0] > each[1:].max() and scenes["The hardest place"].measured.answer == 2


def test_validation_turns_on_a_short_text_and_not_on_a_long_one(played, play) -> None:
    scenes = played("by-heart")
    diary = (ROOT / "data" / "ferry-notebook.txt").read_text("utf-8")
    low, end = lowest_validation(diary, 3000)
    assert 500 <= low <= 2500 and scenes["Where does validation turn?"].measured.answer == pytest.approx(low, rel=0.7)
    assert end > 0.002
    _, end = lowest_validation(play, 2500)
    assert end < 0.002 and scenes["Eight times the text"].measured.answer == 3
    facts = scenes["Which weights would you keep?"].measured.facts
    assert facts["best"] < facts["end"] and facts["train_end"] < facts["train_at"]


def lowest_validation(text: str, steps: int) -> tuple[int, float]:
    """The step of a plain bigram's lowest exact validation loss, and how far above that it ends, as a share."""
    vocab = {character: i for i, character in enumerate(sorted(set(text)))}
    ids = torch.tensor([vocab[character] for character in text])
    train, val = ids[: int(0.8 * len(ids))], ids[int(0.8 * len(ids)) : int(0.9 * len(ids))]
    draws = torch.Generator().manual_seed(1)
    table = torch.nn.Parameter(torch.randn(len(vocab), len(vocab), generator=draws))
    made = torch.optim.AdamW([table], lr=0.01)
    found = {}
    for step in range(1, steps + 1):
        starts = torch.randint(len(train) - 8, (32, 1), generator=draws) + torch.arange(8)
        made.zero_grad()
        F.cross_entropy(table[train[starts]].view(-1, len(vocab)), train[starts + 1].view(-1)).backward()
        made.step()
        if step % 100 == 0:
            found[step] = F.cross_entropy(table[val[:-1]], val[1:]).item()
    low = min(found, key=found.get)
    return low, found[steps] / found[low] - 1


def test_rows_are_alike_where_the_counts_are(played, play) -> None:
    scenes = played("words-as-arrows")
    train = play[: int(0.8 * len(play))]
    characters = sorted(set(play))
    counts = torch.zeros(len(characters), len(characters))
    for one, other in pairwise(train):
        counts[characters.index(one), characters.index(other)] += 1
    rows = (counts + 0.3).log()
    rows = rows - rows.mean(1, keepdim=True)
    rows = F.normalize(rows - rows.mean(0), dim=1)
    for title, asked, offered in (("Whose row is like that of e?", "e", "tErq"), ("And the digit 1?", "1", ",5ql")):
        alike = [float(rows[characters.index(asked)] @ rows[characters.index(one)]) for one in offered]
        assert scenes[title].measured.answer == alike.index(max(alike)), (title, alike)
    assert {b for a, b in pairwise(train) if a == "q"} == {"u"}, "an explanation says so"
    assert not any({"hot", "cold"} <= set(sentence.split()) for sentence in SENTENCES), "a question says so"
    assert {f"we had {warm} {drink}" for warm, drink in (("hot", "tea"), ("cold", "milk"))} <= set(SENTENCES)


def test_the_first_letter_of_a_word_is_the_hardest_by_counting_too(played, play) -> None:
    scenes = played("against-the-model")
    train, val = play[: int(0.8 * len(play))], play[int(0.8 * len(play)) : int(0.9 * len(play))]
    pairs, firsts = Counter(pairwise(train)), Counter(train)
    by_place: dict[str, list[float]] = {"first": [], "second": [], "later": [], "end": []}
    letters = 0
    for one, other in pairwise(val):
        cost = -math.log((pairs[one, other] + 1e-2) / (firsts[one] + 1e-2 * len(set(play))))
        if other.isalpha():
            by_place[("first", "second", "later")[min(letters, 2)]].append(cost)
            letters += 1
        else:
            if letters:
                by_place["end"].append(cost)
            letters = 0
    costs = {name: mean(found) for name, found in by_place.items()}
    facts = scenes["And for a bigram?"].measured.facts
    assert max(costs, key=costs.get) == "first" and scenes["What is hardest?"].measured.answer == 2
    assert facts == pytest.approx(costs, abs=0.15)
    letters_alone = -sum(n / len(train) * math.log(n / len(train)) for n in firsts.values())
    assert scenes["When does it know the letters?"].measured.facts["letters"] == pytest.approx(letters_alone, abs=1e-6)
    assert scenes["When does it know the letters?"].measured.answer < 200
