"""Free ports on loopback: chosen once per stack, kept over restarts, replaced where another program took one.

Chosen below the range from which the kernel gives local ports to outgoing connections. Above its start, a client that keeps trying to
reach a stopped broker can be given the broker's own port, connect to itself, and hold the port so that the broker cannot come back.
"""

from __future__ import annotations

import random
import socket
from collections.abc import Iterable, Mapping
from contextlib import ExitStack

from topics.errors import UsageError

HOST = "127.0.0.1"

FIRST, LAST = 15_000, 32_000
"""Above the well-known services, below Linux's first ephemeral port (32768) and macOS's (49152)."""


class PortTaken(UsageError):
    """A port that was asked for by number is in use."""


def is_free(port: int) -> bool:
    """Whether a server could listen on this loopback port now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        return _bound(probe, port)


def choose(names: Iterable[str], remembered: Mapping[str, int], requested: Mapping[str, int] | None = None) -> dict[str, int]:
    """A port for every name: the requested one (PortTaken where it is in use), else the remembered one if free, else a new one.

    All are held until the last is chosen, so no two names get the same.
    """
    requested = requested or {}
    avoid = set(remembered.values()) | set(requested.values())
    chosen: dict[str, int] = {}
    with ExitStack() as held:
        for name in sorted(names, key=lambda each: each not in requested):
            probe = held.enter_context(socket.socket(socket.AF_INET, socket.SOCK_STREAM))
            chosen[name] = _take(probe, name, requested.get(name), remembered.get(name), avoid)
            avoid.add(chosen[name])
    return chosen


def _take(probe: socket.socket, name: str, requested: int | None, remembered: int | None, avoid: set[int]) -> int:
    """Binds the probe to the port that this name gets."""
    if requested is not None:
        if not _bound(probe, requested):
            raise PortTaken(
                f"port {requested} of {HOST}, asked for {name}, is in use by another program: name another port, or none to have a free one chosen"
            )
        return requested
    if remembered is not None and _bound(probe, remembered):
        return remembered
    return _new(probe, avoid)


def free_port() -> int:
    """One free loopback port for a test or a proxy; nothing holds it, so use it at once."""
    return choose(["port"], {})["port"]


def _bound(probe: socket.socket, port: int) -> bool:
    """Binds the probe; SO_REUSEADDR so that connections of our own last run, still in TIME_WAIT, do not make the port look taken.

    And listens: with SO_REUSEADDR two sockets may be bound to one port as long as neither does, so a mere bind holds nothing.
    """
    probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        probe.bind((HOST, port))
        probe.listen(1)
    except OSError:
        return False
    return True


def _new(probe: socket.socket, avoid: set[int]) -> int:
    """A random free port: two stacks that start at the same moment hardly ever choose the same."""
    for _ in range(1000):
        port = random.randint(FIRST, LAST)
        if port not in avoid and _bound(probe, port):
            return port
    raise PortTaken(f"no free port between {FIRST} and {LAST} on {HOST} in 1000 tries: end some of the programs that hold them")
