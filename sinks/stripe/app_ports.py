"""What the report worker asks of the outside; `receipt_log.py` and `client.py` implement it, tests use models of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Protocol

from sinks.outcomes import Answer, Refused, RetryAfter
from sinks.readback import Summary
from sinks.remedy_calls import LookUp, Quote, Quoted
from topics.definitions import Definition
from topics.errors import TidemarkError
from topics.receipt import Receipt


class LostOwnership(TidemarkError):
    """Another worker has taken this partition's transactional id; nothing that we write is accepted any more."""


class Log(Protocol):
    """Receipts and definitions of one partition. Every call may raise `Unreachable`; after any error the log is closed and a new one opened."""

    async def open(self) -> tuple[list[Receipt], list[Definition]]:
        """Become the only writer, then read everything."""
        ...

    async def write(self, records: Iterable[tuple[bytes, Receipt]]) -> None:
        """One transaction, acknowledged. Raises LostOwnership once another has opened the partition's log."""
        ...

    @property
    def defined_to(self) -> int:
        """Every definition below this offset was returned by `open` or `new_definitions`."""
        ...

    async def new_definitions(self) -> list[Definition]:
        """What was published since the last call; waits a little for it."""
        ...

    async def close(self) -> None:
        """Let go of the connections."""
        ...


class Provider(Protocol):
    """One account. Calls block and are made in threads."""

    def report(self, path: str, body: str, idempotency_key: str, may_send: Callable[[], bool]) -> Answer:
        """Post an intent's exact request, if `may_send()` is still true when the connection stands."""
        ...

    def summaries(self, item: str, back_to_s: int) -> list[Summary] | RetryAfter:
        """The item's totals per period, newest first, as far back as the one that holds `back_to_s`; empty where the item is gone."""
        ...

    def event_summaries(self, event_name: str, customer: str, grouping: str, start_s: int, end_s: int) -> list[Summary] | RetryAfter:
        """A customer's usage of a meter by UTC hours or days of [start, end), in 10⁻¹² units; what is absent is 0."""
        ...

    def quote(self, asked: Quote) -> Quoted | Refused | RetryAfter:
        """By which price an item's units cost what, who pays, and what an invoice's lines can give back."""
        ...

    def look_up(self, asked: LookUp) -> str | RetryAfter:
        """The name of what a remedy has made; empty where it made nothing."""
        ...

    def close(self) -> None:
        """Close idle connections."""
        ...


class Metrics(Protocol):
    """Where outcomes are counted (infra/metrics.py)."""

    def delivered(self, seconds_since_close: float) -> None:
        """A window that closed so long ago has its provider's answer."""
        ...

    def outcome(self, provider: str, outcome: str) -> None:
        """A provider answered a report."""
        ...
