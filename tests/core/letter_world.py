"""A world for dead letters: logs of four partitions with transactions, a meter for each, an archive that lags, operators who are killed."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from infra.letters.archive import Said, Selection
from infra.letters.letter import Coordinate, EventId, Fate, Letter, origin_coordinate
from infra.letters.replay import Outgoing
from infra.letters.tail import Tail
from tests.core.meterlog import NOW_MS, PARTITIONS, Disk, Log, Stored, fresh, meters_record
from topics.batch import Batch
from topics.catalog import DEFINITIONS, REJECTED, VERDICTS
from topics.definitions import decode_definition
from topics.errors import TidemarkError
from topics.event import Event, parse_event
from topics.meters import Meter, Timing
from topics.rejected import read_rejected
from topics.verdict import Mark, decode_verdict

METERS = (Meter(slug="calls", event_type="api.request", value="n", window_s=60), Meter(slug="pings", event_type="ping", window_s=3600))
PAGE = 7
"""Small, so that a run has several pages."""


class Killed(BaseException):
    """The process is gone: nothing may catch it."""


class Partition:
    """One partition: its log, the meter that folds it (the product's own), and what the meter said."""

    def __init__(self, number: int, timing: Timing, rng: random.Random) -> None:
        self.number = number
        self.log = Log()
        self.log.add(*meters_record(METERS, timing), NOW_MS)
        self.meter = fresh(Disk(), rng)
        self.meter.state.partition = number
        self.said: dict[str, list[Any]] = {VERDICTS: [], REJECTED: [], DEFINITIONS: []}
        self.folded = 0

    def fold(self, rng: random.Random, upto: int) -> None:
        """The meter reads on, and flushes."""
        for batch in self.log.batches(self.folded, rng, upto):
            self.meter.apply(Batch(**{name: getattr(batch, name) for name in Batch.__slots__} | {"partition": self.number}))
        self.folded = max(self.folded, upto)
        flush = self.meter.begin_flush()
        if flush is not None:
            for send in (*flush.first, *flush.last):
                if send.topic in self.said:
                    self.said[send.topic].append(send)
            self.meter.end_flush(flush)


class World:
    """All of it. `now_ms` is the broker's and the operators' clock; it moves with `pass_`."""

    def __init__(self, seed: int, timing: Timing) -> None:
        self.rng = random.Random(seed)
        self.now_ms = NOW_MS + 1
        self.partitions = [Partition(number, timing, self.rng) for number in range(PARTITIONS)]
        self.epoch = 0
        self.archived = [0] * PARTITIONS
        """Raw records, by partition; letters and verdicts are as far as the meter."""
        self.dropped_before_ms = 0

    def append(self, partition: int, key: bytes | None, value: bytes | None, headers: Any = ()) -> int:
        """One record at the broker's time."""
        return self.partitions[partition].log.add(key, value, self.now_ms, tuple(headers))

    def fold(self, *, all_: bool = False) -> None:
        """Every meter reads on to somewhere, or to the end; the archive follows to somewhere at or below."""
        for each in self.partitions:
            upto = each.log.end if all_ else self.rng.randint(each.folded, each.log.end)
            each.fold(self.rng, upto)
            low = self.archived[each.number]
            self.archived[each.number] = each.folded if all_ else self.rng.randint(low, each.folded)


class ModelLog:
    """`replay.Log` over the world, of one operator. `kill` is asked at every point where a process may die."""

    def __init__(self, world: World, kill: Any = lambda: False) -> None:
        self.world = world
        self.kill = kill
        self.partitions = PARTITIONS
        self.epoch = -1

    def _die(self) -> None:
        if self.kill():
            raise Killed

    async def open(self) -> None:
        """See `replay.Log`."""
        self._die()
        self.world.epoch += 1
        self.epoch = self.world.epoch
        self._die()

    async def tail(self, archived_to: Mapping[int, int]) -> Tail:
        """See `replay.Log`."""
        self._die()
        tail = Tail()
        for each in self.world.partitions:
            for record in each.log.records:
                if record.offset >= archived_to.get(each.number, 0):
                    tail.take(each.number, _Record(record))
        self._die()
        return tail

    async def send(self, records: Sequence[Outgoing]) -> None:
        """See `replay.Log`: whole or not at all, and never after another operator has opened it."""
        self._die()
        if self.epoch != self.world.epoch:
            raise TidemarkError("fenced")
        for each in records:
            self.world.append(each.partition, each.key, each.value, each.headers)
        for partition in {each.partition for each in records}:
            self.world.partitions[partition].log.marker()
        self._die()


class _Record:
    """A stored record as the Kafka client gives it."""

    def __init__(self, stored: Stored) -> None:
        self.offset, self.key, self.value, self.headers, self.timestamp = stored.offset, stored.key, stored.value, stored.headers, stored.timestamp_ms


class ModelArchive:
    """`replay.Archive` over the world: raw records to where it is, letters and verdicts to where the meter is."""

    def __init__(self, world: World) -> None:
        self.world = world

    def archived_to(self) -> dict[int, int]:
        """See `LetterArchive`."""
        return dict(enumerate(self.world.archived))

    def definitions(self) -> list[Said]:
        """See `LetterArchive`."""
        return [
            Said(each.number, decode_definition(send.value, "model"), NOW_MS) for each in self.world.partitions for send in each.said[DEFINITIONS]
        ]

    def letters(self) -> list[Letter]:
        """All of them, the oldest first."""
        found = []
        for each in self.world.partitions:
            for send in each.said[REJECTED]:
                said = read_rejected(send.key, send.value, tuple(send.headers), "model")
                event = parse_event(said.value)
                known = event if isinstance(event, Event) else Event("1.0", "", "", "", "")
                if not isinstance(event, Event) and event.event is not None:
                    known = event.event
                at = (said.partition, said.offset, said.received_at_ms, said.received_at_ms)
                named = (known.subject, known.source, known.id, known.type)
                found.append(Letter(*at, said.reason, said.sentence, said.key, said.value, said.headers, *named))
        return sorted(found, key=lambda letter: (letter.received_at_ms, letter.partition, letter.offset))

    def pages(self, selection: Selection) -> Iterator[list[Letter]]:
        """See `LetterArchive`; each page is read when it is asked for."""
        after: tuple[int, ...] = (-1, -1, -1)
        while True:
            at = [letter for letter in self.letters() if (letter.received_at_ms, letter.partition, letter.offset) > after]
            page = [letter for letter in at if selection.reason in {"", letter.reason}][:PAGE]
            if page:
                yield page
            if len(page) < PAGE:
                return
            after = (page[-1].received_at_ms, page[-1].partition, page[-1].offset)

    def _raw(self) -> Iterator[tuple[Fate, Stored]]:
        for each in self.world.partitions:
            verdicts = {}
            mark = 0
            for send in each.said[VERDICTS]:
                said = decode_verdict(send.value, "model")
                if isinstance(said, Mark):
                    mark = max(mark, said.next_offset)
                else:
                    verdicts[said.offset] = said
            for record in each.log.records:
                if record.offset >= self.world.archived[each.number] or record.timestamp_ms < self.world.dropped_before_ms:
                    continue
                verdict = verdicts.get(record.offset)
                word = verdict.verdict if verdict is not None else "counted" if record.offset < mark else ""
                yield Fate(each.number, 0, record.offset, word, "" if verdict is None else verdict.reason), record

    def replays(self, since_ms: int) -> dict[Coordinate, list[Fate]]:
        """See `LetterArchive`."""
        found: dict[Coordinate, list[Fate]] = defaultdict(list)
        for fate, record in self._raw():
            if (origin := origin_coordinate(record.headers)) is not None and record.timestamp_ms >= since_ms - 86_400_000:
                found[origin].append(fate)
        return found

    def gone(self, selection: Selection) -> set[Coordinate]:
        """See `LetterArchive`."""
        there = {(fate.partition, fate.offset) for fate, _ in self._raw()}
        return {letter.coordinate for letter in self.letters() if (letter.partition, letter.offset) not in there}

    def same_ids(self, ids: Iterable[EventId]) -> dict[EventId, list[Fate]]:
        """See `LetterArchive`."""
        wanted, found = set(ids), defaultdict[EventId, list[Fate]](list)
        for fate, record in self._raw():
            event = parse_event(record.value)
            if isinstance(event, Event) and (event.subject, event.source, event.id) in wanted and fate.verdict in {"counted", ""}:
                found[event.subject, event.source, event.id].append(fate)
        return found
