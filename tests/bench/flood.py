"""A crowd that means no good, in a process of its own: `python -m tests.bench.flood PORT`.

Reads `{"sockets": n, "silent": m}` from stdin, a line each time: from then on it holds, from 127.0.0.1, n frame
sockets that read what comes and m connections that send nothing. One that the server ends comes again, as a board does.
Each line is answered with how many of either stand now.
"""

from __future__ import annotations

import asyncio
import json
import resource
import sys

BACK_AFTER = 10.0  # the longest that a board waits
UPGRADE = (
    "GET /live?run=current HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)


class Flood:
    """What is held, and how much of it stands."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.standing = {"sockets": 0, "silent": 0}
        self._tasks: dict[str, list[asyncio.Task[None]]] = {"sockets": [], "silent": []}

    async def become(self, wanted: dict[str, int]) -> dict[str, int]:
        """Hold so many of each kind."""
        for kind, count in wanted.items():
            tasks = self._tasks[kind]
            for task in tasks[count:]:
                task.cancel()
            await asyncio.gather(*tasks[count:], return_exceptions=True)
            del tasks[count:]
            tasks += [asyncio.create_task(self._hold(kind)) for _ in range(count - len(tasks))]
        return self.standing

    async def _hold(self, kind: str) -> None:
        while True:
            try:
                reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
            except OSError:
                await asyncio.sleep(BACK_AFTER)
                continue
            self.standing[kind] += 1
            try:
                if kind == "sockets":
                    writer.write(UPGRADE.format(port=self.port).encode())
                while await reader.read(65_536):
                    pass
            except OSError:
                pass
            finally:
                self.standing[kind] -= 1
                writer.close()
            await asyncio.sleep(BACK_AFTER)


async def obey(port: int) -> None:
    """Answer stdin until it closes."""
    flood, loop = Flood(port), asyncio.get_running_loop()
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        print(json.dumps(await flood.become(json.loads(line))), flush=True)


if __name__ == "__main__":
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 8192) if hard > 0 else 8192, hard))
    asyncio.run(obey(int(sys.argv[1])))
