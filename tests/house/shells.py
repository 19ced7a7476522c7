"""The one list of files outside of infra/ that may touch the world, each with its reason.

Every other file of topics/, streams/ and sinks/ is pure: it computes from what it is given, so a property test, the simulation
and a replay from the archive drive the very code that bills. A new line here is a decision: move the arithmetic out first.
"""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatch

LIBRARIES = frozenset({"faust", "mode", "aiokafka", "stripe", "clickhouse_connect", "chdb", "aiohttp"})
"""Third-party packages that speak to a server or bring a framework along."""

WORLD = frozenset(
    {"time", "random", "os", "socket", "asyncio", "threading", "subprocess", "secrets", "tempfile", "shutil", "ssl", "signal", "uuid"}
)
"""Standard modules through which a clock, chance, another process or the machine gets into a computation."""

CLOCK_CALLS = frozenset({"now", "utcnow", "today"})
"""Methods of datetime and date that read the wall clock."""


@dataclass(frozen=True)
class Shell:
    """Files (a glob from the root) that may import `may`, and why."""

    files: str
    may: frozenset[str]
    why: str


SHELLS = (
    Shell("streams/table*.py", frozenset({"faust", "mode", "asyncio", "time", "os"}), "the Faust table: recovery and write-behind"),
    Shell("streams/agents.py", frozenset({"faust", "mode", "asyncio", "time"}), "the meter's agents and timers"),
    Shell("streams/driver.py", frozenset({"asyncio"}), "takes turns: when to flush, emit, start and let go"),
    Shell("sinks/*agent*.py", frozenset({"faust", "mode", "asyncio", "time"}), "the agents of a sink"),
    Shell("sinks/stripe/client.py", frozenset({"stripe", "asyncio"}), "the only file that talks to Stripe"),
    Shell("sinks/stripe/transport.py", frozenset({"stripe", "ssl", "threading"}), "the HTTP transport under Stripe's client"),
    Shell("sinks/stripe/app*.py", frozenset({"asyncio"}), "the report worker: when to write, call and let go"),
    Shell("sinks/stripe/gate_driver.py", frozenset({"asyncio"}), "the invoice gate: when to look at drafts"),
    Shell("sinks/*receipt_log.py", frozenset({"aiokafka", "asyncio"}), "the transactional writer and the reader of usage.receipts"),
    Shell("sinks/clickhouse/client.py", frozenset({"clickhouse_connect", "asyncio", "threading"}), "the only file that talks to ClickHouse"),
    Shell("sinks/clickhouse/app*.py", frozenset({"asyncio"}), "the archive worker: when to write, copy and try again"),
    Shell("sinks/clickhouse/raw_log.py", frozenset({"aiokafka", "asyncio"}), "the reader of usage.events at the archive's own pace"),
)


def shells_of(path: str) -> tuple[Shell, ...]:
    """The entries that cover a file; none for a pure one."""
    return tuple(shell for shell in SHELLS if fnmatch(path, shell.files))


def allowed(path: str) -> frozenset[str]:
    """Which of LIBRARIES and WORLD the file may import."""
    if path.startswith(("infra/", "tests/")):
        return LIBRARIES | WORLD
    return frozenset().union(*(shell.may for shell in shells_of(path)))
