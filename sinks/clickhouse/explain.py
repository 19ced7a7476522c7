"""A window taken apart: its events, revisions and deliveries as the archive holds them, and whether each total follows from the rows.

The proof is computed twice from the archive: by the engine (`queries/window_revisions.sql`) and, where all events fit the limit, here with
the reference hash of `topics/content_hash.py`. Nothing is taken from the meter's state.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Any, Final, Protocol

from sinks.clickhouse.bounds import scaled_of
from topics.content_hash import MODULUS, event_hash
from topics.quantity import format_scaled

DEFAULT_LIMIT: Final = 10_000
"""Events that are read one by one; beyond it only the engine's proof stands."""


class Reader(Protocol):
    """Asks ClickHouse; `client.ClickHouse` is one."""

    def rows(self, sql: str, parameters: Mapping[str, Any] | None = None) -> list[tuple[Any, ...]]:
        """Rows of a query; strings as bytes."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ExplainedEvent:
    """One event that selects the meter in the window. `is_late`: it came after the window was first emitted. `scaled`: quantity × 10¹²."""

    generation: int
    offset: int
    partition: int
    event_id: str
    source: str
    occurred_at_us: int
    received_at_ms: int
    verdict: str
    scaled: int
    is_late: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class RefusedEvent:
    """An event of the customer in the window's time that was not taken, and why; `occurred_at_us` is 0 where its time cannot be read."""

    generation: int
    offset: int
    partition: int
    event_id: str
    verdict: str
    reason: str
    sentence: str
    occurred_at_us: int
    received_at_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Revision:
    """A total as it was emitted, and the same recounted from the raw events up to its offset. `cause` says why there is this revision."""

    generation: int
    through_offset: int
    first_offset: int
    scaled: int
    events: int
    hash: str
    closed_at_ms: int
    counted_scaled: int
    counted_events: int
    counted_hash: str
    cause: str

    @property
    def is_proved(self) -> bool:
        """Whether the raw events give the same quantity, count and content hash."""
        return (self.scaled, self.events, self.hash) == (self.counted_scaled, self.counted_events, self.counted_hash)


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One attempt to deliver (`kind` cell), or the window parked whole (`kind` window). Times are 0 where there is none."""

    kind: str
    provider: str
    account: str
    cell: str
    revision: int
    attempt: int
    generation: int
    through_offset: int
    window_scaled: int
    scaled: int
    units: str
    state: str
    outcome: str
    http_status: int
    request_id: str
    idempotency_key: str
    reason: str
    sentence: str
    intent_at_ms: int
    reported_at_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Conservation:
    """Law 7 of the window's partition at its newest archived mark; `archived_offset`: raw events below it are in the archive."""

    partition: int
    generation: int
    base: int
    next_offset: int
    counted: int
    duplicate: int
    rejected: int
    too_late: int
    rerouted: int
    control: int
    skipped: int
    archived_offset: int

    @property
    def residual(self) -> int:
        """Offsets without exactly one fate."""
        fates = self.counted + self.duplicate + self.rejected + self.too_late + self.rerouted + self.control + self.skipped
        return self.next_offset - self.base - fates


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """Everything the archive knows of one window. `events` in log order, at most the limit; `now_scaled`, `now_events`: what all sum up to."""

    customer: str
    meter: str
    start_s: int
    end_s: int
    now_scaled: int
    now_events: int
    events: tuple[ExplainedEvent, ...]
    refused: tuple[RefusedEvent, ...]
    revisions: tuple[Revision, ...]
    attempts: tuple[Attempt, ...]
    conservation: Conservation | None

    @property
    def quantity(self) -> str:
        """The sum of the counted events, exact."""
        return format_scaled(self.now_scaled)

    @property
    def counted(self) -> tuple[ExplainedEvent, ...]:
        """Events in the total."""
        return tuple(event for event in self.events if event.verdict == "counted")

    @property
    def duplicates(self) -> tuple[ExplainedEvent, ...]:
        """Copies that were not counted again."""
        return tuple(event for event in self.events if event.verdict == "duplicate")

    @property
    def late(self) -> tuple[ExplainedEvent, ...]:
        """Counted events that came after the window was first emitted."""
        return tuple(event for event in self.counted if event.is_late)

    @property
    def is_complete(self) -> bool:
        """Whether every counted event was read one by one."""
        return len(self.counted) == self.now_events

    @property
    def faults(self) -> tuple[str, ...]:
        """What contradicts; empty where the proof holds."""
        return tuple(find_faults(self))

    @property
    def notes(self) -> tuple[str, ...]:
        """What is not finished yet, without being wrong."""
        return tuple(find_notes(self))

    @property
    def is_proved(self) -> bool:
        """Whether everything that was emitted follows from the rows."""
        return not self.faults


def find_faults(window: Explanation) -> list[str]:
    """Each contradiction in one sentence."""
    faults: list[str] = []
    for number, revision in enumerate(window.revisions, 1):
        if revision.scaled != revision.counted_scaled:
            faults.append(f"revision {number} says {format_scaled(revision.scaled)}, its events sum up to {format_scaled(revision.counted_scaled)}")
        if revision.events != revision.counted_events:
            faults.append(f"revision {number} says {revision.events} events, the archive has {revision.counted_events}")
        if revision.hash != revision.counted_hash:
            faults.append(f"revision {number} has content hash {revision.hash[:16]}…, its events give {revision.counted_hash[:16]}…")
    if window.is_complete and window.revisions:
        newest = window.revisions[-1]
        found = content_hash(window, newest.generation, newest.through_offset)
        if found != newest.counted_hash:
            faults.append(f"the engine computes the hash {newest.counted_hash[:16]}…, the reference {found[:16]}…")
    if window.conservation is not None and window.conservation.residual:
        faults.append(f"partition {window.conservation.partition} has {window.conservation.residual} offsets without exactly one fate")
    return faults


def find_notes(window: Explanation) -> list[str]:
    """Each thing that is still under way in one sentence."""
    notes: list[str] = []
    newest = window.revisions[-1] if window.revisions else None
    if newest is None:
        notes.append("the window was not emitted yet")
    elif window.now_events > newest.events:
        notes.append(f"{window.now_events - newest.events} newer events are not emitted yet")
    conservation = window.conservation
    if conservation is not None and conservation.archived_offset < conservation.next_offset:
        notes.append(f"{conservation.next_offset - conservation.archived_offset} records of partition {conservation.partition} are not archived yet")
    if not window.is_complete:
        notes.append(f"{len(window.counted)} of {window.now_events} counted events are listed; the engine's proof covers all of them")
    return notes


def content_hash(window: Explanation, generation: int, through_offset: int) -> str:
    """The reference hash over the listed counted events up to a revision, 64 hex digits."""
    total = sum(
        event_hash(window.customer, window.meter, event.source, event.event_id, event.occurred_at_us, event.scaled)
        for event in window.counted
        if (event.generation, event.offset) <= (generation, through_offset)
    )
    return f"{total % MODULUS:064x}"


def causes(revisions: Sequence[tuple[int, int, int]]) -> list[str]:
    """Why each of (generation, through_offset, events) was emitted: the first by closing, each other by what it holds more."""
    found: list[str] = []
    for at, (generation, _, events) in enumerate(revisions):
        if at == 0:
            found.append("the window was closed")
            continue
        more = events - revisions[at - 1][2]
        cause = f"{more} late event{'s' if more != 1 else ''}"
        found.append(cause + (" of an adopted log" if generation != revisions[at - 1][0] else ""))
    return found


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
    plain = [shown(cell) if isinstance(cell, bytes) else cell for cell in row]
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
