"""The models there are, by name. A new one is a file in this folder whose class is decorated with `@register(name)`.

The file's name is the model's. Files are imported when a model is first asked for, since torch takes seconds to load:
`names` alone does without it, so that a wrong name is refused at once. A model from elsewhere registers when its own
module is imported.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from pydantic import BaseModel

if TYPE_CHECKING:
    import torch

    from .base import LanguageModel, Model

Kind = TypeVar("Kind", bound="type[Model]")
_NOT_MODELS = ("__init__", "base", "registry")
_registered: dict[str, type[Model]] = {}


def register(name: str) -> Callable[[Kind], Kind]:
    """Decorate a model's class: a configuration whose `model` is `name` then builds it."""

    def enter(kind: Kind) -> Kind:
        kind.name = name
        _registered[name] = kind
        return kind

    return enter


def unregister(name: str) -> None:
    """Take a model out again."""
    del _registered[name]


def names() -> tuple[str, ...]:
    """The names of all models; torch is not imported for this."""
    return tuple(dict.fromkeys((*_files(), *_registered)))


def find(name: str) -> type[Model]:
    """The class of the model called `name`; KeyError where there is none."""
    if name not in _registered:
        for file in _files():
            import_module(f"{__package__}.{file}")
    return _registered[name]


def build(config: BaseModel, vocab_size: int, generator: torch.Generator | None = None) -> Model:
    """The model that `config`, a `RunConfig`, asks for, on the CPU, its first weights drawn from `generator`.

    `vocab_size` is for the models of text; the small ones know their own shape.
    """
    values = config.model_dump()
    kind = find(values["model"])
    return kind.build(vocab_size, generator, **{name: values[name] for name in kind.settings})


def build_language_model(config: BaseModel, vocab_size: int, generator: torch.Generator | None = None) -> LanguageModel:
    """As `build`, where a model of text is wanted; TypeError for one that learns from points."""
    from .base import LanguageModel

    model = build(config, vocab_size, generator)
    if not isinstance(model, LanguageModel):
        raise TypeError(f"{model.name} is no model of text")
    return model


@cache
def _files() -> tuple[str, ...]:
    return tuple(sorted(path.stem for path in Path(__file__).parent.glob("*.py") if path.stem not in _NOT_MODELS))
