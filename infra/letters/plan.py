"""What happens to each letter of a selection: sent, or why not. Pure, so that the preview and the deed are the same decision.

A letter is sent only where all of this holds: nobody sent it before; its id, as it would be sent, was not counted and is not on its way;
the meter would count it now; no letter before it in this run has the same id. Whatever is not sent stays where it is and is listed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple

from infra.letters import edits as transformations
from infra.letters.edits import Edits, Record
from infra.letters.json_text import CannotEdit
from infra.letters.judging import Judging, Verdict
from infra.letters.letter import Coordinate, EventId, Fate, Letter, Standing, State, origin_coordinate, standing
from topics.batch import Headers
from topics.origin import replay_headers


class Next(StrEnum):
    """What is done with a letter now."""

    SEND = "send"
    """it would be counted"""
    DONE = "done"
    """nothing: something became of it already (its state says what), or the archive cannot tell"""
    COUNTED_ID = "counted_id"
    """nothing: its id was counted, or is on its way: it would be a duplicate, or beyond `dedup` be counted twice"""
    COPY = "copy"
    """nothing: a letter before it has the same id"""
    REJECTED = "rejected"
    """nothing: it would be rejected again"""
    CANNOT_EDIT = "cannot_edit"
    """nothing: a transformation does not fit its bytes"""


STUCK = frozenset((Next.REJECTED, Next.CANNOT_EDIT))
"""What needs another fix."""


class Edited(NamedTuple):
    """A letter as it would be sent: `after` None where an edit failed, with why in `fault`."""

    letter: Letter
    after: Record | None
    headers: Headers
    verdict: Verdict | None
    fault: str = ""

    @property
    def before(self) -> Record:
        """As it was rejected."""
        return Record(self.letter.key, self.letter.value)

    @property
    def ids(self) -> list[EventId]:
        """The ids to look for among what was counted: as it was, and as it would be."""
        found = [self.letter.id, self.verdict.event if self.verdict is not None else None]
        return [one for one in found if one is not None]


class Planned(NamedTuple):
    """A letter with what became of it and what happens now; `by` is the record that stands against sending it."""

    edited: Edited
    standing: Standing
    next: Next
    sentence: str = ""
    by: Fate | None = None

    @property
    def letter(self) -> Letter:
        """The letter itself."""
        return self.edited.letter


@dataclass
class Known:
    """What is known of the log beside the letters: replays by origin, counted or undecided records by id, letters whose past is gone.

    `tail` are the records that were read from the log itself because they may not be archived yet.
    """

    replays: Mapping[Coordinate, Sequence[Fate]]
    gone: set[Coordinate]
    tail_replays: Mapping[Coordinate, Sequence[Fate]] = field(default_factory=dict)
    tail_ids: Mapping[EventId, Sequence[Fate]] = field(default_factory=dict)
    tail: set[Coordinate] = field(default_factory=set)

    def standing(self, letter: Letter, same: Mapping[EventId, Sequence[Fate]]) -> Standing:
        """What became of a letter; `same` are the archived records of its id."""
        at = letter.coordinate
        sent = (*self.replays.get(at, ()), *self.tail_replays.get(at, ()))
        return standing(letter, sent, self.of_id(letter.id, same), is_gone=at in self.gone and at not in self.tail)

    def of_id(self, event: EventId | None, same: Mapping[EventId, Sequence[Fate]]) -> list[Fate]:
        """Records of an id that are counted or undecided."""
        return [] if event is None else [*same.get(event, ()), *self.tail_ids.get(event, ())]


def edited(letter: Letter, edits: Edits, judging: Judging, said: bytes = b"{}") -> Edited:
    """The letter with the edits, and what the meter would say of it."""
    headers = replay_headers(letter.headers, letter.partition, letter.offset, letter.received_at_ms, said)
    try:
        after = transformations.apply(edits, Record(letter.key, letter.value))
    except CannotEdit as error:
        return Edited(letter, None, headers, None, str(error))
    return Edited(letter, after, headers, judging.verdict(after, headers))


def decide(
    page: Iterable[Edited], known: Known, same: Mapping[EventId, Sequence[Fate]], taken: dict[EventId, Letter], sent: set[Coordinate]
) -> list[Planned]:
    """What happens to each; `taken` are the ids sent in this run so far, `sent` its letters: both grow."""
    found: list[Planned] = []
    for one in page:
        planned = _one(one, known, same, taken, sent)
        if planned.next is Next.SEND:
            sent.add(one.letter.coordinate)
            if one.verdict is not None and one.verdict.event is not None:
                taken[one.verdict.event] = one.letter
        found.append(planned)
    return found


def _one(one: Edited, known: Known, same: Mapping[EventId, Sequence[Fate]], taken: Mapping[EventId, Letter], sent: set[Coordinate]) -> Planned:
    letter = one.letter
    stands = known.standing(letter, same)
    if stands.state is not State.WAITING:
        return Planned(one, stands, Next.DONE, state_sentence(stands), stands.by)
    if origin_coordinate(letter.headers) in sent:
        return Planned(one, stands, Next.DONE, "it is what this very run sent and the meter rejected again")
    if one.verdict is None:
        return Planned(one, stands, Next.CANNOT_EDIT, one.fault)
    if not one.verdict.counts:
        return Planned(one, stands, Next.REJECTED, f"{one.verdict.reason}: {one.verdict.sentence}")
    others = [fate for fate in known.of_id(one.verdict.event, same) if (fate.partition, fate.offset) != (letter.partition, letter.offset)]
    if others:
        by = min(others, key=lambda fate: (fate.verdict != "counted", fate))
        what = "was counted" if by.verdict == "counted" else "is on its way"
        return Planned(one, stands, Next.COUNTED_ID, f"its id {what} at {by.name}", by)
    first = taken.get(one.verdict.event) if one.verdict.event is not None else None
    if first is not None:
        return Planned(one, stands, Next.COPY, f"{first.name} has the same id and goes before it")
    return Planned(one, stands, Next.SEND)


def state_sentence(stands: Standing) -> str:
    """A state in words."""
    at = f" at {stands.by.name}" if stands.by is not None else ""
    return {
        State.WAITING: "nobody has sent it again",
        State.SENT: f"it was sent again{at}; the meter's word is not archived yet",
        State.COUNTED: f"it was sent again and counted{at}",
        State.DUPLICATE: f"it was sent again{at} and was a duplicate: its id had been counted",
        State.AGAIN: f"it was sent again and rejected again{at} ({stands.by.reason if stands.by else ''}): that letter waits in its place",
        State.RESENT: f"its producer sent it again itself{at}",
        State.GONE: "the archive no longer holds its record, so it cannot tell whether it was sent again; it is never sent",
    }[stands.state]
