"""What the meter would say of a letter now, and what it would have been worth: the product's own judging on the archive's definitions. Pure.

A preview: it knows the definitions that are archived and the time it is given, not the ids that the meter holds in memory (the archive's
counted ids are asked instead) and not what is put in force until the letter is sent.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from fractions import Fraction
from typing import NamedTuple

from infra.letters.archive import Said
from infra.letters.edits import Record
from infra.letters.letter import EventId, Letter
from topics.batch import Headers
from topics.bindings import Item
from topics.definitions import Definitions
from topics.event import CONTROL_PREFIX, Event, Rejection, parse_event
from topics.home import home_of
from topics.instants import US_PER_MS
from topics.judging import Control, Posting, Rerouted, Setting, Usage, judge, occurred_at, postings_of
from topics.meters import TimingVersion
from topics.quantity import ONE, format_scaled
from topics.windows import Window


class Share(NamedTuple):
    """What a letter adds to one window: exact quantity × 10¹², and the item that bills it (None: nobody is told to)."""

    window: Window
    scaled: int
    item: Item | None

    @property
    def quantity(self) -> str:
        """As a decimal."""
        return format_scaled(self.scaled)

    @property
    def units(self) -> Fraction:
        """quantity × scale: what the provider would be told."""
        scale = Fraction(self.item.scale) if self.item is not None else Fraction(1)
        return Fraction(self.scaled, ONE) * scale


class Verdict(NamedTuple):
    """What the meter would say: its shares, or the reason why not. `event` is the id that it would count under, where one can be read."""

    shares: tuple[Share, ...]
    reason: str = ""
    sentence: str = ""
    event: EventId | None = None

    @property
    def counts(self) -> bool:
        """Whether it would be counted (unless its id is)."""
        return not self.reason


@dataclass
class Judging:
    """Definitions of every partition, and up to when each had made everything final by the last change of its timings."""

    partitions: int
    now_ms: int
    in_force: dict[int, Definitions] = field(default_factory=dict)
    final_us: dict[int, int] = field(default_factory=dict)

    @classmethod
    def of(cls, partitions: int, now_ms: int, said: Iterable[Said]) -> Judging:
        """From what was put in force, in order."""
        made = cls(partitions, now_ms)
        for partition, definition, said_ms in said:
            held = made.in_force.setdefault(partition, Definitions())
            if isinstance(definition, TimingVersion) and held.meters_digest is not None and said_ms:
                # The log's now was at least this when the horizon changed, and what is final stays final (law 10).
                final_us = (said_ms - held.timing.horizon_ms) * US_PER_MS
                made.final_us[partition] = max(made.final_us.get(partition, final_us), final_us)
            held.apply(definition)
        return made

    def _setting(self, key: bytes) -> Setting:
        home = home_of(key, self.partitions)
        definitions = self.in_force.get(home, Definitions())
        final_us = (self.now_ms - definitions.timing.horizon_ms) * US_PER_MS
        return Setting(home, self.partitions, self.now_ms, max(final_us, self.final_us.get(home, final_us)), definitions)

    def verdict(self, record: Record, headers: Headers) -> Verdict:
        """What the meter would say of the record, sent to its home with these headers now."""
        setting = self._setting(record.key or b"")
        judged = judge(record.key, record.value, headers, self.now_ms, setting)
        if isinstance(judged, Usage):
            return Verdict(_shares(judged.postings, setting.definitions), event=id_of(judged.event))
        if isinstance(judged, Control):
            return Verdict((), "bad_control", "a control record is no usage; `tidemark apply` writes those", id_of(judged.event))
        if isinstance(judged, Rerouted):  # it is judged at its home
            return Verdict((), "routing_loop", "it would lie on a partition that is not its home", id_of(judged.event))
        return Verdict((), judged.reason, judged.sentence, id_of(judged.event))

    def worth(self, letter: Letter) -> tuple[Share, ...]:
        """What it would have counted, whatever it was rejected for, where customer, meter and quantity can be read; else nothing. Never a guess."""
        event = parse_event(letter.value)
        if isinstance(event, Rejection) or event.type.startswith(CONTROL_PREFIX):
            return ()
        at_us = occurred_at(event, letter.received_at_ms)
        if isinstance(at_us, Rejection):
            return ()
        definitions = self._setting(event.subject.encode()).definitions
        postings = postings_of(event, at_us, definitions)
        return () if isinstance(postings, Rejection) else _shares(postings, definitions)


def id_of(event: Event | None) -> EventId | None:
    """What an event counts once under."""
    return None if event is None else (event.subject, event.source, event.id)


def _shares(postings: Iterable[Posting], definitions: Definitions) -> tuple[Share, ...]:
    return tuple(
        Share(window, scaled, definitions.item_at(window.customer, window.meter, window.start_s)) for window, scaled in postings
    )
