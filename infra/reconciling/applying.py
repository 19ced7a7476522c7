"""Repairs carried out: each step by itself, in order. A run that dies between two is run again: what was done shows no drift any more.

Numbered effects: 1 rows of the archive are taken from the log again; 2 records are acknowledged on their customers' home partitions. The meter and
the report take those as they come, once, and only while what was seen still is so; `tidemark settle` waits for it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple, Protocol

from infra.control import ControlEvent
from infra.reconciling.steps import Amend, Proposal, Restate, RestoreEvents, RestoreRecords, RestoreWindow, Step
from sinks.clickhouse.client import ClickHouse
from sinks.clickhouse.restoring import Span, restore_events, restore_window, span_of
from sinks.clickhouse.rows import RawRecord
from topics.batch import Headers
from topics.errors import LostLog
from topics.windows import Window, window_key

Wanted = Callable[[int, bytes | None], bool]
"""Told a record's offset and key: whether it is kept. Between a window's first and last event lie those of all customers of its partition."""


class Log(Protocol):
    """The log, as repairs need it. Every call may raise Unreachable."""

    def home(self, customer: str) -> int:
        """A customer's partition."""
        ...

    def events(self, partition: int, generation: int, first: int, last: int, wanted: Wanted) -> list[RawRecord]:
        """The wanted records of usage.events between two offsets, both included. Raises LostLog where the log does not have them all any more."""
        ...

    def windows(self, partition: int, key: bytes) -> list[tuple[int, bytes, Headers]]:
        """What usage.windows still has of a window: (offset, value, headers) of each revision."""
        ...

    def publish(self, events: Sequence[ControlEvent]) -> None:
        """Writes records to their customers' home partitions, in order, and waits for the broker's word."""
        ...


class Done(NamedTuple):
    """What became of a step, for people; `is_done` False: it could not be done, and the sentence says what to do."""

    step: Step
    is_done: bool
    sentence: str


def steps_of(proposals: Iterable[Proposal]) -> list[Step]:
    """The steps of all proposals. Of several for one cell the first: the others were computed from the same receipt, and the next look shows what is
    left; of several that are the same one."""
    found: dict[object, Step] = {}
    for proposal in proposals:
        for step in proposal.steps:
            found.setdefault(step.record.target if isinstance(step, Restate) else step, step)
    return list(found.values())


def apply(steps: Iterable[Step], log: Log, clickhouse: ClickHouse) -> list[Done]:
    """Carry steps out. Raises Unreachable; what was done by then stays done."""
    return [_apply(step, log, clickhouse) for step in steps]


def _apply(step: Step, log: Log, clickhouse: ClickHouse) -> Done:
    if isinstance(step, Restate | Amend):
        log.publish([step.event()])
        return Done(step, True, "written to the log")
    if isinstance(step, RestoreEvents):
        return _restore_events(step, log, clickhouse)
    if isinstance(step, RestoreRecords):
        return _restore_records(step, log, clickhouse)
    partition = log.home(step.window.customer)
    count = restore_window(clickhouse, partition, log.windows(partition, window_key(step.window).encode()))
    if count:
        return Done(step, True, f"{count} revisions taken from usage.windows again")
    if step.otherwise is None:
        return Done(step, True, "usage.windows has no revision of it any more")
    return _apply(step.otherwise, log, clickhouse)._replace(step=step)


def _restore_events(step: RestoreEvents, log: Log, clickhouse: ClickHouse) -> Done:
    window = step.window
    partition, key, count = log.home(window.customer), window.customer.encode(), 0
    for span in span_of(clickhouse, window):
        try:
            mine = log.events(partition, span.generation, span.first, span.last, lambda _, found: found == key)
        except LostLog as error:
            return Done(step, False, f"{_name(window, span)} cannot be read again: {error}; restore them from a backup of raw_events")
        count += restore_events(clickhouse, partition, window.customer, span, mine)
    return Done(step, True, f"{count} records taken from usage.events again")


def _restore_records(step: RestoreRecords, log: Log, clickhouse: ClickHouse) -> Done:
    span, wanted = Span(step.generation, min(step.offsets), max(step.offsets)), set(step.offsets)
    try:
        records = log.events(step.partition, step.generation, span.first, span.last, lambda offset, _: offset in wanted)
    except LostLog as error:
        return Done(step, False, f"offsets {span.first} to {span.last} cannot be read again: {error}; restore them from a backup of raw_events")
    count = restore_events(clickhouse, step.partition, None, span, records)
    return Done(step, True, f"{count} records taken from usage.events again")


def _name(window: Window, span: Span) -> str:
    return f"offsets {span.first} to {span.last} of {window.customer!r}"


__all__ = ["Amend", "Done", "Log", "Restate", "RestoreEvents", "RestoreRecords", "RestoreWindow", "apply", "steps_of"]
