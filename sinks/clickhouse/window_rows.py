"""The events of one window, as the view `window_events` and `queries/window_events.sql` show them, without what those cost to plan.

The engine plans each question anew, and what it plans costs by the piece: FINAL, two joins and an order cost more than the rows, a column more up
to a millisecond. So a window is asked for as its plain rows, and few rows are judged here (decisions 0011 and 0012).

Where it is known what the archive counts in the window (`Counted`, of the proof), the rows' own hash tells: if it is that, then they are the events
that count, all of them, and nothing else has to be asked. SHA-256 says the same of them as verdicts and marks would.

Else what may be shown (law 19) is found as the view finds it. A mark says that every verdict below it is stored, and marks only grow: one that was
read earlier proves as much for what lies below it as the newest does. Where a row is not below a mark that is known, the marks are asked anew, before
the verdicts. What plain rows cannot tell (a coordinate that the parts hold twice, a verdict that is there twice and differs, more rows than the
limit) is asked with the whole query, whose answer is then the answer.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from typing import Any, Final, NamedTuple, Protocol

from sinks.clickhouse.explanation import ExplainedEvent
from sinks.clickhouse.row_binary import Cells
from sinks.clickhouse.span import Reader, event_of, hash_text, query, shown
from topics.content_hash import field, posting_hash
from topics.instants import EPOCH

Log = tuple[int, int]
"""(kafka_partition, generation)."""
Verdicts = Mapping[tuple[int, int, int], bytes]
"""(kafka_partition, generation, kafka_offset) → why it was not counted."""
Stored = list[tuple[tuple[int, int, int], bytes]]
"""The same as it lies in the parts."""
SHOWN_VERDICTS: Final = {b"": "counted", b"duplicate": "duplicate"}
"""What is listed of a window, by what `verdict_log` says of it; nothing else of it has a place in a window."""


class WindowReader(Reader, Protocol):
    """Asks ClickHouse, also for rows that are read here; `client.ClickHouse` is one."""

    def binary(self, sql: str, parameters: Mapping[str, Any] | None = None) -> bytes:
        """Rows of a query as RowBinary."""
        ...


class Counted(NamedTuple):
    """What the archive counts in a window, by the engine's own judgement: how many events, and the content hash over them, 64 hex digits."""

    events: int
    hash: str


class PlainRow(NamedTuple):
    """A record with its posting to the meter, if it selects that: `quantity` × 10¹², the window in seconds (0 where that was not asked)."""

    generation: int
    offset: int
    partition: int
    event_id: bytes
    source: bytes
    occurred_at_us: int
    received_at_ms: int
    type: bytes
    scaled: int
    start_s: int
    end_s: int
    selects: bool = True


_COORDINATE: Final = struct.Struct("<IQI")
_TIMES: Final = struct.Struct("<qBqq")
"""occurred_at, layout, received_at, log_time."""
SAME_AS_LOG: Final = -1
"""What is stored for received_at in layout 1 where that is log_time (`schema/0008_shorter_rows.sql`)."""
_QUANTITY: Final = struct.Struct("<Qq")
"""A Decimal(38, 12): 16 bytes, signed."""
_EDGE: Final = struct.Struct("<q")
_PLACE: Final = struct.Struct("<IIQ")


def plain_rows(data: bytes, meter: bytes, *, has_edges: bool = True) -> list[PlainRow]:
    """The answer to `window_rows.sql`: every record, whether it selects the meter or not. `has_edges` False: to `window_counted.sql`."""
    cells, found = Cells(data), list[PlainRow]()
    while not cells.is_over:
        generation, offset, partition = cells.numbers(_COORDINATE)
        event_id, source = cells.text(), cells.text()
        occurred_at_us, layout, stored_ms, log_time_ms = cells.numbers(_TIMES)
        received_at_ms = log_time_ms if layout == 1 and stored_ms == SAME_AS_LOG else stored_ms
        kind = cells.text()
        meters = [cells.text() for _ in range(cells.count())]
        at = meters.index(meter) if meter in meters else -1
        low, high = _element(cells, _QUANTITY, at) or (0, 0)
        (start_s,), (end_s,) = (_element(cells, _EDGE, at) or (0,), _element(cells, _EDGE, at) or (0,)) if has_edges else ((0,), (0,))
        row = (generation, offset, partition, event_id, source, occurred_at_us, received_at_ms, kind, (high << 64) + low, start_s, end_s)
        found.append(PlainRow(*row, selects=at >= 0))
    return found


def _element(cells: Cells, layout: struct.Struct, at: int) -> tuple[Any, ...]:
    """One element of an array, of which all is read; empty where there is none."""
    count = cells.count()
    if not 0 <= at < count:
        cells.skip(layout.size, count)
        return ()
    cells.skip(layout.size, at)
    found = cells.numbers(layout)
    cells.skip(layout.size, count - at - 1)
    return found


def is_all_of(rows: Sequence[PlainRow], counted: Counted, customer: str, meter: str) -> bool:
    """Whether the rows are exactly the events that count."""
    if len(rows) != counted.events:
        return False
    prefixes: dict[bytes, bytes] = {}
    total, owner = 0, field(customer) + field(meter)
    for row in rows:
        prefix = prefixes.get(row.source)
        if prefix is None:
            prefix = prefixes[row.source] = owner + field(shown(row.source))
        total += posting_hash(prefix, shown(row.event_id), row.occurred_at_us, row.scaled)
    return hash_text(total) == counted.hash


def plain_verdicts(data: bytes) -> Stored:
    """The answer to `window_verdicts.sql`."""
    cells, found = Cells(data), []
    while not cells.is_over:
        found.append((cells.numbers(_PLACE), cells.text()))
    return found


def plain_marks(data: bytes) -> dict[Log, int]:
    """The answer to `window_marks.sql`: of each log the greatest."""
    cells, found = Cells(data), dict[Log, int]()
    while not cells.is_over:
        partition, generation, next_offset = cells.numbers(_PLACE)
        found[partition, generation] = max(next_offset, found.get((partition, generation), 0))
    return found


def is_below(row: PlainRow, marks: Mapping[Log, int]) -> bool:
    """Whether its verdict is archived (law 19)."""
    return row.offset < marks.get((row.partition, row.generation), 0)


def is_doubled(rows: Sequence[PlainRow]) -> bool:
    """Whether the parts hold a coordinate twice: FINAL has to choose."""
    return len({(row.partition, row.generation, row.offset) for row in rows}) < len(rows)


def said_once(verdicts: Stored) -> Verdicts | None:
    """By coordinate; None where two rows of one differ and FINAL has to choose."""
    found: dict[tuple[int, int, int], bytes] = {}
    for place, verdict in verdicts:
        if found.setdefault(place, verdict) != verdict:
            return None
    return found


def judged(rows: Iterable[PlainRow], verdicts: Verdicts) -> tuple[ExplainedEvent, ...]:
    """What is listed of these rows, in the order of the log."""
    fates = ((row, SHOWN_VERDICTS.get(verdicts.get((row.partition, row.generation, row.offset), b""))) for row in rows)
    events = [_event(row, fate) for row, fate in fates if fate is not None]
    return tuple(sorted(events, key=lambda event: (event.generation, event.offset)))


def _event(row: PlainRow, fate: str) -> ExplainedEvent:
    return ExplainedEvent(
        generation=row.generation,
        offset=row.offset,
        partition=row.partition,
        event_id=shown(row.event_id),
        source=shown(row.source),
        occurred_at_us=row.occurred_at_us,
        received_at_ms=row.received_at_ms,
        verdict=fate,
        scaled=row.scaled,
        is_late=False,
        start_s=row.start_s,
        type=shown(row.type),
    )


class WindowRows:
    """Drill-downs of one session. `marks`: those that are known already; a window that lies below them needs no newer ones."""

    def __init__(self, reader: WindowReader, marks: Mapping[Log, int] | None = None) -> None:
        self._reader = reader
        self._marks = dict(marks or {})

    def events(
        self, customer: str, meter: str, start_s: int, end_s: int, limit: int, counted: Counted | None = None
    ) -> tuple[ExplainedEvent, ...]:
        """Every event that selects the meter in the window `[start_s, end_s)`, counted or a duplicate, in the order of the log, at most the limit.

        Where `counted` is given, its plain rows are asked first, and are the answer if they are all of it. Else:

        1. the marks, where none is known;
        2. the rows, with the edges of their windows;
        3. the marks once more, where a row is not below a known one;
        4. the verdicts between the first and the last of the rows: after the marks, for they are stored before the mark that passes them.
        """
        asked = {"customer": customer, "meter": meter, "from_s": start_s, "until_s": end_s, "limit": limit}
        place = {"customer": customer, "from": _second(start_s), "until": _second(end_s), "most": limit + 1}
        if counted is not None and 0 < counted.events <= limit:
            found = plain_rows(self._reader.binary(_COUNTED, place), meter.encode(), has_edges=False)
            rows = [row for row in found if row.selects]
            # Of an answer that the limit has cut a copy may be there and the row that counts may not: the hash does not tell them apart.
            if len(found) <= limit and is_all_of(rows, counted, customer, meter):
                return judged((row._replace(start_s=start_s, end_s=end_s) for row in rows), {})
        if not self._marks:
            self._ask_marks()
        found = plain_rows(self._reader.binary(_ROWS, place), meter.encode())
        if len(found) > limit or is_doubled(found):
            return self._whole(asked)
        rows = [row for row in found if row.selects and (row.start_s, row.end_s) == (start_s, end_s)]
        if not all(is_below(row, self._marks) for row in rows):
            self._ask_marks()
            rows = [row for row in rows if is_below(row, self._marks)]
        if not rows:
            return ()
        offsets = [row.offset for row in rows]
        among = {"customer": customer, "first": min(offsets), "last": max(offsets), "most": limit + 1}
        verdicts = plain_verdicts(self._reader.binary(_VERDICTS, among))
        said = said_once(verdicts) if len(verdicts) <= limit else None
        return self._whole(asked) if said is None else judged(rows, said)

    def _ask_marks(self) -> None:
        self._marks |= plain_marks(self._reader.binary(_MARKS))

    def _whole(self, asked: Mapping[str, Any]) -> tuple[ExplainedEvent, ...]:
        """The same by one question, which reads with FINAL, marks before verdicts."""
        return tuple(event_of(row) for row in self._reader.rows(_WHOLE, asked))


def _second(instant_s: int) -> str:
    """As the engine reads a time. Digits where it has ten, as the engine knows seconds since 1970 by: the driver looks at each letter of a request
    that holds a colon (0.2 ms)."""
    return str(instant_s) if 10**9 <= instant_s < 10**10 else f"{EPOCH + timedelta(seconds=instant_s):%Y-%m-%d %H:%M:%S}"


_COUNTED: Final = query("window_counted")
_ROWS: Final = query("window_rows")
_MARKS: Final = query("window_marks")
_VERDICTS: Final = query("window_verdicts")
_WHOLE: Final = query("window_events")
