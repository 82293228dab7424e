"""`python -m tests.bench`: every figure of the README as a ratio with its target, and all of them as JSON.

Each part runs in a process of its own, so that none inherits the threads, the memory or the caches of another.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import platform
import sys
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import torch

from tests.bench import answers, crowd, gpu, loops, pages, recipe, room, stage
from tests.bench.figures import Figure

Part = Callable[[str, bool], list[Figure]]
PARTS: Mapping[str, Part] = {
    "bigram": loops.bigram,
    "store": loops.store,
    "trackio": loops.trackio,
    "gpt": loops.gpt,
    "recipe": recipe.recipe,
    "gpu": gpu.gpu,
    "audience": room.audience,
    "answers": answers.answers,
    "browser": room.browser,
    "tabs": stage.tabs,
    "travel": stage.travel,
    "step": stage.step,
    "pages": pages.pages,
    "lessons": room.lessons,
    "length": room.length,
    "heap": room.heap,
    "crowd": crowd.crowd,
}
ON_A_GPU = ("bigram", "gpt", "gpu")
ON_REQUEST = ("heap", "crowd", "recipe")


def main() -> int:
    """Run the parts that were asked for; 1 if a target was missed or a part failed."""
    asked = arguments()
    names = asked.only or [name for name in PARTS if name not in ON_REQUEST or (name == "heap" and asked.heap)]
    if asked.device == "cuda":
        names = [name for name in names if name in ON_A_GPU]
    if asked.threads:
        os.environ["OMP_NUM_THREADS"] = str(asked.threads)  # the parts are processes that begin after this
    figures: list[Figure] = []
    for name in names:
        print(f"\n{name}: {(PARTS[name].__doc__ or '').splitlines()[0]}", flush=True)
        for figure in alone(name, asked.device, asked.quick):
            print("  " + figure.line(), flush=True)
            figures.append(figure)
    if asked.out:
        asked.out.write_text(json.dumps(report(asked, figures), indent=1) + "\n", encoding="utf-8")
    return int(any(figure.holds is False or figure.note.startswith("failed") for figure in figures))


def arguments() -> argparse.Namespace:
    """What the command line says."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description="What watching costs, in ratios.")
    parser.add_argument("--out", type=Path, metavar="FILE", help="write all figures as JSON")
    parser.add_argument("--quick", action="store_true", help="shorter turns and fewer of them: to see that it works")
    parser.add_argument("--only", nargs="+", choices=PARTS, metavar="PART", help=f"of {', '.join(PARTS)}")
    parser.add_argument("--heap", action="store_true", help="watch a browser's heap for ten minutes as well")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu", help="where the loops train")
    parser.add_argument("--threads", type=int, help="torch's threads, for every loop alike (default: torch's own)")
    return parser.parse_args()


def alone(name: str, device: str, quick: bool) -> list[Figure]:
    """The figures of one part, from a fresh process; a failure is one of them."""
    try:
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
            return pool.submit(PARTS[name], device, quick).result()
    except Exception as error:  # the other parts still have something to say
        return [Figure(name, name, None, note=f"failed: {type(error).__name__}: {error}")]


def report(asked: argparse.Namespace, figures: list[Figure]) -> dict[str, object]:
    """All figures, and what is needed to compare them with another day's."""
    return {
        "when": time.strftime("%Y-%m-%d %H:%M:%S"),
        "quick": asked.quick,
        "device": torch.cuda.get_device_name() if asked.device == "cuda" else platform.processor() or "cpu",
        "cores": os.cpu_count(),
        "threads": asked.threads or torch.get_num_threads(),
        "load": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "figures": [{**dataclasses.asdict(figure), "holds": figure.holds} for figure in figures],
    }


if __name__ == "__main__":
    sys.exit(main())
