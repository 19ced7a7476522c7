"""The windows of one customer and meter over a stretch of time, each with its proof, and what contradicts in them. Pure; `span.py` reads them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Final

from sinks.clickhouse.explanation import Amended, Attempt, Conservation, ExplainedEvent, RefusedEvent, Revision
from topics.instants import format_s
from topics.quantity import format_scaled

ZERO_RANK: Final = (0, 0)


@dataclass(frozen=True, kw_only=True)
class SpanWindow:
    """One window. `now_*`: what all its counted events sum up to; `last`: (generation, offset + 1) of the newest; `late`: those after its closing."""

    start_s: int
    end_s: int
    partition: int | None
    now_scaled: int
    now_events: int
    now_hash: str
    last: tuple[int, int]
    late: int
    amended: int
    revisions: tuple[Revision, ...]
    attempts: tuple[Attempt, ...]

    @property
    def emitted(self) -> Revision | None:
        """Its newest revision."""
        return self.revisions[-1] if self.revisions else None

    @cached_property
    def standing(self) -> Attempt | None:
        """What the provider is known to hold of it: the newest attempt that was answered."""
        return max((attempt for attempt in self.attempts if attempt.is_answered), key=lambda attempt: attempt.rank, default=None)

    @property
    def delivered_scaled(self) -> int:
        """The total that the provider holds, × 10¹²."""
        return 0 if self.standing is None else self.standing.window_scaled

    @property
    def follows(self) -> bool:
        """Whether the raw events give exactly what was emitted, revision by revision."""
        return all(revision.is_proved for revision in self.revisions)

    @property
    def is_proved(self) -> bool:
        """Whether they give exactly what was emitted, and what was delivered too."""
        return self.follows and bool(self.revisions) and self.delivered_scaled == self.now_scaled

    @cached_property
    def state(self) -> str:
        """In which of the states of the view `coverage` it is."""
        emitted = ZERO_RANK if self.emitted is None else (self.emitted.generation, self.emitted.through_offset + 1)
        if self.last > emitted:
            return "open" if emitted == ZERO_RANK else "reopened"
        newest = self._newest
        if newest is None or newest.rank[0] < emitted:
            return "undelivered"
        shown = newest.shown_state
        if shown in {"delivered", "confirmed"}:
            return "delivered"
        if shown in {"refused", "unknown", "parked"}:
            return "parked"
        return "unbound" if shown == "unbound" else "undelivered"

    @property
    def reason(self) -> str:
        """What the newest attempt says of why, in a word."""
        return "" if self._newest is None else self._newest.reason

    @cached_property
    def _newest(self) -> Attempt | None:
        return max(self.attempts, key=lambda attempt: attempt.rank, default=None)

    @property
    def faults(self) -> list[str]:
        """Each contradiction between revisions and events in one sentence."""
        found: list[str] = []
        for number, revision in enumerate(self.revisions, 1):
            if revision.scaled != revision.counted_scaled:
                sums = f"revision {number} says {format_scaled(revision.scaled)}, its events sum up to {format_scaled(revision.counted_scaled)}"
                found.append(sums)
            if revision.events != revision.counted_events:
                found.append(f"revision {number} says {revision.events} events, the archive has {revision.counted_events}")
            if revision.hash != revision.counted_hash:
                found.append(f"revision {number} has content hash {revision.hash[:16]}…, its events give {revision.counted_hash[:16]}…")
        return found


@dataclass(frozen=True, kw_only=True)
class Span:
    """All windows of (customer, meter) that start in `[from_s, to_s)`. `fates`: (records of the customer, those of the meter) by verdict in its time.

    `duplicates`, `late`, `refused` are listed up to a limit, `amendments` all; `counts` of them are in `fates` and the windows.
    """

    customer: str
    meter: str
    from_s: int
    to_s: int
    windows: tuple[SpanWindow, ...]
    fates: dict[str, tuple[int, int]]
    duplicates: tuple[ExplainedEvent, ...] = ()
    late: tuple[ExplainedEvent, ...] = ()
    refused: tuple[RefusedEvent, ...] = ()
    amendments: tuple[Amended, ...] = ()
    conservation: tuple[Conservation, ...] = ()

    @property
    def events(self) -> int:
        """Counted events of all windows."""
        return sum(window.now_events for window in self.windows)

    @property
    def scaled(self) -> int:
        """What they sum up to, × 10¹²."""
        return sum(window.now_scaled for window in self.windows)

    @property
    def late_count(self) -> int:
        """Counted events that came after their window was first emitted."""
        return sum(window.late for window in self.windows)

    @property
    def duplicate_count(self) -> int:
        """Copies that were not counted again."""
        return self.fates.get("duplicate", (0, 0))[1]

    @property
    def refused_count(self) -> int:
        """Records of the customer in its time that were rejected or too late."""
        return sum(self.fates.get(verdict, (0, 0))[0] for verdict in ("rejected", "too_late"))

    @property
    def waiting(self) -> tuple[SpanWindow, ...]:
        """Windows of which the provider does not hold what is counted now."""
        return tuple(window for window in self.windows if window.now_scaled != window.delivered_scaled)

    @property
    def faults(self) -> list[str]:
        """Each contradiction in one sentence."""
        found = [f"window {format_s(window.start_s)}: {fault}" for window in self.windows for fault in window.faults]
        return found + self.whole_faults

    @property
    def whole_faults(self) -> list[str]:
        """What contradicts beside the windows: offsets without exactly one fate, and records that have no fate that the archive can read."""
        unexplained = self.fates.get("unexplained", (0, 0))[0]
        found = [f"partition {kept.partition} has {kept.residual} offsets without exactly one fate" for kept in self.conservation if kept.residual]
        return found + ([f"{unexplained} records of {self.customer!r} have no verdict and no posting"] if unexplained else [])

    @property
    def notes(self) -> list[str]:
        """What is still to be archived, in one sentence for each partition."""
        behind = [(kept.next_offset - kept.archived_offset, kept.partition) for kept in self.conservation if kept.archived_offset < kept.next_offset]
        return [f"{records} records of partition {partition} are not archived yet" for records, partition in behind]
