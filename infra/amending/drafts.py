"""What an amendment says, from what is known of the event or of the window that it corrects. Pure.

    void(original, reason, who)                    the event counts nothing any more, on any meter
    set_to(original, scaled, meter, reason, who)   it counts another quantity on one meter
    accept(original, reason, who)                  it was looked at and stays as it is: posts nothing
    correct(window, scaled, revision, reason, who) a window's total is corrected by a difference
    rebuild(window, scaled, hash, revision, …)     a window is to hold what its log adds up to

Each gives a `Draft`; `publishing.publish` writes drafts to the log and says what the meter made of each.
"""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from infra.control import ControlEvent, amend_event
from topics.amendments import MAX_WORDS, NO_ROW, AmendRecord, Entry, Kind, Of, Rebuilt
from topics.errors import TidemarkError, UsageError
from topics.instants import US_PER_MS, US_PER_S, format_s, format_us
from topics.quantity import LIMIT, ONE, format_scaled
from topics.windows import Window


class NothingToDo(TidemarkError):
    """What is asked for is so already."""


class Share(NamedTuple):
    """What an event counts on one meter: as it came, and now, after the amendments that act. × 10¹²."""

    window: Window
    was_scaled: int
    now_scaled: int


class Past(NamedTuple):
    """An earlier amendment of the event that acts."""

    kind: Kind
    who: str
    reason: str
    received_at_ms: int
    digest: str


class Original(NamedTuple):
    """A record of `usage.events` as the archive has it, with what was made of it since."""

    of: Of
    customer: str
    type: str
    occurred_at_us: int
    received_at_ms: int
    verdict: str
    sentence: str
    shares: tuple[Share, ...]
    history: tuple[Past, ...] = ()

    @property
    def name(self) -> str:
        """For people."""
        return f"event {self.of.id!r} of source {self.of.source!r} ({self.of.partition}:{self.of.offset})"

    @property
    def replaces(self) -> str:
        """The digest of the amendment in force ("": none)."""
        return self.history[-1].digest if self.history else ""


class Draft(NamedTuple):
    """An amendment that is not published yet. `time_us` is the instant at which it counts."""

    customer: str
    time_us: int
    record: AmendRecord

    def event(self) -> ControlEvent:
        """The control record; the same draft gives the same bytes."""
        return amend_event(self.customer, self.time_us, self.record)


def void(original: Original, reason: str, who: str) -> Draft:
    """The event counts nothing any more. Raises NothingToDo where it counts nothing already, TidemarkError where it never did."""
    _must_count(original)
    postings = [_entry(share.window, -share.now_scaled) for share in original.shares if share.now_scaled]
    if not postings and original.history:
        last = original.history[-1]
        by = f"{last.who} amended it at {format_us(last.received_at_ms * US_PER_MS)} ({last.reason})"
        raise NothingToDo(f"{original.name} counts nothing already: {by}; `tidemark amend set` gives it a quantity")
    if not postings:
        raise NothingToDo(f"{original.name} was counted with quantity 0: there is nothing to void")
    return _of_event(original, "void", postings, reason, who)


def set_to(original: Original, scaled: int, meter: str | None, reason: str, who: str) -> Draft:
    """The event counts `scaled` × 10⁻¹² on a meter (None: on its only one). Raises NothingToDo where it does already, TidemarkError, UsageError."""
    _must_count(original)
    meters = [share.window.meter for share in original.shares]
    if meter is None and len(meters) > 1:
        raise UsageError(f"{original.name} counts on several meters: say which one with --meter: {', '.join(meters)}")
    share = next((share for share in original.shares if meter in {None, share.window.meter}), None)
    if share is None:
        raise UsageError(f"{original.name} counts on no meter {meter!r}, but on {', '.join(meters)}")
    if scaled == share.now_scaled:
        raise NothingToDo(f"{original.name} counts {format_scaled(scaled)} on meter {share.window.meter!r} already")
    return _of_event(original, "set", [_entry(share.window, scaled - share.now_scaled)], reason, who)


def accept(original: Original, reason: str, who: str) -> Draft:
    """The event was looked at and stays as it is; of any verdict."""
    return _of_event(original, "accept", [], reason, who)


def correct(window: Window, scaled: int, revision: tuple[int, int] | None, reason: str, who: str) -> Draft:
    """A window's total is corrected by `scaled` × 10⁻¹², computed from its `revision` (generation, through_offset): where the window has moved on
    by the time the meter reads it, it is refused. None: nothing of the window is counted, and the correction begins it.
    """
    generation, through_offset = (NO_ROW, NO_ROW) if revision is None else revision
    posting = _entry(window, scaled, generation, through_offset)
    record = AmendRecord(kind="correct", postings=(posting,), reason=kept("reason", reason), who=kept("who", who))
    return Draft(window.customer, window.start_s * US_PER_S, record)


def rebuild(window: Window, scaled: int, content_hash: str, revision: tuple[int, int], reason: str, who: str) -> Draft:
    """A window is to hold what its log adds up to at a revision: `scaled` × 10⁻¹² and a content hash. Where it holds that, nothing changes but its
    revision; where it has moved on, the meter refuses.
    """
    posting = msgspec.structs.replace(_entry(window, 0, *revision), rebuilt=Rebuilt(quantity=format_scaled(scaled), hash=content_hash))
    record = AmendRecord(kind="correct", postings=(posting,), reason=kept("reason", reason), who=kept("who", who))
    return Draft(window.customer, window.start_s * US_PER_S, record)


def _must_count(original: Original) -> None:
    if original.verdict == "counted":
        return
    why = f": {original.sentence}" if original.sentence else ""
    remedies = {
        "duplicate": "it is a copy and counts nothing; amend the copy that was counted (its smallest offset)",
        "rejected": f"it was rejected and counts nothing{why}; `tidemark dead-letters` puts it right and replays it",
        "too_late": f"it came too late and counts nothing{why}",
        "rerouted": "it was sent to its home partition; amend it there",
        "control": "it is a control record of ours, no usage; an amendment is replaced by amending its event again",
    }
    raise TidemarkError(f"{original.name}: {remedies.get(original.verdict, 'it is not counted')}")


def _of_event(original: Original, kind: Kind, postings: list[Entry], reason: str, who: str) -> Draft:
    record = AmendRecord(
        kind=kind,
        of=original.of,
        postings=tuple(postings),
        replaces="" if kind == "accept" else original.replaces,
        reason=kept("reason", reason),
        who=kept("who", who),
    )
    return Draft(original.customer, original.occurred_at_us, record)


def _entry(window: Window, scaled: int, generation: int | None = None, through_offset: int | None = None) -> Entry:
    if abs(scaled) > LIMIT * ONE:
        raise UsageError(f"a difference of {format_scaled(scaled)} is more than any event may count (10^18)")
    return Entry(
        meter=window.meter,
        start=format_s(window.start_s),
        end=format_s(window.end_s),
        quantity=format_scaled(scaled),
        generation=generation,
        through_offset=through_offset,
    )


def kept(name: str, words: str) -> str:
    """As they are kept. Raises UsageError where there are none, or too many."""
    words = words.strip()
    if not words:
        raise UsageError(f"an amendment needs a {name}: it is kept with it for ever (--{name} TEXT)")
    if len(words) > MAX_WORDS:
        raise UsageError(f"the {name} has {len(words)} characters; at most {MAX_WORDS} are kept")
    return words
