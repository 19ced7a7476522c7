"""A dead letter, what became of it, and what happens to it next. Pure values."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum
from typing import Final, NamedTuple

from topics.batch import Headers
from topics.origin import Origin, named_origin

Coordinate = tuple[int, int, int]
"""(partition, offset, received_at_ms): names a letter for ever. An offset alone is used again when a topic is recreated."""
EventId = tuple[str, str, str]
"""(customer, source, id): counts once."""


class Letter(NamedTuple):
    """One rejected or too late event as the archive has it; `headers` are those it was rejected with."""

    partition: int
    offset: int
    received_at_ms: int
    rejected_at_ms: int
    reason: str
    sentence: str
    key: bytes | None
    value: bytes | None
    headers: Headers
    subject: str
    source: str
    event_id: str
    type: str

    @property
    def name(self) -> str:
        """PARTITION:OFFSET, as people write it."""
        return f"{self.partition}:{self.offset}"

    @property
    def coordinate(self) -> Coordinate:
        """What a replay of it names as its origin."""
        return (self.partition, self.offset, self.received_at_ms)

    @property
    def customer(self) -> str:
        """Whose it is: its subject, else its key."""
        return self.subject or (self.key or b"").decode("utf-8", "replace")

    @property
    def id(self) -> EventId | None:
        """What it counts once under; None where its bytes do not say it."""
        return (self.subject, self.source, self.event_id) if self.subject and self.source and self.event_id else None


class State(StrEnum):
    """What became of a letter. Only a `waiting` one is ever sent."""

    WAITING = "waiting"
    """nobody has sent it again"""
    SENT = "sent"
    """it was sent again; the meter's word is not archived yet"""
    COUNTED = "counted"
    """it was sent again and counted"""
    DUPLICATE = "duplicate"
    """it was sent again, and its id had been counted"""
    AGAIN = "again"
    """it was sent again and rejected again: the new letter waits in its place"""
    RESENT = "resent"
    """its id was counted, or is about to be judged, from another record: its producer sent it again"""
    GONE = "gone"
    """the archive no longer holds what came after it, so nobody can tell"""


class Fate(NamedTuple):
    """Where a record of an id or of an origin lies, and what the meter said of it ("": nothing yet)."""

    partition: int
    generation: int
    offset: int
    verdict: str
    reason: str = ""

    @property
    def name(self) -> str:
        """PARTITION:OFFSET."""
        return f"{self.partition}:{self.offset}"


class Standing(NamedTuple):
    """A letter's state, and the record that decides it."""

    state: State
    by: Fate | None = None


_BY_VERDICT: Final = {
    "counted": State.COUNTED,
    "": State.SENT,
    "rerouted": State.SENT,
    "control": State.SENT,
    "duplicate": State.DUPLICATE,
    "rejected": State.AGAIN,
    "too_late": State.AGAIN,
}
_BEST: Final = (State.COUNTED, State.SENT, State.DUPLICATE, State.AGAIN)
"""Should two replays of one letter exist (sent by something else than this command), the one that counts decides."""


def standing(letter: Letter, replays: Iterable[Fate], same_id: Iterable[Fate], *, is_gone: bool) -> Standing:
    """What became of the letter: `replays` name it as their origin, `same_id` are the other records of its id, counted or not judged yet."""
    found = sorted((_BEST.index(_BY_VERDICT[fate.verdict]), fate) for fate in replays)
    if found:
        return Standing(_BEST[found[0][0]], found[0][1])
    others = [fate for fate in same_id if fate.verdict in {"counted", ""} and (fate.partition, fate.offset) != (letter.partition, letter.offset)]
    if others:
        return Standing(State.RESENT, min(others, key=lambda fate: (fate.verdict != "counted", fate)))
    return Standing(State.GONE if is_gone else State.WAITING)


def origin_coordinate(headers: Headers) -> Coordinate | None:
    """The letter that a record names as its origin; None where it names none. A re-routed copy names one too, and no letter has its coordinate."""
    origin: Origin | None = named_origin(headers)
    if origin is None or origin.partition is None or origin.offset is None:
        return None
    return (origin.partition, origin.offset, origin.received_at_ms)
