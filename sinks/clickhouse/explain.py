"""Reads everything the archive knows of one window (`explanation.py` says what that is and compares it).

The proof is computed twice from the archive: by the engine (`queries/window_revisions.sql`) and, where all events fit the limit, with
the reference hash of `topics/content_hash.py`. Nothing is taken from the meter's state.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import resources
from typing import Any, Final, Protocol

from sinks.clickhouse.bounds import scaled_of
from sinks.clickhouse.explanation import Attempt, Conservation, ExplainedEvent, Explanation, RefusedEvent, Revision, causes

DEFAULT_LIMIT: Final = 10_000
"""Events that are read one by one; beyond it only the engine's proof stands."""


class Reader(Protocol):
    """Asks ClickHouse; `client.ClickHouse` is one."""

    def rows(self, sql: str, parameters: Mapping[str, Any] | None = None) -> list[tuple[Any, ...]]:
        """Rows of a query; strings as bytes."""
        ...


def windows_at(reader: Reader, customer: str, meter: str, instant_s: int) -> list[tuple[int, int]]:
    """(start_s, end_s) of the windows that hold an instant; more than one only where a period edge was learned late."""
    parameters = {"customer": customer, "meter": meter, "instant_s": instant_s}
    return [(row[0], row[1]) for row in reader.rows(query("window_at"), parameters)]


def explain(reader: Reader, customer: str, meter: str, instant_s: int, *, limit: int = DEFAULT_LIMIT) -> Explanation | None:
    """The window of a customer and meter that holds the instant (its start, for example); None where the archive knows of none."""
    windows = windows_at(reader, customer, meter, instant_s)
    if not windows:
        return None
    start_s, end_s = windows[0]
    asked = {"customer": customer, "meter": meter, "start_s": start_s, "end_s": end_s}
    revisions = _revisions(reader.rows(query("window_revisions"), asked))
    first = (revisions[0].generation, revisions[0].through_offset) if revisions else None
    quantity, events, partition = reader.rows(query("window_now"), asked)[0]
    conservation = reader.rows(query("partition_conservation"), {"partition": partition})
    return Explanation(
        customer=customer,
        meter=meter,
        start_s=start_s,
        end_s=end_s,
        now_scaled=scaled_of(quantity),
        now_events=events,
        events=tuple(_event(row, first) for row in reader.rows(query("window_events"), asked | {"limit": limit})),
        refused=tuple(_refused(row) for row in reader.rows(query("window_refused"), asked | {"limit": limit})),
        revisions=revisions,
        attempts=tuple(_attempt(row) for row in reader.rows(query("window_deliveries"), asked)),
        conservation=Conservation(**dict(zip(_CONSERVATION, conservation[0], strict=True))) if conservation else None,
    )


_CONSERVATION: Final = (
    "partition", "generation", "base", "next_offset", "counted", "duplicate", "rejected", "too_late", "rerouted", "control", "skipped",
    "archived_offset",
)  # fmt: skip


def query(name: str) -> str:
    """The text of `queries/<name>.sql`."""
    return (resources.files("sinks.clickhouse") / "queries" / f"{name}.sql").read_text()


def shown(data: bytes) -> str:
    """Bytes of the archive as text; what is no UTF-8 shows as U+FFFD."""
    return data.decode("utf-8", "replace")


def _event(row: tuple[Any, ...], first: tuple[int, int] | None) -> ExplainedEvent:
    generation, offset, partition, event_id, source, occurred_at_us, received_at_ms, verdict, _, quantity = row
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
        is_late=first is not None and (generation, offset) > first,
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


def _revisions(rows: list[tuple[Any, ...]]) -> tuple[Revision, ...]:
    found = causes([(row[0], row[1], row[3]) for row in rows])
    return tuple(
        Revision(
            generation=row[0],
            through_offset=row[1],
            scaled=scaled_of(row[2]),
            events=row[3],
            first_offset=row[4],
            hash=shown(row[5]),
            closed_at_ms=row[6],
            counted_scaled=scaled_of(row[7]),
            counted_events=row[8],
            counted_hash=shown(row[9]),
            cause=cause,
        )
        for row, cause in zip(rows, found, strict=True)
    )


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
    )
