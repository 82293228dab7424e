"""What can go wrong in front of a room: crashes, divergence, hostile texts, wrong links, edited pages."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from urllib.parse import urlencode

import pytest
from playwright.sync_api import expect

from tests.browser.relay import Relay
from tests.browser.served import Server, copy_project
from tests.browser.stage import PATIENCE, Stage

STEADY = "/?preset=bigram&speed=100&max_steps=1000000"
HOSTILE = '<img src=x onerror=alert(1)> $a$ :red[x] ![y](http://evil.example/y.png) "><script>alert(2)</script>'

# Put under the copy's app.py: the training thread fails while the file `break` lies in the data home, and each thread
# that has ever trained leaves its name in the file `threads`.
FAULT = """
import threading
from engine.paths import home
from engine.training.trainer import Trainer

_forward, _seen = Trainer.forward, set()


def _forward_or_fail(self):
    name = threading.current_thread().name
    if name.startswith("training") and name not in _seen:
        _seen.add(name)
        (home() / "threads").write_text("\\n".join(sorted(_seen)))
    if self.step % 10 == 0 and (home() / "break").exists():
        raise RuntimeError("a cable was pulled <b>here</b>")
    _forward(self)


Trainer.forward = _forward_or_fail
"""


@pytest.fixture
def tab(server: Server, new_tab: Callable[..., Stage]) -> Stage:
    """A tab that has not been anywhere yet."""
    return new_tab(server)


@pytest.fixture(scope="module")
def fragile(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A Loopscope whose training thread can be made to fail, and whose pages may be edited."""
    folder = tmp_path_factory.mktemp("fragile")
    project = copy_project(folder)
    with (project / "app.py").open("a") as app:
        app.write(FAULT)
    server = Server(folder, project=project)
    yield server
    server.end()


def test_an_exception_while_training_is_on_every_page_and_start_works_again(
    fragile: Server, new_tab: Callable[..., Stage]
) -> None:
    one, audience = new_tab(fragile).fresh(STEADY), new_tab(fragile).open("/watch")
    other = new_tab(fragile).open()
    one.start().reaches(20)
    failed = one.run
    audience.is_in("running")
    (fragile.home / "break").touch()
    for stage in (one, other):
        stage.is_in("failed")
        alert = stage.page.get_by_role("alert").filter(has_text="a cable was pulled <b>here</b>")
        expect(alert).to_be_visible()
        expect(alert.locator("pre")).to_contain_text("Traceback (most recent call last)")
    audience.is_in("failed")
    expect(audience.page.get_by_role("alert").filter(has_text="the presenter sees why")).to_be_visible()
    expect(audience.page.get_by_text("Traceback")).to_have_count(0)
    (fragile.home / "break").unlink()
    expect(other.button("play")).to_have_text(re.compile("Start"))
    other.button("play").click()
    one.wait("board.data.run !== given && board.data.stream.step > 20", failed)
    one.is_in("running")
    expect(one.page.get_by_role("alert").filter(has_text="a cable was pulled")).to_be_hidden()


def test_editing_a_page_leaves_the_run_and_its_thread(fragile: Server, new_tab: Callable[..., Stage]) -> None:
    stage = new_tab(fragile).fresh(STEADY)
    stage.start().reaches(10)
    run, threads = stage.run, (fragile.home / "threads").read_text()
    page = fragile.project / "pages" / "train.py"
    page.write_text(page.read_text() + '\nst.text("edited while it trains")\n')
    figures = fragile.project / "pages" / "charts" / "live_figures.py"
    figures.write_text(figures.read_text() + "\n# edited\n")
    before = stage.step

    def is_new() -> bool:
        stage.page.reload()
        expect(stage.button("play")).to_be_enabled()
        return stage.page.get_by_text("edited while it trains").is_visible()

    stage.retried(is_new)
    stage.reaches(before + 50)
    assert stage.run == run
    assert (fragile.home / "threads").read_text() == threads
    stage.press("Space")
    stage.is_in("paused")


def test_a_learning_rate_of_a_million_with_decay_ends_in_diverged(tab: Stage) -> None:
    stage = tab.fresh("/?preset=bigram&lr=1000000&weight_decay=0.1&speed=unlimited")
    stage.button("play").click()
    stage.is_in("diverged", 60_000)
    expect(stage.loss.get_by_role("button", name="Logarithmic: Loss")).to_have_attribute("aria-pressed", "true")
    expect(stage.keyed("lesson")).to_contain_text(re.compile(r"This run diverged at step [\d,]+"))
    stage.wait("board.tables.get('weights/token_embedding')?.data.every(Number.isFinite)")
    expect(stage.button("play")).to_have_text(re.compile("Start"))


@pytest.mark.thorough
def test_a_learning_rate_of_a_million_without_decay_raises_the_warning(tab: Stage) -> None:
    stage = tab.fresh("/?preset=bigram&lr=1000000&weight_decay=0&speed=1000")
    stage.start()
    warning = stage.page.get_by_role("status").filter(has_text="lower the learning rate")
    expect(stage.keyed("lesson")).to_contain_text("Start again with learning rate 0.001 instead of", timeout=PATIENCE)
    expect(warning).to_have_count(0)
    stage.is_in("running")


@pytest.mark.thorough
def test_a_dropped_text_is_in_the_list_soon(server: Server, tab: Stage) -> None:
    stage = tab.fresh()
    (server.home / "corpora").mkdir(exist_ok=True)
    (server.home / "corpora" / "Tide tables.txt").write_text("high water at six, low water at noon\n" * 40)
    stage.wait("board.data.stream.library > 0 && board.options.shown.library === board.data.stream.library")
    stage.click("New run")
    expect(stage.keyed("corpus")).to_be_visible()
    stage.keyed("corpus").get_by_role("combobox").click()
    expect(stage.page.get_by_role("option", name="tide tables")).to_be_visible()


def test_a_hostile_text_is_trained_on_and_shown_as_it_is(server: Server, tab: Stage) -> None:
    stage = tab.fresh(STEADY)
    corpora = server.home / "corpora"
    corpora.mkdir(exist_ok=True)
    name = HOSTILE.replace("/", "\u2215")[:120] + ".txt"
    before = stage.page.evaluate("[...loopscopeBoards.values()][0].data.stream.library")
    (corpora / name).write_text((HOSTILE + "\n") * 200)
    stage.wait("board.data.stream.library > given && board.options.shown.library === board.data.stream.library", before)
    stage.click("New run")
    stage.keyed("corpus").get_by_role("combobox").click()
    stage.page.get_by_role("option", name="onerror").click()
    stage.page.keyboard.press("Escape")
    stage.start().reaches(3)
    assert "onerror" in stage.page.locator(".ls-run").inner_text()
    prompt = stage.keyed("prompt").locator("input")
    prompt.fill(HOSTILE)
    prompt.press("Enter")
    stage.press("s")
    shown = stage.page.locator(".ls-sample .ls-text").filter(has_text="onerror=alert(1)").first
    expect(shown).to_be_visible()
    assert shown.inner_text().replace("␣", " ").startswith(HOSTILE)
    assert stage.page.locator('img[src="x"]').count() == 0


@pytest.mark.parametrize(
    "text",
    [
        "<img src=x onerror=alert(1)> $a$",
        pytest.param("![y](http://evil.example/y.png):red[x]", marks=pytest.mark.thorough),
    ],
)
def test_a_hostile_link_is_shown_as_it_is(tab: Stage, text: str) -> None:
    values = dict.fromkeys(("corpus", "preset", "lr", "seed", text), text)
    stage = tab.fresh("/?" + urlencode(values))
    stage.page.wait_for_load_state("networkidle")
    for name in ("corpus", "preset", "lr", "seed", "setting"):
        said = stage.keyed("notices").get_by_text(text).filter(has_text=name).first
        expect(said).to_be_visible()
    assert stage.page.locator('img[src="x"], img[src*="evil"], .katex').count() == 0
    assert stage.page.locator(".st-key-controls a").count() == 0


@pytest.mark.thorough
def test_a_wrong_value_in_a_link_gives_a_notice_that_names_it(tab: Stage) -> None:
    stage = tab.fresh("/?preset=bigram&lr=fast&max_steps=500")
    notice = stage.keyed("notices")
    expect(notice).to_contain_text("lr=fast")
    expect(stage.number("max_steps_number")).to_have_value("500")
    notice.get_by_role("button", name="Close").click()
    expect(notice).to_have_count(0)


@pytest.mark.thorough
def test_an_uploaded_text_stays_inside_the_data_home(server: Server, tab: Stage) -> None:
    stage = tab.fresh(STEADY)
    stage.click("New run")
    text = ("the harbour master counts the boats\n" * 50).encode()
    chooser = stage.keyed("upload").locator("input[type=file]")
    chooser.set_input_files({"name": "..\\..\\../../app.txt", "mimeType": "text/plain", "buffer": text})
    expect(stage.keyed("corpus").get_by_role("combobox")).to_have_value(re.compile("app"))
    (kept,) = (server.home / "uploads").iterdir()
    assert kept.read_bytes() == text
    beside = {path.name for path in server.home.parent.iterdir()}
    assert beside == {"home", "output.txt"}, "nothing is written outside the data home"
    stage.page.keyboard.press("Escape")
    stage.start().reaches(3)
    assert "app" in stage.page.locator(".ls-run").inner_text()


def test_a_lost_connection_is_said_and_mended(server: Server, tab: Stage) -> None:
    stage = tab.fresh(STEADY)
    stage.start().reaches(20)
    stage.page.evaluate("[...loopscopeBoards.values()][0].connection.socket.close()")
    expect(stage.page.get_by_text("Connection lost")).to_be_visible()
    before = stage.step
    expect(stage.page.get_by_text("Connection lost")).to_be_hidden()
    stage.reaches(before + 50)
    stage.retried(stage.has_whole_history)


@pytest.mark.thorough
def test_a_connection_that_is_silently_dead_shows_no_old_news_as_new(
    server: Server, tab: Stage, new_tab: Callable[..., Stage]
) -> None:
    tab.fresh(STEADY).start().reaches(20)
    wire = Relay(server.port)
    try:
        stage, audience = (new_tab(server, wire.url).open(path) for path in ("/", "/watch"))
        for one in (stage, audience):
            expect(one.header).to_contain_text("training")
            expect(one.header).to_contain_text("steps/s")
        wire.cut()
        for one in (stage, audience):
            expect(one.header).to_contain_text("no connection")
            expect(one.header).not_to_contain_text("training")
            expect(one.header).not_to_contain_text("steps/s")
            expect(one.page.get_by_text("Nothing comes from the server")).to_be_visible()
        before = tab.step
        expect(stage.page.get_by_text("Connection lost")).to_be_visible()
        wire.mend()
        for one in (stage, audience):
            expect(one.header).to_contain_text("training")
            one.reaches(before + 20)
    finally:
        wire.close()
