"""Reads the windows of a customer and meter over a stretch of time, and proves each: two light passes over the events, whatever their number.

The engine adds up and hashes each window's events by the revision that covers them first (`queries/span_windows.sql`); what a revision should have
said is then a running sum over a few rows. Nothing is taken from the meter's state. Events are listed only up to a limit.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from importlib import resources
from typing import Any, Final, NamedTuple, Protocol

from sinks.clickhouse.bounds import scaled_of
from sinks.clickhouse.explanation import Amended, Attempt, Conservation, ExplainedEvent, RefusedEvent, Revision, causes
from sinks.clickhouse.span_windows import ZERO_RANK, Span, SpanWindow
from topics.content_hash import MODULUS

LONGEST_WINDOW_S: Final = 86_400
HOUR_S: Final = 3600
"""Of the archive's sort key."""
Place = tuple[int, int]
"""(start_s, end_s) of a window."""


class Reader(Protocol):
    """Asks ClickHouse; `client.ClickHouse` is one."""

    def rows(self, sql: str, parameters: Mapping[str, Any] | None = None) -> list[tuple[Any, ...]]:
        """Rows of a query; strings as bytes."""
        ...


def span(
    reader: Reader, customer: str, meter: str, from_s: int, to_s: int, *, until_s: int | None = None, limit: int = 0, events: bool = True
) -> Span:
    """All windows that start in `[from_s, to_s)`, proved; `limit`: how many duplicates, late and refused events are listed.

    `until_s`: no window of it ends later (default: a day after `to_s`, the longest a window can reach). `events` False lists refused ones only.
    """
    asked = {"customer": customer, "meter": meter, "from_s": from_s, "to_s": to_s, "until_s": until_s or to_s + LONGEST_WINDOW_S}
    fates = {shown(row[0]): (row[1], row[2]) for row in reader.rows(query("span_fates"), asked)}
    amendments = tuple(_amended(row) for row in reader.rows(query("span_amendments"), asked)) if "control" in fates else ()
    windows = _windows(reader, asked, amendments)
    listed = asked | {"limit": limit}
    has_copies = events and limit and fates.get("duplicate", (0, 0))[1]
    has_refused = limit and (fates.keys() & {"rejected", "too_late"})
    return Span(
        customer=customer,
        meter=meter,
        from_s=from_s,
        to_s=to_s,
        windows=windows,
        fates=fates,
        duplicates=tuple(event_of(row) for row in reader.rows(query("span_duplicates"), listed)) if has_copies else (),
        late=_late(reader, listed, windows) if events and limit else (),
        refused=refused_events(reader, listed) if has_refused else (),
        amendments=amendments,
        conservation=conservations(reader, {window.partition for window in windows}),
    )


def _windows(reader: Reader, asked: Mapping[str, Any], amendments: Sequence[Amended]) -> tuple[SpanWindow, ...]:
    parts: dict[Place, list[_Part]] = defaultdict(list)
    for row in reader.rows(query("span_windows"), asked):
        parts[row[0], row[1]].append(_Part(row[2], scaled_of(row[3]), row[4], int(row[5], 16), *row[6:9]))
    revisions: dict[Place, list[tuple[Any, ...]]] = defaultdict(list)
    for row in reader.rows(query("span_revisions"), asked):
        revisions[row[0], row[1]].append(row[2:])
    attempts: dict[Place, list[Attempt]] = defaultdict(list)
    for row in reader.rows(query("span_deliveries"), asked):
        attempts[row[0], row[1]].append(_attempt(row[2:]))
    places = sorted(parts.keys() | revisions.keys() | attempts.keys())
    return tuple(_window(place, parts[place], revisions[place], attempts[place], amendments) for place in places)


def _late(reader: Reader, asked: Mapping[str, Any], windows: Sequence[SpanWindow]) -> tuple[ExplainedEvent, ...]:
    """Late events of the first windows that have some, as many as the limit allows; the other windows' hours are not read."""
    chosen: list[SpanWindow] = []
    for window in windows:
        if window.late and sum(each.late for each in chosen) < asked["limit"]:
            chosen.append(window)
    if not chosen:
        return ()
    hours = sorted({hour for window in chosen for hour in range(window.start_s - window.start_s % HOUR_S, window.end_s, HOUR_S)})
    said = {**asked, "hours": hours, "starts": [window.start_s for window in chosen]}
    return tuple(event_of(row, is_late=True) for row in reader.rows(query("span_late"), said))


class _Part(NamedTuple):
    """The events of a window that one revision is the first to cover (`part` 1, 2 …; 0: none does yet)."""

    part: int
    scaled: int
    events: int
    hash: int
    last: tuple[int, int]
    partition: int
    amended: int


_NOTHING: Final = _Part(0, 0, 0, 0, ZERO_RANK, 0, 0)


def _window(
    place: Place, parts: Sequence[_Part], revisions: Sequence[tuple[Any, ...]], attempts: list[Attempt], amendments: Sequence[Amended]
) -> SpanWindow:
    by_number = {part.part: part for part in parts}
    first = by_number.get(1, _NOTHING).events if revisions else sum(part.events for part in parts)
    return SpanWindow(
        start_s=place[0],
        end_s=place[1],
        partition=parts[0].partition if parts else None,
        now_scaled=sum(part.scaled for part in parts),
        now_events=sum(part.events for part in parts),
        now_hash=hash_text(sum(part.hash for part in parts)),
        last=max(((generation, offset + 1) for generation, offset in (part.last for part in parts)), default=ZERO_RANK),
        late=sum(part.events for part in parts) - first,
        amended=sum(part.amended for part in parts),
        revisions=_revisions(revisions, by_number, [each for each in amendments if each.start_s == place[0] and each.kind != "accept"]),
        attempts=tuple(attempts),
    )


def _revisions(rows: Sequence[tuple[Any, ...]], parts: Mapping[int, _Part], amendments: Sequence[Amended]) -> tuple[Revision, ...]:
    """Each revision beside the running sum of the parts."""
    said: list[list[Amended]] = [[] for _ in rows]
    for amendment in amendments:
        at = next((at for at, row in enumerate(rows) if (amendment.generation, amendment.offset) <= (row[0], row[1])), None)
        if at is not None:
            said[at].append(amendment)
    found, scaled, events, digest = [], 0, 0, 0
    for number, (row, cause) in enumerate(zip(rows, causes([(row[0], row[1], row[4]) for row in rows], said), strict=True), 1):
        part = parts.get(number, _NOTHING)
        scaled, events, digest = scaled + part.scaled, events + part.events, digest + part.hash
        found.append(
            Revision(
                generation=row[0],
                through_offset=row[1],
                first_offset=row[2],
                scaled=scaled_of(row[3]),
                events=row[4],
                hash=shown(row[5]),
                closed_at_ms=row[6],
                counted_scaled=scaled,
                counted_events=events,
                counted_hash=hash_text(digest),
                cause=cause,
            )
        )
    return tuple(found)


def hash_text(total: int) -> str:
    """A sum of digests as the content hash is written: 64 hex digits."""
    return f"{total % MODULUS:064x}"


_CONSERVATION: Final = (
    "partition", "generation", "base", "next_offset", "counted", "duplicate", "rejected", "too_late", "rerouted", "control", "skipped",
    "archived_offset",
)  # fmt: skip


def conservations(reader: Reader, partitions: set[int | None]) -> tuple[Conservation, ...]:
    """Law 7 of each partition at its newest archived mark."""
    rows = [row for partition in sorted(partitions - {None}) for row in reader.rows(query("partition_conservation"), {"partition": partition})]  # type: ignore[type-var]
    return tuple(Conservation(**dict(zip(_CONSERVATION, row, strict=True))) for row in rows)


def refused_events(reader: Reader, asked: Mapping[str, Any]) -> tuple[RefusedEvent, ...]:
    """What of the customer was not taken in the span's time."""
    return tuple(_refused(row) for row in reader.rows(query("span_refused"), asked))


def query(name: str) -> str:
    """The statement of `queries/<name>.sql`, without the comments: the driver and the engine look at every letter of what they are given."""
    text = (resources.files("sinks.clickhouse") / "queries" / f"{name}.sql").read_text()
    return "\n".join(line for line in map(str.strip, text.splitlines()) if line and not line.startswith("--"))


def shown(data: bytes) -> str:
    """Bytes of the archive as text; what is no UTF-8 shows as U+FFFD."""
    return data.decode("utf-8", "replace")


def event_of(row: tuple[Any, ...], *, is_late: bool = False) -> ExplainedEvent:
    """A row of `window_events.sql`, `span_late.sql` or `span_duplicates.sql`."""
    generation, offset, partition, event_id, source, occurred_at_us, received_at_ms, verdict, quantity, start_s, kind = row
    return ExplainedEvent(
        generation=generation,
        offset=offset,
        partition=partition,
        event_id=shown(event_id),
        source=shown(source),
        occurred_at_us=occurred_at_us,
        received_at_ms=received_at_ms,
        verdict=shown(verdict),
        scaled=scaled_of(quantity),
        is_late=is_late,
        start_s=start_s,
        type=shown(kind),
    )


def _refused(row: tuple[Any, ...]) -> RefusedEvent:
    generation, offset, partition, event_id, verdict, reason, sentence, occurred_at_us, received_at_ms = row
    return RefusedEvent(
        generation=generation,
        offset=offset,
        partition=partition,
        event_id=shown(event_id),
        verdict=shown(verdict),
        reason=shown(reason),
        sentence=shown(sentence),
        occurred_at_us=occurred_at_us,
        received_at_ms=received_at_ms,
    )


def _amended(row: tuple[Any, ...]) -> Amended:
    generation, offset, partition, event_id, occurred_at_us, received_at_ms, quantity, start_s, value = row
    said = _said(value)
    of = said.get("of")
    of = of if isinstance(of, dict) else {}
    return Amended(
        generation=generation,
        offset=offset,
        partition=partition,
        event_id=shown(event_id),
        occurred_at_us=occurred_at_us,
        received_at_ms=received_at_ms,
        scaled=scaled_of(quantity),
        start_s=start_s,
        kind=str(said.get("kind", "")),
        who=str(said.get("who", "")),
        reason=str(said.get("reason", "")),
        of_source=str(of.get("source", "")),
        of_id=str(of.get("id", "")),
        of_generation=of.get("generation", -1),
        of_offset=of.get("offset", -1),
    )


def _said(value: bytes) -> dict[str, Any]:
    """The `data` of an amendment; the meter counted it, so it can be read, and what cannot be is shown as saying nothing."""
    try:
        body = json.loads(value)
    except ValueError:
        return {}
    data = body.get("data") if isinstance(body, dict) else None
    return data if isinstance(data, dict) else {}


def _attempt(row: tuple[Any, ...]) -> Attempt:
    plain: list[Any] = [shown(cell) if isinstance(cell, bytes) else cell for cell in row]
    return Attempt(
        kind=plain[0],
        provider=plain[1],
        account=plain[2],
        cell=plain[3],
        revision=plain[4],
        attempt=plain[5],
        generation=plain[6],
        through_offset=plain[7],
        window_scaled=scaled_of(plain[8]),
        scaled=scaled_of(plain[9]),
        units=plain[10],
        state=plain[11],
        outcome=plain[12],
        http_status=plain[13],
        request_id=plain[14],
        idempotency_key=plain[15],
        reason=plain[16],
        sentence=plain[17],
        intent_at_ms=plain[18],
        reported_at_ms=plain[19],
        item=plain[20],
        second_s=plain[21],
        log_offset=plain[22],
    )
