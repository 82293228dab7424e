"""What visitors can do wrong is no line of the log: a request that is none, a socket that went before it was answered.

Such lines say nothing that a presenter could act on, and one visitor could fill a disk with them.
"""

from __future__ import annotations

import logging

import h11

FAULTS_OF_VISITORS = (
    "Invalid HTTP request received",
    "Unsupported upgrade request",
    "socket.send() raised exception",
    "Invalid WebSocket",
    "opening handshake failed",
)
LOGGERS = ("asyncio", "uvicorn.error")


def leave_out_visitors_faults() -> None:
    """Have these lines dropped from now on; a second call changes nothing."""
    for name in LOGGERS:
        logging.getLogger(name).addFilter(_is_worth_a_line)


def _is_worth_a_line(record: logging.LogRecord) -> bool:
    return not (record.getMessage().startswith(FAULTS_OF_VISITORS) or _went_before_the_answer(record))


def _went_before_the_answer(record: logging.LogRecord) -> bool:
    """Is it of a visitor who closed the connection after asking, so that there is nobody to answer?"""
    error = record.exc_info[1] if record.exc_info else None
    return isinstance(error, h11.LocalProtocolError) and "MUST_CLOSE" in str(error)
