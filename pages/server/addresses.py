"""Hosts and origins: how a request names this server, and the addresses that LOOPSCOPE_HOSTS says people open it by."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase

SETTING = "LOOPSCOPE_HOSTS"
AUTHORITY = re.compile(r"(?:\[(?P<six>[0-9a-f:.]+)\]|(?P<name>[a-z0-9._-]+))(?::(?P<port>[0-9]{1,5}))?")
ORIGIN = re.compile(r"(?P<scheme>https?)://(?P<authority>[^/?#@]+)")
LISTED = re.compile(
    r"(?:(?P<scheme>https?)://)?(?:\[(?P<six>[0-9a-f:.]+)\]|(?P<name>[a-z0-9._*-]+))(?::(?P<port>[0-9]{1,5}))?"
    r"(?P<path>/[a-z0-9._~%/@+-]*)?",
    re.IGNORECASE,
)
DEFAULT_PORT = {"http": 80, "ws": 80, "https": 443, "wss": 443}


@dataclass(frozen=True)
class Authority:
    """A host and its port, as a Host header or an Origin names them."""

    name: str
    port: int

    @classmethod
    def read(cls, text: str, scheme: str) -> Authority | None:
        """The host and port in `text`; the scheme's own port where none is named. None if it is malformed."""
        match = AUTHORITY.fullmatch(text.lower())
        if match is None:
            return None
        name = match["name"] or _shortest(match["six"])
        port = int(match["port"]) if match["port"] else DEFAULT_PORT[scheme]
        return cls(name, port) if name and 0 < port < 65536 else None


@dataclass(frozen=True)
class Origin:
    """Where a page was opened, as its browser says: "http" or "https", and the host and port."""

    scheme: str
    authority: Authority

    @classmethod
    def read(cls, text: str) -> Origin | None:
        """The Origin header's value; None if it is malformed, "null", or of another scheme."""
        match = ORIGIN.fullmatch(text.strip().lower())
        authority = Authority.read(match["authority"], match["scheme"]) if match else None
        return cls(match["scheme"], authority) if match and authority else None

    @property
    def has_default_port(self) -> bool:
        """Is it the scheme's own port, which addresses leave out?"""
        return self.authority.port == DEFAULT_PORT[self.scheme]

    def __str__(self) -> str:
        return site(self.scheme, self.authority.name, self.authority.port)


@dataclass(frozen=True)
class ListedHost:
    """One entry of LOOPSCOPE_HOSTS: a name (`lectern`, `*.example.com`) or an address (`https://loop.example/lab`).

    By a name, the server answers to a Host header of that name. An address also says where browsers stand, for a proxy
    that does not pass that on: pages of that very origin may connect. `port` is None where the entry has none; `path`
    is what a proxy takes off, "" or as "/lab".
    """

    name: str
    scheme: str = ""
    port: int | None = None
    path: str = ""

    def matches(self, name: str) -> bool:
        """Is `name`, in small letters, this one or of this pattern?"""
        return fnmatchcase(name, self.name)

    def allows(self, origin: Origin) -> bool:
        """May a page of `origin` connect, whatever Host says? Only an address says so."""
        port = self.port or DEFAULT_PORT.get(self.scheme)
        return self.scheme == origin.scheme and port == origin.authority.port and self.matches(origin.authority.name)

    def address(self, scheme: str, port: int, base: str) -> str | None:
        """The address to open, without a slash at its end; None for a pattern.

        `scheme`, `port` and `base` are the server's own, for what the entry leaves out.
        """
        if "*" in self.name:
            return None
        if self.scheme:
            return site(self.scheme, self.name, self.port) + (self.path or base)
        return site(scheme, self.name, self.port or port) + (self.path or base)

    def __str__(self) -> str:
        scheme, port = self.scheme and f"{self.scheme}://", "" if self.port is None else f":{self.port}"
        return f"{scheme}{_bracketed(self.name)}{port}{self.path}"


def read_hosts(text: str) -> tuple[tuple[ListedHost, ...], tuple[str, ...]]:
    """What `text` lists, apart by commas or spaces; and a sentence for each entry that cannot be read."""
    listed, problems = [], []
    for entry in re.split(r"[\s,]+", text.strip()):
        match = LISTED.fullmatch(entry)
        name = (match["name"] or _shortest(match["six"])).lower() if match else ""
        port = int(match["port"]) if match and match["port"] else None
        if match and name and (port is None or 0 < port < 65536):
            listed.append(ListedHost(name, (match["scheme"] or "").lower(), port, (match["path"] or "").rstrip("/")))
        elif entry:
            problems.append(f"{SETTING}: {entry!r} is no address; write it as https://loop.example or loop.example")
    return tuple(listed), tuple(problems)


def setting_with(address: str, listed: Iterable[ListedHost]) -> str:
    """The setting that lists `address` too, before what is listed already: to be given at the next start."""
    return f"{SETTING}={','.join(dict.fromkeys([address, *map(str, listed)]))}"


def site(scheme: str, name: str, port: int | None) -> str:
    """`http://name:port`, without the port where it is None or the scheme's own."""
    return f"{scheme}://{_bracketed(name)}" + ("" if port in (None, DEFAULT_PORT[scheme]) else f":{port}")


def is_this_machine(name: str) -> bool:
    """Does `name`, in small letters, mean the machine that the asker sits at?"""
    return name == "localhost" or is_loopback(name)


def is_loopback(name: str) -> bool:
    """Is `name` a loopback address? False for names that are not addresses."""
    try:
        found = ipaddress.ip_address(name)
    except ValueError:
        return False
    mapped = getattr(found, "ipv4_mapped", None)
    return bool((mapped or found).is_loopback)


def _bracketed(name: str) -> str:
    return f"[{name}]" if ":" in name else name


def _shortest(text: str) -> str:
    """An IPv6 address in its shortest spelling; empty if it is none."""
    try:
        return str(ipaddress.IPv6Address(text))
    except ValueError:
        return ""
