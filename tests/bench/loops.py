"""Training loops to compare: written by hand, as the documents write it, with other loggers, and by the engine.

All of them train the same kind of model on the same text with the same optimizer settings; a loop is a function of
the number of steps to make.
"""

from __future__ import annotations

import contextlib
import importlib.util
import io
import os
import random
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch

from engine.config import LiveSettings, RunConfig, changed
from engine.models.base import LanguageModel
from engine.models.registry import build
from engine.runs.run import Run
from engine.runs.run_folder import run_description
from engine.storage.writer import RunWriter
from engine.stream.pump import Pump
from engine.stream.status import State
from engine.text.corpus import Corpus
from tests.bench.figures import Figure, interleave, ratio, told
from tests.plain import plain

Loop = Callable[[int], None]
Setting = tuple[RunConfig, LiveSettings, Corpus]
ENDLESS = 100_000_000
ALPHABET = "\n !$&',-.3:;?ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
PATIENCE = 600.0


def text(characters: int = 1_000_000) -> str:
    """65 characters, some common and some rare, in no order: what a step costs does not depend on their sense."""
    weights = [1 / rank for rank in range(1, len(ALPHABET) + 1)]
    return ALPHABET + "".join(random.Random(1337).choices(ALPHABET, weights, k=characters - len(ALPHABET)))


def setting(name: str, device: str) -> Setting:
    """Preset `name` on the bench's text with plain AdamW, at full speed and without an end."""
    start = plain(name)
    config = changed(start.config, device=device, corpus="bench")
    if config.model == "gpt":
        config = changed(config, attention="fused")
    return config, changed(start.settings, speed="unlimited", max_steps=ENDLESS), Corpus.of(text(), name="bench")


class Bench:
    """What the loops written here share: the text on the device, the model, and the numbers of a step."""

    def __init__(self, name: str, device: str, fused: bool = True) -> None:
        self.config, self.settings, corpus = setting(name, device)
        torch.manual_seed(1337)
        self.data = corpus.train.long().to(device)
        self.model: LanguageModel = build(self.config, corpus.tokenizer.vocab_size).to(device)
        self.optimizer = torch.optim.AdamW(
            self.model.parameters(), lr=self.settings.lr, weight_decay=self.settings.weight_decay, fused=fused
        )
        self.rows, self.width = self.settings.batch_size, self.config.block_size
        self.starts = len(self.data) - self.width
        self.offsets = torch.arange(self.width, device=device)
        self.device = device
        self.step = 0

    def bare(self, steps: int) -> None:
        """A vectorized loop that measures nothing."""
        for _ in range(steps):
            where = torch.randint(self.starts, (self.rows, 1), device=self.device) + self.offsets
            inputs, targets = self.data[where], self.data[where + 1]
            _, loss = self.model(inputs, targets)
            loss.backward()
            self.optimizer.step()
            self.optimizer.zero_grad(set_to_none=True)

    def documents(self, steps: int) -> None:
        """As the documents write it: windows stacked one by one, nothing measured."""
        for _ in range(steps):
            starts = torch.randint(self.starts, (self.rows,))
            inputs = torch.stack([self.data[i : i + self.width] for i in starts])
            targets = torch.stack([self.data[i + 1 : i + self.width + 1] for i in starts])
            _, loss = self.model(inputs, targets)
            self.optimizer.zero_grad(set_to_none=True)
            loss.backward()
            self.optimizer.step()

    def logged(self, log: Callable[[int, float, float], None]) -> Loop:
        """The bare loop with two numbers handed to `log` at each step: loss and gradient norm."""
        parameters = list(self.model.parameters())

        def loop(steps: int) -> None:
            for _ in range(steps):
                where = torch.randint(self.starts, (self.rows, 1), device=self.device) + self.offsets
                inputs, targets = self.data[where], self.data[where + 1]
                _, loss = self.model(inputs, targets)
                loss.backward()
                norms = torch._foreach_norm([p.grad for p in parameters if p.grad is not None])
                norm = norms[0] if len(norms) == 1 else torch.linalg.vector_norm(torch.stack(norms))
                self.optimizer.step()
                self.optimizer.zero_grad(set_to_none=True)
                self.step += 1
                log(self.step, loss.item(), norm.item())

        return loop


class Recorded:
    """The engine: a run on its thread, every step recorded, and the pump that drains it."""

    def __init__(self, start: str | Setting, device: str, warm: int, folder: Path | None = None) -> None:
        """`start`: the name of a preset, or what a run is made of."""
        config, settings, corpus = setting(start, device) if isinstance(start, str) else start
        self.cycle = max(config.observe_every, config.eval_every, config.sample_every)
        self.run = Run(config, settings, corpus)
        if folder is not None:
            self.run.save_to(RunWriter(folder, run_description(self.run)))
        self.pump = Pump(lambda: [self.run])
        self.pump.start()
        self.pump.subscribe(lambda _: None)
        self.costs: list[float] = []
        self.run.wait(PATIENCE)
        self.rate(warm)  # the first steps are looked at more often than the rest
        self.costs.clear()

    def rate(self, steps: int) -> float:
        """Steps a second over about `steps` of them, from the edge of one step to that of another."""
        spent, start = self._spent()
        self.run.start()
        began, first = self._edge(self.run.step)
        while self.run.step < first + steps and self.run.state in (State.READY, State.RUNNING):
            time.sleep(0.02)
        ended, last = self._edge(self.run.step)
        self.run.pause()
        late, end = self._spent()
        self.costs.append((late - spent) / (end - start))
        return (last - first) / (ended - began)

    def _spent(self) -> tuple[float, int]:
        """Processor time that the training thread has had, and its step; answered between two steps."""
        return self.run._ask(lambda trainer: (time.thread_time(), trainer.step), PATIENCE)

    def _edge(self, step: int) -> tuple[float, int]:
        late = time.perf_counter() + PATIENCE
        while self.run.step == step and time.perf_counter() < late:
            time.sleep(0.0005)
        if self.run.error:
            raise RuntimeError(self.run.error)
        return time.perf_counter(), self.run.step

    def close(self) -> None:
        """End the thread and the pump."""
        self.run.close()
        self.pump.stop()


def rate(loop: Loop, steps: int, device: str, costs: list[float]) -> float:
    """Steps a second of `loop`; the thread's processor time a step goes into `costs`."""
    began, spent = time.perf_counter(), time.thread_time()
    loop(steps)
    costs.append((time.thread_time() - spent) / steps)
    if device == "cuda":
        torch.cuda.synchronize()
    return steps / (time.perf_counter() - began)


def bigram(device: str, quick: bool) -> list[Figure]:
    """The 65-character bigram, 32 windows of 8: engine, bare, the documents' loop, TensorBoard's writer."""
    rounds = 4 if quick else 11
    with contextlib.ExitStack() as stack:
        engine = Recorded("bigram", device, warm=2000)
        stack.callback(engine.close)
        steps = 1000 if quick else engine.cycle
        loops: dict[str, Loop] = {
            "bare": Bench("bigram", device).bare,
            "documents": Bench("bigram", device, fused=False).documents,
        }
        if importlib.util.find_spec("tensorboard"):
            from torch.utils.tensorboard import SummaryWriter

            writer = SummaryWriter(stack.enter_context(tempfile.TemporaryDirectory()))  # type: ignore[no-untyped-call]
            stack.callback(writer.close)

            def log(step: int, loss: float, norm: float) -> None:
                writer.add_scalar("loss", loss, step)
                writer.add_scalar("grad_norm", norm, step)

            loops["tensorboard"] = Bench("bigram", device).logged(log)
        for loop in loops.values():
            loop(50)
        costs: dict[str, list[float]] = {name: [] for name in loops}
        variants = {n: lambda n=n: rate(loops[n], steps, device, costs[n]) for n in loops}
        rates = interleave({**variants, "engine": lambda: engine.rate(steps)}, rounds)
    by = told(rates, "engine", "bare")
    return [
        Figure("bigram", "engine, every step recorded / bare", ratio(rates, "engine", "bare"), target=0.90, note=by),
        processor_time("bigram", costs["bare"], engine.costs),
        Figure(
            "bigram",
            "engine / the documents' loop",
            ratio(rates, "engine", "documents"),
            target=2.0,
            note=told(rates, "documents"),
        ),
        Figure(
            "bigram",
            "TensorBoard's writer, two scalars a step / bare",
            ratio(rates, "tensorboard", "bare") if "tensorboard" in rates else None,
            note=told(rates, "tensorboard") if "tensorboard" in rates else "not installed",
        ),
    ]


def store(device: str, quick: bool) -> list[Figure]:
    """The bigram at full speed, everything kept in a run folder, against the same engine that keeps nothing."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder, contextlib.ExitStack() as stack:
        kept, free = (Recorded("bigram", device, 2000, place) for place in (Path(folder) / "run", None))
        stack.callback(kept.close)
        stack.callback(free.close)
        steps = 2000 if quick else kept.cycle
        variants = {"kept": lambda: kept.rate(steps), "free": lambda: free.rate(steps)}
        rates = interleave(variants, 4 if quick else 11)
        size = sum(path.stat().st_size for path in Path(folder).rglob("*") if path.is_file()) / 1e6
    note = told(rates, "kept", "free") + f"; {size:.1f} MB after {kept.run.step:,} steps"
    return [
        Figure(
            "store", "engine, everything stored / nothing stored", ratio(rates, "kept", "free"), target=0.97, note=note
        ),
        processor_time("store", free.costs, kept.costs),
    ]


def trackio(device: str, quick: bool) -> list[Figure]:
    """The same bigram with trackio: two numbers a step."""
    name = "trackio, two numbers a step / bare"
    if not importlib.util.find_spec("trackio"):
        return [Figure("trackio", name, None, note="not installed")]
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder, contextlib.redirect_stdout(io.StringIO()):
        os.environ |= {"TRACKIO_DIR": folder, "HF_HUB_OFFLINE": "1"}
        import trackio

        trackio.init(project="bench", embed=False, auto_log_gpu=False, auto_log_cpu=False)
        loops = {
            "bare": Bench("bigram", device).bare,
            "trackio": Bench("bigram", device).logged(lambda s, a, b: trackio.log({"loss": a, "grad_norm": b}, step=s)),
        }
        steps = 500 if quick else 2000
        for loop in loops.values():
            loop(50)
        variants = {name: lambda loop=loop: rate(loop, steps, device, []) for name, loop in loops.items()}
        rates = interleave(variants, 4 if quick else 9)
        trackio.finish()
    return [Figure("trackio", name, ratio(rates, "trackio", "bare"), note=told(rates, "trackio", "bare"))]


def gpt(device: str, quick: bool) -> list[Figure]:
    """gpt-small: engine against bare; in full, each turn holds the cadence's samples and validation once."""
    engine = Recorded("gpt-small", device, warm=10 if quick else 400)
    try:
        steps = 20 if quick else engine.cycle
        bare = Bench("gpt-small", device).bare
        bare(3)
        costs: list[float] = []
        rates = interleave({"bare": lambda: rate(bare, steps, device, costs), "engine": lambda: engine.rate(steps)}, 3)
    finally:
        engine.close()
    value = ratio(rates, "engine", "bare")
    # in a quick turn the early samples weigh many times what they weigh in a run: no target for it
    target, note = (None, "among the early samples; ") if quick else (0.97, "")
    return [
        Figure("gpt", "gpt-small recorded / bare", value, target=target, note=note + told(rates, "engine", "bare")),
        processor_time("gpt", costs, engine.costs),
    ]


def processor_time(part: str, bare: list[float], engine: list[float]) -> Figure:
    """The training thread's own time alone: what is left to compare where a machine is busy with other things."""
    b, e = 1e6 * statistics.median(bare), 1e6 * statistics.median(engine)
    note = f"{e:,.0f} µs a step; bare {b:,.0f} µs"
    return Figure(part, "the same in the thread's processor time", b / e, note=note)
