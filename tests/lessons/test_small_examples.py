"""The documents' small examples against arithmetic that uses no torch, and the page that shows them."""

from __future__ import annotations

import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from streamlit.runtime.scriptrunner_utils.script_requests import RerunData, ScriptRequests
from streamlit.testing.v1 import AppTest

from engine.config import LiveSettings, changed
from engine.errors import InputError
from engine.lessons.experiments import EXPERIMENTS, TOPICS
from engine.lessons.results import CodeOutput, Grid, Table
from engine.lessons.small_examples import EXAMPLES
from engine.presets import preset
from engine.runs.manager import RunManager
from engine.stream.status import State
from pages.views.step import experiments

HELLO = np.array([[0.1, 0.5, 0.3, 0.1], [0.2, 0.1, 0.4, 0.3], [0.3, 0.2, 0.1, 0.4]])
ANIMALS = np.array(
    [
        [0.7, 0.2, 0.1, 0.0],
        [0.2, 0.7, 0.0, 0.1],
        [0.1, 0.1, 0.7, 0.1],
        [0.1, 0.1, 0.7, 0.1],
        [0.0, 0.0, 0.1, 0.9],
        [0.2, 0.7, 0.0, 0.1],
    ]
)
RIGHT = [0, 1, 2, 2, 3, 1]


def softmax(scores: np.ndarray) -> np.ndarray:
    shares = np.exp(scores)
    return shares / shares.sum(axis=-1, keepdims=True)


def losses(scores: np.ndarray, targets: list[int]) -> np.ndarray:
    return -np.log(softmax(scores)[np.arange(len(targets)), targets])


def numbers_of(title: str) -> dict[str, float]:
    return dict(EXAMPLES[title]().numbers)


def test_hello() -> None:
    found = numbers_of("hello: three predictions and their loss")
    by_hand = losses(HELLO, [1, 2, 2])  # columns h, e, l, o; e, l, l are right
    assert [found[f"loss_{i}"] for i in range(3)] == pytest.approx(by_hand, abs=1e-6)
    assert by_hand == pytest.approx([1.1504, 1.2425, 1.5425], abs=5e-5)
    assert found["mean"] == pytest.approx(1.3118, abs=5e-5)
    assert "1.1504 1.2425 1.5425" in EXAMPLES["hello: three predictions and their loss"]().actual


def test_logits_that_look_like_probabilities() -> None:
    found = numbers_of("Logits that look like probabilities")
    assert found["sum"] == pytest.approx(1)
    assert [found[f"p{i}"] for i in range(4)] == pytest.approx(softmax(HELLO[0]), abs=1e-7)
    assert [round(found[f"p{i}"], 3) for i in range(4)] == [0.212, 0.317, 0.259, 0.212]
    assert [found[f"wide{i}"] for i in range(4)] == pytest.approx(softmax(10 * HELLO[0]), abs=1e-6)
    assert found["shift"] < 1e-5
    assert ".212 .317 .259 .212" in EXAMPLES["Logits that look like probabilities"]().actual


def test_o_in_place_of_e() -> None:
    found = numbers_of("o in place of e")
    for factor in (1, 10):
        right, wrong = factor * HELLO[0], factor * HELLO[0][[0, 3, 2, 1]]
        assert found[f"e_{factor}"] == pytest.approx(losses(right[None], [1])[0], abs=1e-6)
        assert found[f"o_{factor}"] == pytest.approx(losses(wrong[None], [1])[0], abs=1e-6)
    assert found["o_10"] > 4 > found["e_10"]


def test_cat_dog_bird_fish() -> None:
    found = numbers_of("Cat, dog, bird, fish")
    assert found["index"] == pytest.approx(losses(ANIMALS, RIGHT).mean(), abs=1e-6)
    assert found["index"] == pytest.approx(0.948124, abs=1e-6)
    assert found["one_hot"] == pytest.approx(found["index"], abs=1e-6)
    assert found["as_chances"] == pytest.approx(-np.log(ANIMALS[np.arange(6), RIGHT]).mean(), abs=1e-6)
    assert found["as_chances"] == pytest.approx(0.314789, abs=1e-6)
    assert found["perfect"] == pytest.approx(math.log(math.e + 3) - 1, abs=1e-6)
    assert found["perfect"] == pytest.approx(0.7437, abs=5e-5)
    assert found["unmoved"] == 1


def test_negative_log_likelihood_and_the_logarithm() -> None:
    nll = numbers_of("Negative log-likelihood of one prediction")
    by_hand = -np.sum(np.array([0, 1, 0]) * np.log([0.2, 0.5, 0.3]))
    assert list(nll.values()) == pytest.approx([by_hand] * 3)
    assert nll["nll"] == pytest.approx(0.693147, abs=1e-6)
    log = numbers_of("What the logarithm does")
    assert (log["near"], log["far"]) == pytest.approx((0.01005, 4.60517), abs=1e-5)


def test_the_printed_softmax_is_not_that_of_the_printed_logits() -> None:
    found = numbers_of("The printed logits and their softmax")
    row = np.array([0.3134, -0.1676, 0.3773, -0.0824, -0.2973])
    assert [found[f"p{i}"] for i in range(5)] == pytest.approx(softmax(row), abs=1e-6)
    assert softmax(row) == pytest.approx([0.256, 0.159, 0.273, 0.173, 0.139], abs=1e-3)
    assert found["least"] == found["favoured"] == 4, "the smallest logit got the largest share"
    assert found["off"] == pytest.approx(0.2736 - softmax(row)[4], abs=1e-6)


def test_shapes() -> None:
    found = numbers_of("B, T and C of the printed batch")
    assert (found["B"], found["T"], found["C"], found["rows"]) == (4, 8, 65, 32)
    last = numbers_of("The last step: logits[:, -1, :]")
    assert [last[f"b0c{c}"] for c in range(4)] == pytest.approx([0.3, 0.4, 0.1, 0.2])
    assert [last[f"b1c{c}"] for c in range(4)] == pytest.approx([0.2, 0.1, 0.4, 0.3])
    assert last["dims"] == 2
    assert numbers_of("(B*T,) or (B*T)") == {"same": 1}
    assert numbers_of("the cat sat on mat") == {"pairs": 4, "outside": 1, "words": 6}


def test_idx_grows_by_one_a_turn() -> None:
    (table,) = EXAMPLES["idx grows from (1, 1)"]().displays
    assert isinstance(table, Table)
    assert [row[0] for row in table.rows] == ["(1, 1)", "(1, 2)", "(1, 3)", "(1, 4)"]
    assert {row[1:4] for row in table.rows} == {("(1, 5)", "(1, 5)", "(1, 1)")}
    assert [len(str(row[5]).split()) for row in table.rows] == [2, 3, 4, 5]


def test_names_of_grad_fn() -> None:
    example = EXAMPLES["Names of grad_fn"]()
    assert dict(example.numbers) == {"wrong": 2, "stores": 1}
    (table,) = example.displays
    assert isinstance(table, Table)
    assert [row[2] for row in table.rows[-2:]] == ["ConvolutionBackward0", "AddmmBackward0"]


def test_gradients_add_up_and_adamw_levels_them() -> None:
    assert numbers_of("Gradients add up") == {"twice": 12, "fresh": 6, "cleared": 1}
    found = numbers_of("Three weights: big, small, very small")
    assert found["sgd"] == pytest.approx(1e4)
    by_hand = [1e-3 * g / (g + 1e-8) for g in (2e-2, 2e-6)]  # both corrections cancel at the first step
    assert found["adamw"] == pytest.approx(by_hand[0] / by_hand[1], rel=1e-6)
    assert found["largest"] == pytest.approx(by_hand[0], rel=1e-6)


@pytest.mark.parametrize("title", EXAMPLES)
def test_an_example_is_complete_and_draws_from_no_shared_generator(title) -> None:
    before = torch.get_rng_state()
    example = EXAMPLES[title]()
    assert torch.equal(before, torch.get_rng_state())
    assert example.document[:3] in ("000", "001", "002", "003", "004")
    assert example.claim and example.actual and example.displays
    for grid in (display for display in example.displays if isinstance(display, Grid)):
        assert grid.cells.shape == (len(grid.rows), len(grid.columns))
        if grid.scale == "probability" and "y_" not in grid.title:
            assert grid.cells.sum(axis=1) == pytest.approx(1, abs=2e-4)


# ------------------------------------------------------------------ the two tabs


@pytest.fixture
def manager(house: RunManager) -> RunManager:
    """The process's manager, as pages see it."""
    return house


def examples_page() -> None:
    from pages.views.step.small_examples import small_examples

    small_examples()


def whatif_page() -> None:
    from pages.views.step.experiments import what_if

    what_if()


def opened(script) -> AppTest:
    page = AppTest.from_function(script, default_timeout=60)
    page.run()
    assert not page.exception
    return page


def tried(page: AppTest, name: str) -> str:
    """Run an experiment; the sentence that says what is seen."""
    if any(button.key == "whatif_all" for button in page.button):
        page.button(key="whatif_all").click().run()
    page.button(key=f"ask_{name}").click().run()
    page.button(key="whatif_run").click().run()
    assert not page.exception
    return "\n".join(text.value for text in page.markdown)


def test_every_example_opens(manager) -> None:
    page = opened(examples_page)
    for title in EXAMPLES:
        page.selectbox[0].set_value(title).run()
        assert not page.exception
        assert any(EXAMPLES[title]().actual == text.value for text in page.markdown)


def test_without_a_run_an_experiment_tries_a_fresh_bigram(manager) -> None:
    page = opened(whatif_page)
    assert "RuntimeError" in tried(page, "second-backward")
    assert any("Trying to backward" in code.value for code in page.code)
    assert "with its first weights" in page.text[-1].value
    assert not page.get("button_group")


def test_with_a_run_it_begins_where_the_run_stands(manager, wait_until) -> None:
    start = preset("bigram")
    run = manager.start(start.config, changed(start.settings, max_steps=1000, speed="unlimited"))
    wait_until(lambda: run.state is State.DONE)
    page = opened(whatif_page)
    assert "bit for bit" in tried(page, "zero-grad-places")
    assert "after step 1,000" in page.text[-1].value
    page.button_group[0].set_value("first").run()
    assert "after step 1,000" not in " ".join(text.value for text in page.text), "an outcome of another start"
    page.button(key="whatif_run").click().run()
    assert "with its first weights" in page.text[-1].value


def test_an_outcome_is_kept_and_not_computed_again(manager, monkeypatch) -> None:
    page = opened(whatif_page)
    tried(page, "item-backward")
    tried(page, "one-generator")
    monkeypatch.setattr("pages.views.step.experiments.run_experiment", lambda *_: pytest.fail("computed again"))
    assert "no backward() to call" in tried(page, "item-backward")


def test_a_gpt_hands_its_text_to_a_bigram_where_one_is_needed(manager) -> None:
    start = preset("gpt-tiny")
    manager.prepare(start.config, LiveSettings(batch_size=4)).wait()
    page = opened(whatif_page)
    assert "nothing is learnt" in tried(page, "zero-grad-too-late")
    assert any("Tried on a fresh bigram" in text.value for text in page.caption)
    assert "of the bigram on" in page.text[-1].value
    assert "agree to the last bit" in tried(page, "softmax-dimension")
    assert "of the GPT on" in page.text[-1].value


def test_the_what_ifs_are_cards_of_one_plain_question_each_by_topic(manager) -> None:
    page = opened(whatif_page)
    assert not page.selectbox and [topic.value for topic in page.subheader] == list(TOPICS)
    cards = {button.key: button.label for button in page.button}
    assert len(cards) == len(EXPERIMENTS)
    for experiment in EXPERIMENTS:
        assert cards[f"ask_{experiment.name}"].startswith(f"**{experiment.question}**")
        page.button(key=f"ask_{experiment.name}").click().run()
        assert not page.exception
        assert [title.value for title in page.subheader] == [experiment.question]
        page.button(key="whatif_all").click().run()


def test_a_question_uses_no_word_of_code() -> None:
    jargon = ("zero_grad", "backward", "softmax", "parameters(", "SGD", "loss.", "len(", "dim", "None", "gradient")
    for experiment in EXPERIMENTS:
        assert experiment.topic in TOPICS and experiment.question.endswith("?")
        assert not [word for word in jargon if word in experiment.question], experiment.question
    assert len({experiment.question for experiment in EXPERIMENTS}) == len(EXPERIMENTS)


def test_what_a_person_asks_for_meanwhile_is_noticed(monkeypatch) -> None:
    """Streamlit tells nobody of it in public; this holds the place where it is read."""
    requests = ScriptRequests()
    context = SimpleNamespace(fragment_ids_this_run=["step"], script_requests=requests)
    monkeypatch.setattr(experiments, "get_script_run_ctx", lambda: context)
    assert not experiments.interrupted()
    requests.request_rerun(RerunData(fragment_id="step"))
    assert experiments.interrupted()
    context.fragment_ids_this_run = None
    assert not experiments.interrupted(), "outside a fragment Streamlit interrupts by itself"


def test_an_experiment_that_was_left_says_so(manager, monkeypatch) -> None:
    page = opened(whatif_page)
    page.session_state.whatif_open = page.session_state.whatif_unfinished = EXPERIMENTS[0].name
    page.run()
    assert any("interrupted" in text.value for text in page.caption)
    assert "no backward() to call" in tried(page, "item-backward")
    assert "whatif_unfinished" not in page.session_state


def test_an_input_that_cannot_be_tried_gives_its_sentence(manager, monkeypatch) -> None:
    def refuse(*_: object) -> None:
        raise InputError("the text is too short for this; choose a longer one")

    monkeypatch.setattr(experiments, "start_of", refuse)
    page = opened(whatif_page)
    tried(page, "item-backward")
    assert page.text[-1].value == "the text is too short for this; choose a longer one"


def test_size_does_not_come_back_later_through_the_moments_but_agreement_shows() -> None:
    example = EXAMPLES["Three weights: big, small, very small"]()
    found = example.numbers
    kinds = [name.removesuffix("/0.02") for name in found if name.endswith("/0.02")]
    moves = [found[f"{kind}/0.02"] for kind in kinds]
    for kind, move in zip(kinds, moves, strict=True):
        assert found[f"{kind}/2e-06"] == pytest.approx(move, rel=0.01), "ten thousand times smaller, the same move"
    assert moves == sorted(moves, reverse=True) and moves[0] == pytest.approx(1, abs=0.01) and moves[-1] < 0.3
    assert "Size does not come back later" in example.actual
    assert (
        f"moves by {moves[0]:.2f} × the rate" in example.actual and f"by {moves[-1]:.2f} × the rate" in example.actual
    )


def test_backwards_a_perceptron_and_a_change_are_told_apart() -> None:
    example = EXAMPLES["backwards(), a perceptron, a change"]()
    found = example.numbers
    with pytest.raises(AttributeError) as real:
        torch.zeros(1).backwards()  # type: ignore[attr-defined]
    misspelt = example.displays[0]
    assert isinstance(misspelt, CodeOutput) and (misspelt.kind, misspelt.text) == ("AttributeError", str(real.value))
    assert (found["own"], found["memory"], found["trained"]) == (0, 8, 4)
    # z = 0.5 · (0.01 + 0.3 + 3) + 0.5; the slope in weight i is σ(z) · x_i
    answer = 1 / (1 + math.exp(-(0.5 * 3.31 + 0.5)))
    for i, x in enumerate((0.01, 0.3, 3.0)):
        assert found[f"gradient_{i}"] == pytest.approx(answer * x, rel=1e-5)
        assert found[f"change_{i}"] == pytest.approx(-1e-3, rel=1e-3), "the same for slopes of any size"
    assert "AdamW is no perceptron" in example.actual and "a gradient is a slope, not a change" in example.actual
