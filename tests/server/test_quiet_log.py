"""The log has no line for what a visitor does wrong, and keeps all others."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Iterator

import pytest
import uvicorn
from starlette.responses import PlainTextResponse

from pages.server import quiet_log

MALFORMED = [
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",  # TLS spoken to a plain port
    b"GET\r\n\r\n",
    b"\x00" * 40,
    b"GET / HTTP/9.9\r\n\r\n",
    b"NONSENSE nonsense nonsense\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\nno colon\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: x\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: nothing\r\nConnection: upgrade\r\n\r\n",
    b"SSH-2.0-OpenSSH_9.0\r\n",
]


@pytest.fixture(autouse=True)
def quiet(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    loggers = [logging.getLogger(name) for name in ("uvicorn", *quiet_log.LOGGERS)]
    levels = [logger.level for logger in loggers]
    for logger in loggers:  # as they are before a server in this process sets them up
        monkeypatch.setattr(logger, "propagate", True)
        monkeypatch.setattr(logger, "disabled", False)
        logger.setLevel(logging.NOTSET)
    quiet_log.leave_out_visitors_faults()
    yield
    for logger, level in zip(loggers, levels, strict=True):
        logger.removeFilter(quiet_log._is_worth_a_line)
        logger.setLevel(level)


def test_a_malformed_request_and_a_socket_that_went_write_no_line(caplog: pytest.LogCaptureFixture) -> None:
    async def scene() -> None:
        listener = socket.create_server(("127.0.0.1", 0))
        server = uvicorn.Server(uvicorn.Config(PlainTextResponse("hello"), log_config=None, lifespan="off"))
        serving = asyncio.create_task(server.serve(sockets=[listener]))
        while not server.started:
            await asyncio.sleep(0.01)
        for request in MALFORMED:
            reader, writer = await asyncio.open_connection(*listener.getsockname())
            writer.write(request)
            writer.write_eof()
            await reader.read()
            writer.close()
        server.should_exit = True
        await serving

    with caplog.at_level(logging.WARNING):
        asyncio.run(asyncio.wait_for(scene(), 60))
        logging.getLogger("asyncio").warning("socket.send() raised exception.")
    assert [record.getMessage() for record in caplog.records] == []


def test_whatever_else_is_logged_stays(caplog: pytest.LogCaptureFixture) -> None:
    for name in quiet_log.LOGGERS:
        logging.getLogger(name).error("something is wrong with %s", name)
    assert len(caplog.records) == len(quiet_log.LOGGERS)
