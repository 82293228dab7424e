"""The command line's grammar: `train`, `fetch` and `check`, their flags and what each starts.

Knows what people may write, not how a run is made. A flag's bounds and help come from the field it sets.
"""

from __future__ import annotations

import argparse
import math
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NoReturn

from ..config import DEFAULT_CORPUS, MAX_STEPS, Drawing, Frozen, LiveSettings, RunConfig, changed
from ..console import Progress, complain, printable, say
from ..errors import InputError
from ..link import DEFAULT_PRESET
from ..models import registry
from ..paths import INSTALLED, cli_command, dashboard_command, home
from ..presets import PRESETS, preset
from ..storage.metrics.schema import MetricsError
from ..text import gpt2
from ..text.download import PINNED_TEXTS
from ..text.library import Library, TextEntry
from .check import report

# Flags that set a field of RunConfig, and of LiveSettings.
STRUCTURE = ("model", "tokenizer", "vocab_size", "epochs", "block_size", "optimizer", "seed", "device")
KNOBS = ("max_steps", "lr", "weight_decay", "batch_size")
SHAPE = ("preset", "model", "tokenizer", "vocab_size", "block_size")  # what a model that was trained has for good
VERBS = "choose train, runs, resume, evaluate, sample, export, fetch or check"


class Parser(argparse.ArgumentParser):
    """argparse whose errors are one line: no usage text before them."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.allow_abbrev = False
        self._negative_number_matcher = re.compile(r"-(\d|\.\d|inf|nan)", re.IGNORECASE)  # values, not flags

    def error(self, message: str) -> NoReturn:
        """End with status 2; `message` says what is wrong, and this adds where to look if it does not."""
        message = message.removeprefix("argument ")
        complain(message if ";" in message else f"{message}; `{self.prog} --help` lists what there is")
        sys.exit(2)


def run(words: Sequence[str]) -> int:
    """Do what `words` ask for; returns the exit status."""
    parser = _parser()
    try:
        arguments, unknown = parser.parse_known_args(words)
        if arguments.verb is None:
            parser.error(f"{unknown[0]!r} is not a verb; {VERBS}" if unknown else f"there is no verb; {VERBS}")
        if unknown:
            flags = cli_command(f"{arguments.verb} --help")
            parser.error(f"{unknown[0]!r} is not an option of {arguments.verb}; `{flags}` lists them")
        doing: dict[str, Callable[[argparse.Namespace], int]] = {
            "check": lambda _: report(),
            "fetch": _fetch,
            "train": _train,
        }
        return doing.get(arguments.verb, _stored)(arguments)
    except InputError as error:
        complain(str(error))
        return 2


def _train(arguments: argparse.Namespace) -> int:
    if arguments.before is not None:
        return _fine_tune(arguments)
    config, settings = experiment(arguments)
    from .train import TrainOptions, train  # torch takes seconds to import, and nothing before needs it

    return train(TrainOptions(config, settings, arguments.corpus, arguments.out, arguments.evaluate, arguments.json))


def _fine_tune(arguments: argparse.Namespace) -> int:
    """`train --from RUN`: the run's own settings, and over them the flags that leave its weights their shape."""
    for name in SHAPE:
        if getattr(arguments, name) is not None:
            flag = name.replace("_", "-")
            raise InputError(f"--{flag} does not go with --from {arguments.before}, whose model is made; leave it out")
    from . import stored_runs  # torch, again
    from .train import TrainOptions

    before, snapshot = stored_runs.opened(arguments.before)
    assert before.config is not None
    start = snapshot.settings if before.config.epochs is None else changed(snapshot.settings, max_steps=MAX_STEPS)
    config, settings = flagged(before.config, start, arguments)
    order = TrainOptions(config, settings, arguments.corpus, arguments.out, arguments.evaluate, arguments.json)
    return stored_runs.fine_tune(before, snapshot, order)


def _stored(arguments: argparse.Namespace) -> int:
    from . import stored_runs  # torch, again

    asked = {name: value for name, value in vars(arguments).items() if name != "verb"}
    verb: Callable[..., int] = getattr(stored_runs, arguments.verb)
    try:
        return verb(**asked)
    except MetricsError as error:
        raise InputError(f"run {asked['run'][:80]} is damaged (metrics.db: {error}); choose another") from None


def experiment(arguments: argparse.Namespace) -> tuple[RunConfig, LiveSettings]:
    """The preset's settings with the flags over them, at unlimited speed; a model alone names its own preset."""
    name, model = arguments.preset, arguments.model
    if name is None:
        name = registry.find(model).preset if model in registry.names() else DEFAULT_PRESET
    start = preset(name)
    if arguments.vocab_size is not None and (arguments.tokenizer or start.config.tokenizer) != "bpe":
        raise InputError(f"--vocab-size {arguments.vocab_size} is for byte-pair encoding; add --tokenizer bpe")
    return flagged(start.config, start.settings, arguments)


def flagged(config: RunConfig, settings: LiveSettings, arguments: argparse.Namespace) -> tuple[RunConfig, LiveSettings]:
    """These settings with the flags over them, at unlimited speed."""
    flags = {name: value for name, value in vars(arguments).items() if value is not None}
    structure = {name: flags[name] for name in STRUCTURE if name in flags}
    knobs = {name: flags[name] for name in KNOBS if name in flags}
    if "epochs" in flags:
        knobs = {"max_steps": MAX_STEPS} | knobs  # the epochs end the run, not the preset's number of steps
    return changed(config, **structure), changed(settings, **knobs, speed="unlimited")


def _parser() -> Parser:
    parser = Parser(
        prog=cli_command(),
        description="Train small language models, and prepare for a workshop.",
        epilog=f"Without a verb, {cli_command()} starts the dashboard; its flags go to Streamlit (--server.port 8502)."
        if INSTALLED
        else f"The dashboard: {dashboard_command()}",
    )
    verbs = parser.add_subparsers(dest="verb", title="verbs")
    train = verbs.add_parser("train", help="train a model and say how it went", description="Train a model.")
    train.add_argument(
        "--preset", metavar="P", help=f"where the settings start: {', '.join(PRESETS)}; every flag overrides it"
    )
    train.add_argument("--corpus", metavar="NAME|PATH", help=f"the text to learn from (default {DEFAULT_CORPUS})")
    train.add_argument(
        "--from",
        dest="before",
        metavar="RUN",
        help="fine-tune: begin with the newest weights of this run, and learn from another --corpus of its characters",
    )
    for name in (*STRUCTURE, *KNOBS):
        _add_field(train, RunConfig if name in STRUCTURE else LiveSettings, name)
    train.add_argument("--out", metavar="DIR", help="the run's own folder, new or empty (default <home>/runs/<id>)")
    train.add_argument("--evaluate", action="store_true", help="at the end, exact losses over each whole split")
    train.add_argument("--json", action="store_true", help="the last line on stdout is one JSON object")
    _add_stored(verbs)
    fetch = verbs.add_parser(
        "fetch", help="download texts; without a name, list them", description="Download texts into the data home."
    )
    known = (*(text.name for text in PINNED_TEXTS), gpt2.NAME)
    fetch.add_argument("names", nargs="*", metavar="NAME", help=", ".join(known))
    fetch.add_argument("--all", action="store_true", help="all that are not here yet")
    fetch.add_argument(
        "--from", dest="folder", metavar="FOLDER", help=f"with {gpt2.NAME}: take its two files from this folder"
    )
    verbs.add_parser(
        "check",
        help="is everything here that a workshop needs?",
        description="One line for each thing a workshop needs, and what to do about what is missing.",
    )
    return parser


def _add_stored(verbs: Any) -> None:
    """The verbs that open runs from the disk."""

    def add(verb: str, about: str) -> Parser:
        parser: Parser = verbs.add_parser(verb, help=about, description=about[:1].upper() + about[1:] + ".")
        parser.add_argument("run", metavar="RUN", help="a run's id, or its folder")
        return parser

    verbs.add_parser("runs", help="list the runs there are", description="List the runs there are, newest first.")
    resume = add("resume", "go on with a run that was interrupted or stopped, from its newest snapshot")
    _add_field(resume, LiveSettings, "max_steps")
    resume.add_argument("--json", action="store_true", help="the last line on stdout is one JSON object")
    evaluate = add("evaluate", "the exact loss of a run's newest snapshot over a whole split")
    evaluate.add_argument("--split", default="val", metavar="S", help="train, val or test (default val)")
    evaluate.add_argument("--json", action="store_true", help="the last line on stdout is one JSON object")
    sample = add("sample", "text from a run's newest snapshot")
    sample.add_argument("--prompt", default="", help="what the text begins with")
    for name in Drawing.model_fields:
        _add_field(sample, Drawing, name)
    export = add("export", "a run's numbers as a table")
    export.add_argument("--csv", required=True, metavar="FILE", help="where to write it")


def _add_field(parser: argparse.ArgumentParser, record: type[Frozen], name: str) -> None:
    """A flag that sets the field `name` of `record`."""
    field = record.model_fields[name]
    kinds: dict[object, Callable[[str], object]] = {
        int: lambda text: _number(int, text, "a whole number", _bounds(record, name)),
        int | None: lambda text: _number(int, text, "a whole number", _bounds(record, name)),
        float: lambda text: _number(float, text, "a finite number", _bounds(record, name)),
    }
    parser.add_argument(
        f"--{name.replace('_', '-')}",
        type=kinds.get(field.annotation, str),
        metavar=name.upper(),
        help=(field.description or "").replace("%", "%%"),
    )


def _number(kind: type[int] | type[float], text: str, what: str, bounds: str) -> int | float:
    """`text` as a number, its bounds still unchecked; ArgumentTypeError names the value and the bounds."""
    try:
        number = kind(text)
    except ValueError:
        number = math.nan
    if isinstance(number, float) and not math.isfinite(number):
        raise argparse.ArgumentTypeError(f"{text[:40]!r} is not {what}; choose one that is {bounds}")
    return number


def _bounds(record: type[Frozen], name: str) -> str:
    """The bounds of a numeric field in words: "at least 1 and at most 8,192"."""
    words = {"gt": "above", "ge": "at least", "lt": "below", "le": "at most"}
    return " and ".join(
        f"{word} {bound:,}" if isinstance(bound := getattr(mark, key), int) else f"{word} {bound:g}"
        for key, word in words.items()
        for mark in record.model_fields[name].metadata
        if getattr(mark, key, None) is not None
    )


def _fetch(arguments: argparse.Namespace) -> int:
    """Texts, and GPT-2's tokenizer, which is none; its files may come from a folder."""
    library, names, folder = Library(home()), [name for name in arguments.names if name != gpt2.NAME], arguments.folder
    asked = arguments.all or len(names) < len(arguments.names)
    if folder is not None and (names or arguments.all or not asked):
        raise InputError(f"--from {folder[:80]} is for {gpt2.NAME} alone; put a text into {library.folder.path}")
    if asked and not names and not arguments.all:
        return _fetch_gpt2(folder)
    status = fetch(library, names, arguments.all)
    if not arguments.names and not arguments.all:
        say(_place_of_gpt2())
    return max(status, _fetch_gpt2(folder)) if asked else status


def fetch(library: Library, names: Sequence[str], everything: bool) -> int:
    """Download the texts called `names`, or `everything`; with neither, list them. 1 if a download failed.

    InputError for a name that cannot be fetched, before anything is downloaded.
    """
    if not names and not everything:
        for entry in _fetchable(library):
            say(_place(entry))
        return 0
    wanted = [*_fetchable(library)] if everything else []
    for name in names:
        entry = library.entry(name)
        wanted.append(entry if entry.kind == "fetchable" else library.fetch(name))
    failed = False
    for name in dict.fromkeys(entry.name for entry in wanted):
        try:
            say(_place(_download(library, library.entry(name))))
        except InputError as error:
            complain(str(error))
            failed = True
    return int(failed)


def _download(library: Library, entry: TextEntry) -> TextEntry:
    if entry.kind != "fetchable":
        return entry
    progress = Progress(entry.title, entry.bytes, "bytes", scaled=True)
    try:
        return library.fetch(entry.name, lambda done, total: progress.show(done))
    finally:
        progress.close()


def _fetch_gpt2(folder: str | None) -> int:
    if gpt2.found(home()) is None:
        progress = Progress(gpt2.TITLE, gpt2.BYTES, "bytes", scaled=True)
        try:
            gpt2.fetch(home(), lambda done, total: progress.show(done), None if folder is None else Path(folder))
        except InputError as error:
            complain(str(error))
            return 1
        finally:
            progress.close()
    say(_place_of_gpt2())
    return 0


def _fetchable(library: Library) -> Iterator[TextEntry]:
    """The texts with a known address, here or not."""
    known = {text.name for text in PINNED_TEXTS}
    return (entry for entry in library.entries() if entry.name in known)


def _place(entry: TextEntry) -> str:
    """Where a text is, in one line."""
    where = f"not here; `{cli_command(f'fetch {entry.name}')}` gets it" if entry.path is None else f"here: {entry.path}"
    return printable(f"{entry.name:<18} {entry.bytes:>11,} bytes  {where}")


def _place_of_gpt2() -> str:
    """Where GPT-2's tokenizer is, in one line."""
    paths = gpt2.found(home())
    get = f"not here; `{cli_command(f'fetch {gpt2.NAME}')}` gets it"
    where = get if paths is None else f"here: {paths[0].parent}"
    return printable(f"{gpt2.NAME:<18} {gpt2.BYTES:>11,} bytes  {where}")
