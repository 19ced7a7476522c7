"""What the archive says of a window, record by record: events, what was refused, amendments, revisions, deliveries, conservation. Pure values.

`span_windows.py` puts them together and says what contradicts; `span.py` and `explain.py` read them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class ExplainedEvent:
    """One event that selects the meter in the window that begins at `start_s`. `is_late`: it came after that was first emitted. `scaled`: × 10¹²."""

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
    start_s: int = 0
    type: str = ""


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
class Amended:
    """What a person said of an event, as it changed the window that begins at `start_s` by `scaled`; the event itself stays as it was.

    `kind`: void, set or correct; `of_*` name the event (all empty and −1 where a whole window was corrected).
    """

    generation: int
    offset: int
    partition: int
    event_id: str
    occurred_at_us: int
    received_at_ms: int
    scaled: int
    start_s: int
    kind: str
    who: str
    reason: str
    of_source: str = ""
    of_id: str = ""
    of_generation: int = -1
    of_offset: int = -1

    def is_of(self, event: ExplainedEvent) -> bool:
        """Whether it speaks of this very event."""
        return (self.of_generation, self.of_offset) == (event.generation, event.offset)


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
    """One attempt to deliver (`kind` cell), or the window parked whole (`kind` window). Times are 0 where there is none; `second_s`: as told."""

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
    item: str = ""
    second_s: int = 0
    log_offset: int = 0

    @property
    def is_answered(self) -> bool:
        """Whether the provider is known to hold it."""
        return self.state in {"delivered", "confirmed"}

    @property
    def rank(self) -> tuple[tuple[int, int], int]:
        """What is newer stands higher: the revision, then the record; a window that got its binding later counts as never parked."""
        return (self.generation, self.through_offset + 1), 0 if self.state == "bound" else self.log_offset + 1

    @property
    def shown_state(self) -> str:
        """The state as the view `coverage` reads it: a settled adjustment is dealt with, an open one waits for a person."""
        if self.kind == "window" and self.reason == "unbound":
            return "unbound"
        if self.state == "adjustment":
            return "delivered" if self.outcome == "settled" else "parked"
        return self.state


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


def causes(revisions: Sequence[tuple[int, int, int]], amended: Sequence[Sequence[Amended]] = ()) -> list[str]:
    """Why each of (generation, through_offset, events) was emitted: the first by closing, each other by what it holds more.

    `amended`: what persons said that each revision is the first to hold.
    """
    found: list[str] = []
    for at, (generation, _, events) in enumerate(revisions):
        said = amended[at] if at < len(amended) else ()
        if at == 0:
            found.append("the window was closed" + (f", with {_amendments(said)}" if said else ""))
            continue
        late = events - revisions[at - 1][2] - len(said)
        parts = [f"{late} late event{'s' if late != 1 else ''}"] if late or not said else []
        parts += [_amendments(said)] if said else []
        found.append(" and ".join(parts) + (" of an adopted log" if generation != revisions[at - 1][0] else ""))
    return found


def _amendments(said: Sequence[Amended]) -> str:
    """Who amended what and why; of many the first."""
    first = said[0]
    told = f"{first.kind} by {first.who or 'nobody named'}: {first.reason}"
    return f"1 amendment ({told})" if len(said) == 1 else f"{len(said)} amendments (the first: {told})"
