"""A window as the archive explains it, and what contradicts in it. Pure: typed values and comparisons; `explain.py` reads them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from topics.content_hash import MODULUS, event_hash
from topics.quantity import format_scaled


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
