"""How many connections and frame sockets the server takes: worked out from the file descriptors that it may open."""

from __future__ import annotations

import os
from dataclasses import dataclass

import psutil  # type: ignore[import-untyped]

WANTED = 65_536  # more would serve nobody, and some programs walk through all that they may open
MACOS_MOST = 10_240  # macOS names no hard limit and refuses more than this
KEPT_FREE = 96  # for files, databases and folders of runs, and connections that are just being closed
FEWEST, MOST = 24, 2000
MOST_AUDIENCE = 200
FEWEST_PRESENTER, MOST_PRESENTER = 16, 48


@dataclass(frozen=True)
class Limits:
    """Bounds on what visitors may hold at a time. `…_each` are of one address."""

    connections: int
    connections_each: int
    audience: int
    """Frame sockets of the audience."""
    audience_each: int
    audience_of_proxy: int
    """As `audience_each`, for an address of this machine: behind a proxy that may be the whole room."""
    presenter: int
    """Sockets of the presenter, of each kind."""
    standing: int = 0
    """Sockets of the audience beyond those, which hear of questions alone."""
    standing_each: int = 0


def limits_for(descriptors: int | None, in_use: int = 0) -> Limits:
    """The bounds where a process may open so many descriptors and has `in_use` of them; None: as many as it likes."""
    left = MOST if descriptors is None else descriptors - in_use - max(KEPT_FREE, descriptors // 4)
    connections = max(FEWEST, min(MOST, left))
    audience = min(MOST_AUDIENCE, connections // 2)
    standing = connections * 3 // 10
    return Limits(
        connections=connections,
        connections_each=connections * 3 // 4,
        audience=audience,
        audience_each=max(3, audience // 5),
        audience_of_proxy=max(4, audience * 3 // 10),
        presenter=max(FEWEST_PRESENTER, min(MOST_PRESENTER, connections // 10)),
        standing=standing,
        standing_each=standing * 3 // 4,
    )


def raise_descriptor_limit() -> int | None:
    """Let this process open as many files as the system allows it, at most WANTED; how many that are.

    None where there is no such limit (Windows).
    """
    try:
        import resource
    except ImportError:
        return None
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = WANTED if hard == resource.RLIM_INFINITY else min(hard, WANTED)
    for wanted in (most, min(most, MACOS_MOST)):
        if soft == resource.RLIM_INFINITY or soft >= wanted:
            break
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        except (ValueError, OSError):  # refused: the next lower one, or what it has
            continue
        soft = wanted
    return WANTED if soft == resource.RLIM_INFINITY else soft


def descriptors_in_use() -> int:
    """How many descriptors this process has open now; 0 where the system does not say."""
    try:
        return int(psutil.Process(os.getpid()).num_fds())
    except (AttributeError, OSError, psutil.Error):
        return 0
