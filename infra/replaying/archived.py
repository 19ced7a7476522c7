"""One partition's log as ClickHouse has it: its generations, its records as batches for the fold, and what it holds of its windows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any, Final, NamedTuple, Protocol

from sinks.clickhouse.bounds import clamp_s, scaled_of
from sinks.clickhouse.explain import query
from streams.rows import Row, revision
from topics.batch import Batch
from topics.catalog import EVENTS
from topics.verdict import Counters
from topics.windows import Window

CHUNK: Final = 50_000
"""Offsets of one question: some 20 MB of events. Each question looks at the index of every granule, so many small ones would take longer."""


WIDE_CHUNK: Final = 500_000
"""The same where one customer's records are read: few of them come back, and of the others only two columns are looked at."""


class Reader(Protocol):
    """Asks ClickHouse; `sinks.clickhouse.client.ClickHouse` is one."""

    def rows(self, sql: str, parameters: Mapping[str, Any] | None = None) -> list[tuple[Any, ...]]:
        """Rows of a query; strings as bytes."""
        ...


class Generation(NamedTuple):
    """One log that the partition had. Below `marked` every verdict is archived and `counters` are the meter's own; below `archived` every record."""

    number: int
    base: int
    marked: int
    archived: int
    counters: Counters

    @property
    def whole_to(self) -> int:
        """Below it every record and its verdict are there."""
        return max(self.base, min(self.marked, self.archived))


class Held(NamedTuple):
    """A window's total as somebody holds it: its revision as one integer, quantity × 10¹², events, content hash in hexadecimal."""

    rev: int
    scaled: int
    events: int
    hash: str


class ArchivedLog:
    """One partition in ClickHouse. Calls block."""

    def __init__(self, reader: Reader, partition: int) -> None:
        self._reader = reader
        self.partition = partition

    def _rows(self, name: str, **parameters: Any) -> list[tuple[Any, ...]]:
        return self._reader.rows(query(name), {"partition": self.partition, **parameters})

    def generations(self) -> list[Generation]:
        """All logs of the partition from the first on; one that nothing was archived of (`restore` passes over such) is empty."""
        found = {row[0]: _generation(row) for row in self._rows("replay_marks")}
        return [found.get(number, Generation(number, 0, 0, 0, Counters())) for number in range(max(found, default=-1) + 1)]

    def batches(self, generation: int, start: int, end: int) -> Iterator[Batch]:
        """The records [start, end) of a generation, in their order."""
        for at in range(start, end, CHUNK):
            upto = min(end, at + CHUNK)
            rows = self._rows("audit_records", generation=generation, start=at, end=upto)
            yield batch_of(rows, self.partition, at, upto)

    def batches_of(self, customer: str, generation: int, start: int, end: int) -> Iterator[tuple[int, Batch]]:
        """The records of one customer and all control records, in batches, each with the log's now before it: others' records move that too.

        A batch ends before a record whose own time is behind the now, and after each stretch; within it the records' own times are enough.
        """
        before_ms = 0
        for at in range(start, end, WIDE_CHUNK):
            upto = min(end, at + WIDE_CHUNK)
            asked = {"generation": generation, "start": at, "end": upto}
            rows = self._rows("replay_customer", customer=customer, **asked)
            nows = [max(before_ms, row[8]) for row in rows]
            cuts = [0, *(i for i, row in enumerate(rows) if i and nows[i] > row[1]), len(rows)] if rows else []
            position = at
            for first, last in pairwise(cuts):
                ends_at = rows[last][0] if last < len(rows) else upto
                yield nows[first], batch_of(rows[first:last], self.partition, position, ends_at)
                position = ends_at
            before_ms = max(before_ms, int(self._rows("replay_now", **asked)[0][0] or 0))

    def totals(self, from_s: int, to_s: int, customer: str = "", meter: str = "") -> dict[Window, Held]:
        """The newest revision of each window that ends in [from_s, to_s]."""
        rows = self._rows("replay_totals", from_ms=from_s * 1000, to_ms=to_s * 1000, customer=customer, meter=meter)
        return {_window(row): _held(row) for row in rows}

    def beyond(self, generation: int, offset: int) -> dict[Window, Held]:
        """The newest revision of each window that was emitted with an event at or beyond an offset of a generation."""
        return {_window(row): _held(row) for row in self._rows("restore_windows", generation=generation, offset=offset)}

    def covered(self, rows: Sequence[Row]) -> dict[Window, int]:
        """`streams.rebuild.Emitted`: of the rows' windows the greatest revision that a receipt holds."""
        by_key = {clamped(row.window): row.window for row in rows}
        ends = [window.end_s for window in by_key]
        found = self._rows("restore_covered", from_ms=min(ends) * 1000, to_ms=max(ends) * 1000) if ends else []
        held = {_window(row): revision(row[4], row[5]) for row in found}
        return {window: held[key] for key, window in by_key.items() if key in held}


def batch_of(rows: Sequence[tuple[Any, ...]], partition: int, start: int, next_offset: int) -> Batch:
    """A batch of rows of `queries/audit_records.sql`, exactly as the records lay in the log."""
    return Batch(
        topic=EVENTS,
        partition=partition,
        epoch=0,
        start_offset=start,
        offsets=[row[0] for row in rows],
        timestamps_ms=[row[1] for row in rows],
        keys=[None if row[3] else row[2] for row in rows],
        values=[None if row[5] else row[4] for row in rows],
        headers=[tuple(zip((name.decode("utf-8", "surrogatepass") for name in row[6]), row[7], strict=True)) for row in rows],
        next_offset=next_offset,
    )


def clamped(window: Window) -> Window:
    """The window as ClickHouse shows it: its times end in 1900 and 2299."""
    return window._replace(start_s=clamp_s(window.start_s), end_s=clamp_s(window.end_s))


def _window(row: tuple[Any, ...]) -> Window:
    return Window(row[0].decode("utf-8", "surrogatepass"), row[1].decode("utf-8", "surrogatepass"), row[2] // 1000, row[3] // 1000)


def _held(row: tuple[Any, ...]) -> Held:
    return Held(revision(row[4], row[5]), scaled_of(row[6]), row[7], row[8].decode("utf-8", "replace"))


def _generation(row: tuple[Any, ...]) -> Generation:
    number, base, marked, archived, counted, duplicate, rejected, too_late, rerouted, control, skipped, postings = row
    counters = Counters(
        base=base,
        next_offset=marked,
        counted=counted,
        duplicate=duplicate,
        rejected=rejected,
        too_late=too_late,
        rerouted=rerouted,
        control=control,
        skipped=skipped,
        postings=postings,
    )
    return Generation(number, base, marked, archived, counters)
