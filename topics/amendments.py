"""`tidemark.amend`: a correction that is an event of its own in the log, with who made it and why. What it corrects stays as it was.

Like a reversal in a ledger: each posting adds a signed difference to one window, as an event would, under the amendment's own id and source, and
at the record's `time`, which lies in every window that it posts to (the amended event's own time). So a window's total, its content hash, the
archive's recount and a replay need no second rule for it. Whether it acts is decided by the fold (`streams/amending.py`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Container
from typing import Final, Literal, NamedTuple

import msgspec

from topics.codec import CONTROL_VERSION, Stored, digest
from topics.control_data import read_data
from topics.event import Event
from topics.instants import US_PER_S, format_us, parse_s, parse_us
from topics.quantity import BadQuantity, OutOfRange, parse, parse_total
from topics.windows import Window

AMEND_TYPE: Final = "tidemark.amend"
Kind = Literal["void", "set", "correct", "accept"]
"""`void`: one event counts nothing any more · `set`: it counts another quantity · `correct`: a window's total is corrected by a difference that no
single event explains (a replay, a reconciliation) · `accept`: somebody looked at an event that a reconciliation found (a copy beyond the dedup
promise, a second body) and leaves it as it is; it posts nothing, and acts in final windows too."""
NO_ROW: Final = -1
"""`generation` and `through_offset` of a `correct` posting that expects no row: nothing of its window was counted."""
ALREADY: Final = "it was taken already: the same amendment is in force"
"""Why the second copy of an amendment is refused: nothing is wrong then."""
_HASH: Final = re.compile(r"[0-9a-f]{64}")
MAX_WORDS: Final = 1000
"""Characters of `reason` and of `who`: a paragraph. The meter keeps every amendment that acts for as long as its own changelog."""


class Of(msgspec.Struct, frozen=True, kw_only=True):
    """The event that is amended, by its name and by its coordinate on `usage.events`; the coordinate is what counts."""

    source: str
    id: str
    partition: int
    generation: int
    offset: int


class Rebuilt(msgspec.Struct, frozen=True, kw_only=True):
    """What the log itself adds a window up to at a revision: its total as a decimal string, and the content hash."""

    quantity: str
    hash: str


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """A signed difference for one window: `start`, `end` RFC 3339, `quantity` a decimal string.

    A `correct` names the revision of the window that it was computed from (`NO_ROW` twice: there was none), so that a stale one never acts.
    With `rebuilt` the window first takes what the log says of that revision (`tidemark replay --apply`): a table that was damaged is healed by it,
    and for one that is right, as for any recount, it changes nothing.
    """

    meter: str
    start: str
    end: str
    quantity: str
    generation: int | None = None
    through_offset: int | None = None
    rebuilt: Rebuilt | None = None


class AmendRecord(msgspec.Struct, frozen=True, kw_only=True):
    """`data` of a `tidemark.amend` record, keyed by the customer, on its home.

    `replaces` is the digest of the amendment of the same event that is in force ("": none): of two that were made at once, one acts.
    """

    v: int = CONTROL_VERSION
    kind: Kind
    of: Of | None = None
    postings: tuple[Entry, ...]
    replaces: str = ""
    reason: str
    who: str


class Amendment(Stored, frozen=True, kw_only=True):
    """An amendment that acts, as published to `usage.definitions`, key `["amendment", customer, generation, offset]`.

    `event_id`, `source` and `time` are those of the record at (`generation`, `offset`): with them its postings are hashed. `digest` names it.
    """

    kind: str = "amendment"
    customer: str
    said: AmendRecord
    event_id: str
    source: str
    time: str
    generation: int
    offset: int
    digest: str

    @property
    def coordinate(self) -> tuple[int, int]:
        """(generation, offset): of two amendments the greater one came later."""
        return (self.generation, self.offset)


class Difference(NamedTuple):
    """What one window takes: a signed quantity × 10¹²; a posting, as an event's."""

    window: Window
    scaled: int


class Reading(NamedTuple):
    """What an amendment's record says, checked as far as the record alone allows."""

    record: AmendRecord
    time_us: int
    postings: tuple[Difference, ...]
    digest: str


def read_amendment(event: Event) -> Reading | str:
    """The record of an event of type `tidemark.amend`, or why it cannot be one. Depends on nothing but the event."""
    record = read_data(event.data, AmendRecord)
    if isinstance(record, str):
        return record
    if problem := _problem(record):
        return problem
    time_us = None if event.time is None else parse_us(event.time)
    if time_us is None:
        return "the record's time must be an RFC 3339 instant: that of the amended event, or the window's start"
    postings: list[Difference] = []
    for entry in record.postings:
        posting = _difference(event.subject, entry, time_us)
        if isinstance(posting, str):
            return posting
        postings.append(posting)
    return Reading(record, time_us, tuple(postings), amendment_digest(event.subject, time_us, record))


def amendment_digest(customer: str, time_us: int, record: AmendRecord) -> str:
    """The name of an amendment: SHA-256 of what it says."""
    return digest([AMEND_TYPE, customer, time_us, record])


def _problem(record: AmendRecord) -> str | None:
    """What is wrong with a record by itself."""
    if (record.kind == "accept") == bool(record.postings):
        return "kind 'accept' posts to no window" if record.postings else "it posts to no window"
    if len({entry.meter for entry in record.postings}) < len(record.postings):
        return "it posts twice to one meter"
    for name, words in (("reason", record.reason), ("who", record.who)):
        if not words.strip():
            return f"{name} is empty"
        if len(words) > MAX_WORDS:
            return f"{name} has {len(words)} characters; at most {MAX_WORDS} are kept"
    is_correct = record.kind == "correct"
    if is_correct != (record.of is None):
        return "kind 'correct' names no event" if is_correct else f"kind {record.kind!r} names an event, and this record none"
    if record.replaces and record.kind not in {"void", "set"}:
        return f"kind {record.kind!r} replaces no amendment"
    for entry in record.postings:
        named = [number is not None for number in (entry.generation, entry.through_offset)]
        if named != [is_correct, is_correct]:
            return f"a posting of kind {record.kind!r} names {'the revision that it was computed from' if is_correct else 'no revision'}"
        if entry.rebuilt is not None and (problem := _rebuilt_problem(entry, entry.rebuilt, is_correct=is_correct)):
            return problem
    return None


def _rebuilt_problem(entry: Entry, rebuilt: Rebuilt, *, is_correct: bool) -> str | None:
    if not is_correct or entry.through_offset == NO_ROW:
        return "only a correction of a revision says what the log adds up to there"
    try:
        parse_total(rebuilt.quantity)
    except BadQuantity as error:
        return f"the rebuilt total {rebuilt.quantity[:40]!r} cannot be used: {error}"
    return None if _HASH.fullmatch(rebuilt.hash) else f"{rebuilt.hash[:70]!r} is no content hash"


def _difference(customer: str, entry: Entry, time_us: int) -> Difference | str:
    start_s, end_s = parse_s(entry.start), parse_s(entry.end)
    if start_s is None or end_s is None or start_s >= end_s:
        return f"{entry.start[:40]!r} … {entry.end[:40]!r} is no window"
    if not start_s * US_PER_S <= time_us < end_s * US_PER_S:
        return f"the record's time {format_us(time_us)} lies outside of its window {entry.start} … {entry.end}"
    try:
        return Difference(Window(customer, entry.meter, start_s, end_s), parse(entry.quantity))
    except (BadQuantity, OutOfRange) as error:
        return f"the quantity {entry.quantity[:40]!r} of meter {entry.meter[:60]!r} cannot be posted: {error}"


class Link(NamedTuple):
    """The newest amendment of one event: its own coordinate, its digest, and until when it may matter."""

    coordinate: tuple[int, int]
    digest: str
    customer: str
    until_s: int


KEPT_AFTER_END_S: Final = 86_400
"""An event's windows are at most a day long and hold one instant, so a day after the end of one of them all have ended."""


NEVER_S: Final = 1 << 62


class Chain:
    """Of each amended event the amendment in force, as long as any window of the event may still change.

    `through`: Σ (1 + offset) of links; `first_until_s`: no link can be over before. Both are kept as links come and go: a flush asks for them, and
    there may be many thousand links.
    """

    def __init__(self) -> None:
        self._links: dict[tuple[int, int], Link] = {}
        self._aside: dict[tuple[int, int], Link] = {}
        """Links that are over but for their customer's test clock: they hold, and are not in the sum. Each event has one link, here or there."""
        self.through = 0
        self.first_until_s = NEVER_S

    def learn(self, amendment: Amendment) -> None:
        """One more that acts, in any order; learning it again changes nothing."""
        of = amendment.said.of
        if of is None or not amendment.said.postings:
            return
        event = (of.generation, of.offset)
        held = self._links.get(event)
        known = held or self._aside.get(event)
        if known is None or known.coordinate < amendment.coordinate:
            ends = [parse_s(entry.end) or 0 for entry in amendment.said.postings]
            link = Link(amendment.coordinate, amendment.digest, amendment.customer, max(ends) + KEPT_AFTER_END_S)
            self._aside.pop(event, None)
            self._links[event] = link
            self.through += 1 + link.coordinate[1] - (0 if held is None else 1 + held.coordinate[1])
            self.first_until_s = min(self.first_until_s, link.until_s)

    def in_force(self, generation: int, offset: int) -> str:
        """The digest of the event's newest amendment; "" where it has none."""
        held = self._links.get((generation, offset)) or self._aside.get((generation, offset))
        return "" if held is None else held.digest

    def links(self) -> list[Link]:
        """All of them, in the order of the log."""
        return sorted([*self._links.values(), *self._aside.values()])

    def forget(self, is_over: Callable[[Link], bool], lasting: Container[str]) -> None:
        """Let go of what is over; of `lasting` customers it is put aside. Links of theirs that are not over now will never be."""
        over = {event: link for event, link in self._links.items() if is_over(link)}
        self._aside |= {event: link for event, link in over.items() if link.customer in lasting}
        self._links = {event: link for event, link in self._links.items() if event not in over}
        self.through = sum(1 + link.coordinate[1] for link in self._links.values())
        self.first_until_s = min((link.until_s for link in self._links.values() if link.customer not in lasting), default=NEVER_S)


__all__ = [
    "ALREADY", "AMEND_TYPE", "NO_ROW", "AmendRecord", "Amendment", "Chain", "Difference", "Entry", "Kind", "Of", "Reading", "Rebuilt",
    "amendment_digest", "read_amendment",
]  # fmt: skip
