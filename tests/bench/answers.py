"""What a room that answers costs: 400 phones within ten seconds, beside a bigram at full speed."""

from __future__ import annotations

import json
import statistics
import time
from collections import Counter

import psutil

from tests.bench.crowd import loop_seconds
from tests.bench.figures import Figure, interleave, ratio, told
from tests.bench.room import MEGA, Child, serving

PHONES = 400
WITHIN = 10.0


def answers(device: str, quick: bool) -> list[Figure]:
    """400 phones of one address answer a question within 10 s, against the same server without a question."""
    rounds = 1 if quick else 5
    with serving() as server:
        phones = Child(["-m", "tests.bench.phones", str(server.port)])
        process = psutil.Process(server.process.pid)
        statuses: Counter[str] = Counter()
        counts, slowest = [], []
        loop: dict[str, list[float]] = {"without": [], "answered": []}  # cores of the event loop
        try:
            phones.ask(json.dumps({"count": PHONES}))

            def without() -> float:
                time.sleep(1.0)
                used = loop_seconds(process)
                rate = server.rate(WITHIN)
                loop["without"].append((loop_seconds(process) - used) / WITHIN)
                return rate

            def answered() -> float:
                question = f"question {len(counts)}"
                server.do("ask", question=question)
                time.sleep(1.0)
                before, used = server.do("step"), loop_seconds(process)
                done = phones.ask(json.dumps({"count": PHONES, "question": question, "seconds": WITHIN - 1}))
                after = server.do("step")
                loop["answered"].append((loop_seconds(process) - used) / (after["at"] - before["at"]))
                statuses.update(done["statuses"])
                slowest.append(done["slowest"])
                counts.append(server.do("answers")["count"])
                server.do("ask", question="")
                return (after["step"] - before["step"]) / (after["at"] - before["at"])

            without()
            memory = process.memory_info().rss / MEGA
            rates = interleave({"without": without, "answered": answered}, rounds)
            without()
            grown = process.memory_info().rss / MEGA - memory
        finally:
            phones.end()
    name = f"{PHONES} answers within {WITHIN:.0f} s / none"
    taken = statistics.median(loop["answered"]) - statistics.median(loop["without"])
    share, speeds = min(counts) / PHONES, told(rates, "answered", "without")
    note = f"{counts} of {PHONES}; statuses {dict(statuses)}; the slowest took {max(slowest):.2f} s"
    return [
        Figure("answers", name, ratio(rates, "answered", "without"), target=0.95, note=speeds),
        Figure("answers", "cores that the answers take of the event loop", taken, target=0.1, at_most=True),
        Figure("answers", "answers counted / sent, each once", share, target=1.0, note=note),
        Figure("answers", "resident memory afterwards", grown, "MB", 16, at_most=True, note=f"{memory:.0f} MB before"),
    ]
