"""Phones that answer, in a process of their own: `python -m tests.bench.phones PORT`.

Reads `{"count": n}` from stdin: n phones fetch /watch, each for an id. With `"question"` and `"seconds"` each of them
then answers once, at moments spread evenly over those seconds, by a new connection. Each line is answered with the
statuses, how long all took, and the slowest of them in seconds.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from collections import Counter
from typing import Any


class Phones:
    """The cookies of those that have come, and what they do."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._cookies: list[str] = []

    async def do(self, order: dict[str, Any]) -> dict[str, Any]:
        """Have all of them come, or answer."""
        began = time.monotonic()
        count = order["count"]
        if "question" in order:
            pause = order["seconds"] / count
            done = await asyncio.gather(*(self._answer(order["question"], n, n * pause) for n in range(count)))
        else:
            done = [await self._come() for _ in range(count)]
        statuses = Counter(str(status) for status, _ in done)
        return {"statuses": statuses, "seconds": time.monotonic() - began, "slowest": max(took for _, took in done)}

    async def _come(self) -> tuple[int, float]:
        status, head, took = await self._ask("GET /watch", "", b"")
        cookie = next(line for line in head.split("\r\n") if line.lower().startswith("set-cookie"))
        self._cookies.append(cookie.partition(": ")[2].partition(";")[0])
        return status, took

    async def _answer(self, question: str, number: int, wait: float) -> tuple[int, float]:
        await asyncio.sleep(wait)
        body = json.dumps({"question": question, "value": number % 3}).encode()
        head = f"Origin: http://127.0.0.1:{self._port}\r\nContent-Type: application/json\r\n"
        head += f"Content-Length: {len(body)}\r\nCookie: {self._cookies[number]}\r\n"
        status, _, took = await self._ask("POST /answer", head, body)
        return status, took

    async def _ask(self, what: str, head: str, body: bytes) -> tuple[int, str, float]:
        began = time.monotonic()
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
        writer.write(f"{what} HTTP/1.1\r\nHost: 127.0.0.1:{self._port}\r\n{head}\r\n".encode() + body)
        told = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        writer.close()
        return int(told.split(" ")[1]), told, time.monotonic() - began


async def obey(port: int) -> None:
    """Answer stdin until it closes."""
    phones, loop = Phones(port), asyncio.get_running_loop()
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        print(json.dumps(await phones.do(json.loads(line))), flush=True)


if __name__ == "__main__":
    if hasattr(os, "nice"):
        os.nice(19)  # phones have processors of their own: what they cost here is taken from nobody else
    asyncio.run(obey(int(sys.argv[1])))
