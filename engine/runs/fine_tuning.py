"""Fine-tuning: a new run that begins with the weights of another one and learns from another text."""

from __future__ import annotations

from ..config import MAX_STEPS, LiveSettings, RunConfig, changed
from ..errors import InputError
from ..progress import Report, unheard
from ..storage import checkpoint_files
from ..storage.reader import StoredRun
from ..text.corpus import Corpus
from ..text.library import TextEntry
from ..training.checkpoint import FineTuneSource
from .cost import check_memory
from .datasets import encoded_corpus
from .forks import lineage
from .run import Run


def plan_fine_tuning(
    parent: Run, found: tuple[str, TextEntry], report: Report = unheard
) -> tuple[RunConfig, LiveSettings, Corpus]:
    """What a fine-tuned run of `parent` on the text `found` is made of; InputError where it is not possible."""
    dataset = fine_tuning_corpus(found, parent.config, parent.corpus, report)
    config, settings = fine_tuning_config(parent.config, dataset), parent.settings
    if config.epochs is not None:
        settings = changed(settings, max_steps=MAX_STEPS)  # the epochs end it
    dataset.check(config)
    check_memory(config, settings, dataset)
    if parent.step == 0:
        raise InputError("this run has learnt nothing yet; train it first, then fine-tune it")
    return config, settings, dataset


def fine_tuning_corpus(
    found: tuple[str, TextEntry], config: RunConfig, former: Corpus, report: Report = unheard
) -> Corpus:
    """The text `found` in the tokens of `former`, for a model with `config`; InputError where that is not possible."""
    corpus = encoded_corpus(*found, config, former, report=report)
    if corpus.sha256 == former.sha256:
        raise InputError(f"this run learns from {corpus.title} already; choose another text")
    return corpus


def fine_tuning_config(config: RunConfig, corpus: Corpus) -> RunConfig:
    """`config` for learning from `corpus` next; the lecture's draws belong to first weights of its own."""
    return changed(config, corpus=corpus.name, draws="separate")


def fine_tune_source(run: StoredRun) -> FineTuneSource:
    """Where the first weights of a fine-tuned run came from, or of one forked from it; InputError if they are gone."""
    *_, run = lineage(run)
    found, _ = checkpoint_files.newest(run.folder / "snapshots", upto=0)
    if found is None:
        raise InputError(f"run {run.id} has no snapshot of step 0; fine-tune again from the run before it")
    origin = (run.about or {}).get("parent") or {}
    return FineTuneSource(str(origin.get("run")), int(origin.get("step", 0)), found.weights)
