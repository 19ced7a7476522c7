"""What ClickHouse says of one customer, question by question. It reads only; every value is bound, and what a window's share is, is exact."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from itertools import chain, groupby
from typing import Any, Final, NamedTuple, Protocol

from infra.reconciling.books import Copies, Copy, Emitted, Revision, Total
from infra.reconciling.drift import Coordinate
from infra.reconciling.gaps import Lacking
from infra.reconciling.old_receipts import receipt_of_columns
from sinks.clickhouse.bounds import MAX_S, MIN_S, scaled_of
from sinks.clickhouse.span import query
from topics.bindings import Item
from topics.definitions import Definition, decode_definition
from topics.event import Event, parse_event
from topics.receipt import CellReceipt, WindowReceipt, decode_receipt
from topics.windows import Window

EARLIEST_S: Final = MIN_S
LATEST_S: Final = MAX_S
IDS_A_SLICE: Final = 4_000_000
"""Records of one customer whose ids are looked at together: they take some hundred MB in ClickHouse."""
RECOUNTED_AT_ONCE: Final = 4_000_000
"""Events of one customer that are joined to its revisions at once: they take some hundred MB in ClickHouse, however many there are."""
MOST_COPIES: Final = 1000
"""Ids with copies that are looked at of one slice: a producer that repeats all of its ids does so for one reason. What is left out is said, and is
found once these are dealt with."""
MOST_HOLES: Final = 1000
"""Holes of a partition that are listed; a partition with more has lost a stretch, which its first ones say."""
Span = tuple[int, int]


class Reader(Protocol):
    """Asks ClickHouse; `sinks.clickhouse.client.ClickHouse` is one."""

    def rows(self, sql: str, parameters: Mapping[str, Any] | None = None) -> list[tuple[Any, ...]]:
        """Rows of a query; strings as bytes."""
        ...


class Archived(NamedTuple):
    """How far a partition of `usage.events` is: of its newest generation what is judged, and what the mark counts up to there."""

    generation: int
    judged: int
    base: int
    skipped: int


class EmittedRow(NamedTuple):
    """A revision with where it stands on usage.windows."""

    emitted: Emitted
    partition: int
    log_offset: int
    first_offset: int


class CountedRow(NamedTuple):
    """A window's counted events, and the last of them."""

    total: Total
    newest: Revision
    partition: int


class Receipts(NamedTuple):
    """A customer's receipts: each cell's history, its newest place on the topic, and windows parked whole."""

    cells: dict[str, list[CellReceipt]]
    at: dict[str, int]
    parked: dict[Window, WindowReceipt]


class Archive:
    """The questions, over one connection."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader

    def _ask(self, name: str, **parameters: Any) -> list[tuple[Any, ...]]:
        return self._reader.rows(query(f"reconcile_{name}"), parameters)

    def owners(self, customer: str = "", meter: str = "") -> dict[str, list[str]]:
        """The meters of every customer of whom the archive knows anything. Customers whose name is no text have none."""
        found: dict[str, list[str]] = {}
        for name, of in self._ask("owners", customer=customer, meter=meter):
            if (plain := _text(name)) is not None:
                found.setdefault(plain, []).append(of.decode("utf-8", "replace"))
        return found

    def reach(self) -> tuple[dict[int, Archived], dict[str, dict[int, int]]]:
        """(by partition of usage.events, by our other topics and partition: up to where it is archived)."""
        events: dict[int, Archived] = {}
        others: dict[str, dict[int, int]] = {}
        for topic, partition, generation, archived, marked, base, skipped in self._ask("reach"):
            if topic == b"usage.events":
                events[partition] = Archived(generation, min(archived, marked), base, skipped)
            else:
                others.setdefault(topic.decode(), {})[partition] = archived
        return events, others

    def holes(self, partition: int, generation: int, start: int, end: int, limit: int) -> list[tuple[int, int]]:
        """Stretches [first, last] of offsets of [start, end) that have no record."""
        return [(row[0], row[1]) for row in self._ask("holes", partition=partition, generation=generation, start=start, end=end, limit=limit)]

    def lacking(self) -> list[Lacking]:
        """Partitions whose archive has fewer records below the mark than the mark counts, once it has followed up to there."""
        # How far it is first: what is below a mark that lies no further was there before the rows are counted.
        archived = {(row[1], row[2]): row[3] for row in self._ask("reach") if row[0] == b"usage.events"}
        found: list[Lacking] = []
        for partition, generation, records, marked, base, skipped in self._ask("rows"):
            missing = marked - base - skipped - records
            if archived.get((partition, generation), 0) >= marked and missing > 0:
                holes = self.holes(partition, generation, base, marked, MOST_HOLES)
                found.append(Lacking(partition, generation, missing, skipped, tuple(holes)))
        return found

    def newest_ms(self) -> dict[int, int]:
        """When the newest archived record of each partition came."""
        return dict(self._ask("newest"))

    def definitions(self, customers: Sequence[str]) -> list[Definition]:
        """What was put in force of meters and for these customers, in the order of publishing."""
        rows = self._ask("definitions", customers=list(customers))
        return [decode_definition(body, f"definition_log, partition {partition}") for partition, body in rows]

    def seen(self, customer: str) -> dict[str, int]:
        """The newest record of each cell, by its place on the topic."""
        return {cell.decode("utf-8", "replace"): at for cell, at in self._ask("seen", customer=customer)}

    def counted(self, customer: str, span: Span) -> dict[Window, CountedRow]:
        """Every window's counted events below the mark."""
        rows = self._ask("counted", customer=customer, from_s=span[0], to_s=span[1])
        return {
            Window(customer, meter.decode(), start_s, end_s): CountedRow(Total(scaled_of(total), postings, ""), tuple(newest), partition)
            for meter, start_s, end_s, total, postings, newest, partition in rows
        }

    def revisions(
        self, customer: str, span: Span, reach: Mapping[int, Archived], sizes: Iterable[tuple[int, int]]
    ) -> dict[Window, list[EmittedRow]]:
        """Every window's revisions, oldest first; recounted where all raw events up to them are archived and judged. `sizes`: of each window its
        start and how many events it has."""
        found: dict[Window, list[EmittedRow]] = {}
        for row in chain.from_iterable(self._ask("revisions", customer=customer, from_s=start, to_s=end) for start, end in _pieces(span, sizes)):
            meter, start_s, end_s, generation, through, partition, log_offset, first_offset, quantity, events, hashed, closed_ms, *recounted = row
            is_judged = _is_judged(reach.get(partition), (generation, through))
            recount = Total(scaled_of(recounted[0] or Decimal(0)), recounted[1], recounted[2].decode()) if is_judged else None
            total = Total(scaled_of(quantity), events, hashed.decode())
            window = Window(customer, meter.decode(), start_s, end_s)
            emitted = Emitted((generation, through), total, closed_ms, recount)
            found.setdefault(window, []).append(EmittedRow(emitted, partition, log_offset, first_offset))
        return found

    def receipts(self, customer: str, span: Span, items: Mapping[str, Item]) -> Receipts:
        """The customer's receipts whose period touches the span; `items`, by name, for rows that were archived without their record."""
        found = Receipts({}, {}, {})
        for row in self._ask("receipts", customer=customer, from_s=span[0], to_s=span[1]):
            kind, meter, cell, log_offset, record, place, answer, parts, revision, attempt = row
            name = cell.decode("utf-8", "replace")
            if record:
                receipt = decode_receipt(record, f"receipt_log, cell {name}")
            else:
                held = found.cells.get(name, [])
                columns, bound = (place, answer, parts, revision, attempt), items.get(place[3].decode())
                receipt = receipt_of_columns(kind, customer, meter, name, columns, held[-1] if held else None, bound)
            if isinstance(receipt, CellReceipt):
                found.cells.setdefault(name, []).append(receipt)
                found.at[name] = log_offset
            elif receipt.state == "parked":
                found.parked[Window(receipt.customer, receipt.meter, receipt.start_s, receipt.end_s)] = receipt
            else:
                found.parked.pop(Window(receipt.customer, receipt.meter, receipt.start_s, receipt.end_s), None)
        return found

    def copies(self, customer: str, since_s: int, problems: list[str]) -> Iterator[Copies]:
        """Events received since an instant that share an id with another one, slice by slice; `problems` is told where there are too many."""
        size = self._ask("size", customer=customer)[0][0]
        slices = size // IDS_A_SLICE + 1
        amended = {Coordinate(*row) for row in self._ask("amended", customer=customer)}
        for each in range(slices):
            rows = self._ask("copies", customer=customer, slices=slices, slice=each, limit=MOST_COPIES, since_ms=max(0, since_s) * 1000)
            shown_ids = 0
            for (source, event_id), group in groupby(rows, key=lambda row: (row[0], row[1])):
                shown_ids += 1
                copies = tuple(_copy(row[2:], amended) for row in group)
                shown = [part.decode("utf-8", "replace") for part in (source, event_id)]
                yield Copies(customer=customer, source=shown[0], event_id=shown[1], copies=copies)
            if shown_ids >= MOST_COPIES:
                problems.append(f"customer {customer!r}: only the first {MOST_COPIES} ids with copies were looked at; reconcile again after a repair")


def _pieces(span: Span, sizes: Iterable[tuple[int, int]]) -> Iterator[Span]:
    """A span in pieces of at most so many events, or of the windows of one start."""
    at_start: Counter[int] = Counter()
    for start_s, events in sizes:
        at_start[start_s] += events
    from_s, held = span[0], 0
    for start_s, events in sorted(at_start.items()):
        if held and held + events > RECOUNTED_AT_ONCE:
            yield from_s, start_s
            from_s, held = start_s, 0
        held += events
    yield from_s, span[1]


def _is_judged(reach: Archived | None, revision: Revision) -> bool:
    """True where every raw event up to a revision is archived below the mark."""
    if reach is None:
        return False
    return revision[0] < reach.generation or (revision[0] == reach.generation and revision[1] < reach.judged)


def _copy(row: tuple[Any, ...], amended: set[Coordinate]) -> Copy:
    partition, generation, offset, verdict, _, value, received_at_ms, postings = row
    at = Coordinate(partition, generation, offset)
    return Copy(
        at=at,
        verdict=verdict.decode(),
        body=body_of(value),
        received_at_ms=received_at_ms,
        postings=tuple((_plain(meter), start_s, end_s, scaled_of(Decimal(_plain(quantity)))) for meter, quantity, start_s, end_s in postings),
        is_amended=at in amended,
    )


def body_of(value: bytes) -> str:
    """A digest of what an event says, whatever the order and spacing of its JSON (as `tidemark audit` compares bodies)."""
    parsed = parse_event(value)
    event = parsed if isinstance(parsed, Event) else parsed.event
    try:
        said = value if event is None else json.dumps([event.type, event.time, event.data], sort_keys=True).encode()
    except ValueError:  # an integer of more digits than Python writes
        said = value
    return hashlib.blake2b(said, digest_size=16).hexdigest()


def _plain(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def _text(name: bytes) -> str | None:
    try:
        return name.decode()
    except UnicodeDecodeError:
        return None


