"""The command line's grammar. A flag's bounds and help come from the field that it sets.

Each verb is a function of its own name, in the module of that name beside this one, imported when it is called. It
takes the parsed arguments and returns the exit status; InputError is bad input.
"""

from __future__ import annotations

import argparse
import importlib
import math
import re
import sys
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NoReturn

from ..config import DEFAULT_CORPUS, Drawing, Frozen, LiveSettings, RunConfig
from ..console import complain
from ..distributed.place import ProcessLost, is_worker
from ..errors import InputError
from ..paths import INSTALLED, cli_command, dashboard_command
from ..presets import PRESETS
from ..storage.metrics.schema import MetricsError
from ..text import gpt2
from ..text.download import PINNED_TEXTS
from .train import KNOBS, OFF, STRUCTURE

TOGETHER = ("train", "resume")
"""What several processes do together."""
VERBS = "choose train, runs, resume, evaluate, sample, export, lessons, fetch or check"


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
        if words and words[0] in TOGETHER and not {"-h", "--help"} & set(words) and is_worker():
            from .worker import work  # the first process reads the flags, and refuses them once

            return work()
        arguments, unknown = parser.parse_known_args(words)
        if arguments.verb is None:
            parser.error(f"{unknown[0]!r} is not a verb; {VERBS}" if unknown else f"there is no verb; {VERBS}")
        if unknown:
            flags = cli_command(f"{arguments.verb} --help")
            parser.error(f"{unknown[0]!r} is not an option of {arguments.verb}; `{flags}` lists them")
        module = importlib.import_module(f".{arguments.verb}", __package__)
        verb: Callable[[argparse.Namespace], int] = getattr(module, arguments.verb)
        try:
            return verb(arguments)
        except MetricsError as error:
            if "run" not in arguments:
                raise
            raise InputError(f"run {arguments.run[:80]} is damaged (metrics.db: {error}); choose another") from None
    except InputError as error:
        complain(str(error))
        return 2
    except ProcessLost as error:  # before the run began
        complain(str(error))
        return 1


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
    lessons = verbs.add_parser(
        "lessons", help="list the lessons, or write a sheet to print", description="List the lessons, a line each."
    )
    lessons.add_argument("--sheet", metavar="FILE", help="write workshops of 60 and 20 minutes as HTML, to print")
    lessons.add_argument("--rehearse", metavar="LESSON", help="play one without a screen, by its name or number")
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
    evaluate = add("evaluate", "the exact loss of a run over a whole split")
    _add_moment(evaluate)
    evaluate.add_argument("--split", default="val", metavar="S", help="train, val or test (default val)")
    evaluate.add_argument("--json", action="store_true", help="the last line on stdout is one JSON object")
    sample = add("sample", "text that a run writes")
    _add_moment(sample)
    sample.add_argument("--prompt", default="", help="what the text begins with")
    for name in Drawing.model_fields:
        _add_field(sample, Drawing, name)
    export = add("export", "a run's numbers as a table, or its weights")
    export.add_argument("--csv", metavar="FILE", help="where to write the numbers of every step")
    export.add_argument("--weights", metavar="FILE", help="where to write the weights, as safetensors")
    _add_moment(export)


def _add_moment(parser: Parser) -> None:
    """The flag that says at which step a stored run is looked at."""
    parser.add_argument(
        "--at",
        default="last",
        metavar="MOMENT",
        help="best (the lowest validation loss), last (the newest snapshot, the default) or the number of a step",
    )


def _add_field(parser: argparse.ArgumentParser, record: type[Frozen], name: str) -> None:
    """A flag that sets the field `name` of `record`."""
    field = record.model_fields[name]
    whole = partial(_number, int, what="a whole number", bounds=_bounds(record, name))
    finite = partial(_number, float, what="a finite number", bounds=_bounds(record, name))
    kinds: dict[object, Callable[[str], object]] = {
        int: whole,
        float: finite,
        int | None: lambda text: OFF if text == OFF else whole(text),
        float | None: lambda text: OFF if text == OFF else finite(text),
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
