"""Many viewers in a process of their own: `python -m tests.bench.viewers ADDRESS`.

Reads how many there should be from stdin, a number a line; an empty line asks for a report of what came in since
the last one, a JSON object on stdout.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time

import numpy as np
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed


def newest_step(frame: bytes) -> int | None:
    """The last step whose loss is in `frame`, or None if it brings none."""
    start = 4 + int.from_bytes(frame[:4], "little")
    header = json.loads(frame[4:start])
    for array in header["arrays"]:
        size = int(np.prod(array["shape"]))
        if array["name"] == "train/loss" and size:
            return header["base_step"] + int(np.frombuffer(frame, "<f4", size // 2, start)[-1])
        start += 4 * size
    return None


class Crowd:
    """The viewers, and what the first of them saw."""

    def __init__(self, address: str) -> None:
        self._address = address
        self._tasks: list[asyncio.Task[None]] = []
        self._listening = 0
        self._clear()

    def _clear(self) -> None:
        self._began = time.monotonic()
        self._frames = self._bytes = 0
        self._seen: list[tuple[float, int]] = []

    async def become(self, count: int) -> dict[str, object]:
        """Have `count` viewers, each with its snapshot."""
        leaving, self._tasks = self._tasks[count:], self._tasks[:count]
        for task in leaving:
            task.cancel()
        await asyncio.gather(*leaving, return_exceptions=True)
        self._tasks += [asyncio.create_task(self._watch(i)) for i in range(len(self._tasks), count)]
        while self._listening < count and not any(task.done() for task in self._tasks):
            await asyncio.sleep(0.02)
        self._clear()
        return {"viewers": self._listening}

    async def _watch(self, index: int) -> None:
        async with connect(self._address, max_size=None, compression=None) as socket:
            await socket.recv()  # the snapshot
            self._listening += 1
            try:
                while True:
                    frame = await socket.recv()
                    self._frames += 1
                    self._bytes += len(frame)
                    if index == 0 and isinstance(frame, bytes):
                        now = time.monotonic()
                        if (step := newest_step(frame)) is not None:
                            self._seen.append((now, step))
            except ConnectionClosed:
                pass
            finally:
                self._listening -= 1

    def report(self) -> dict[str, object]:
        """Frames and bytes of all viewers, seconds, and [time, newest step] for the first viewer's frames."""
        told = {
            "viewers": self._listening,
            "frames": self._frames,
            "bytes": self._bytes,
            "seconds": time.monotonic() - self._began,
            "seen": self._seen,
        }
        self._clear()
        return told


async def main(address: str) -> None:
    """Obey stdin until it closes."""
    crowd, loop = Crowd(address), asyncio.get_running_loop()
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        answer = await crowd.become(int(line)) if line.strip() else crowd.report()
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
