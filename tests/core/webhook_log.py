"""A log for the receiver's tests: the meter's own fold decides what a published record puts in force, and nothing is asynchronous."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import msgspec

from infra.control import meters_event
from infra.proposal import Answer, Publication
from infra.webhooks.log import Outgoing
from streams.control import fold_control
from streams.state import PartitionState
from topics.catalog import EVENTS, NOTICES
from topics.definitions import Definition, Definitions
from topics.errors import Unreachable
from topics.event import Event, parse_event
from topics.meters import Meter, Timing
from topics.notices import NoticeRecord

METERS = tuple(Meter(slug=slug, event_type="api.request") for slug in ("calls", "calls_new"))


@dataclass
class FoldedLog:
    """`down`: Kafka does not answer. `unanswered`: no meter runs. `before`: called once, just before the next binding reaches the log."""

    partitions: int = 3
    down: bool = False
    unanswered: bool = False
    before: list[Callable[[], None]] = field(default_factory=list)
    records: list[Outgoing] = field(default_factory=list)
    refusals: list[str] = field(default_factory=list)
    published: list[Definition] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.states = [PartitionState(partition, self.partitions, b"k" * 16) for partition in range(self.partitions)]
        for partition in range(self.partitions):
            self.fold(partition, *meters_event(Timing(), METERS, None)[:2])

    def fold(self, partition: int, key: bytes, value: bytes) -> str | None:
        """One control record, folded; the sentence of a refusal."""
        event = parse_event(value)
        assert isinstance(event, Event)
        found = fold_control(self.states[partition], event, key, len(self.records))
        if isinstance(found, str):
            self.refusals.append(found)
            return found
        for definition in found:
            self.states[partition].definitions.apply(definition)
        self.published += found
        return None

    async def held(self, partition: int) -> Definitions:
        """As published."""
        self._reach()
        return self.states[partition].definitions

    async def publish(self, records: Sequence[Outgoing]) -> None:
        """Acknowledged and folded."""
        self._reach()
        for record in records:
            self.records.append(record)
            if record.topic == EVENTS and record.partition is not None:
                self.fold(record.partition, record.key, record.value)

    async def put_in_force(self, publication: Publication) -> Answer:
        """As the meter answers."""
        self._reach()
        if self.before:
            self.before.pop()()
        self.records.append(Outgoing(EVENTS, publication.partition, publication.event.key, publication.event.value))
        if self.unanswered:
            return Answer(publication.partition, publication.customer, "no answer", sentence="no meter answered")
        refused = self.fold(publication.partition, publication.event.key, publication.event.value)
        return Answer(publication.partition, publication.customer, "refused" if refused else "in force", sentence=refused or "")

    def _reach(self) -> None:
        if self.down:
            raise Unreachable("Kafka does not answer")

    def of(self, event_type: str) -> list[Event]:
        """The control records of one type, in order."""
        events = [parse_event(record.value) for record in self.records if record.topic == EVENTS]
        return [event for event in events if isinstance(event, Event) and event.type == event_type]

    def notices(self) -> list[NoticeRecord]:
        """What applications are told, in order."""
        decoder = msgspec.json.Decoder(NoticeRecord)
        return [decoder.decode(record.value) for record in self.records if record.topic == NOTICES]
