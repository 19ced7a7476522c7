"""The meter of one partition: the product's `MeterPartition` on a log and a changelog that are lists, killed and recovered at will."""

from __future__ import annotations

import dataclasses
import random
from typing import Any

from streams.partition import MeterPartition
from tests.core.meterlog import Disk, Log, batch_of
from topics.batch import Batch
from topics.catalog import DEFINITIONS, STATE, WINDOWS
from topics.definitions import Definition, decode_definition


class Counting:
    """One partition's log, its meter, and what the meter has said: totals as (value, closed_at) and definitions."""

    def __init__(self, partition: int, partitions: int, chance: random.Random) -> None:
        self.partition = partition
        self.partitions = partitions
        self.chance = chance
        self.log = Log()
        self.disk = Disk()
        self.windows: list[tuple[bytes, bytes, int]] = []
        """(key, value, when) of `usage.windows`."""
        self.definitions: list[Definition] = []
        self.core = self._recovered()

    def _recovered(self) -> MeterPartition:
        return MeterPartition.recover(
            self.partition,
            self.partitions,
            self.disk.records,
            writer_epoch=self.chance.randbytes(8),
            id_key=self.chance.randbytes(16),
            cluster_id="year",
        )

    def kill(self) -> None:
        """The process dies; its successor recovers from the changelog and reads the log from there again."""
        if self.chance.random() < 0.5:
            self.disk.compact(self.chance)
        self.core = self._recovered()

    def work(self, now_ms: int, *, dies: bool = False) -> None:
        """Read what is new, flush, close, emit. `dies`: somewhere on the way the process is killed, and the work begun again."""
        steps = self.chance.randrange(4) if dies else 9
        if self._turn(now_ms, steps):
            return
        self.kill()
        self._turn(now_ms, 9)

    def _turn(self, now_ms: int, steps: int) -> bool:
        core = self.core
        for batch in self._unread(core.next_offset):
            core.apply(batch)
        if steps == 0 or not self._flush(core, steps):
            return False
        for _ in range(2):
            wants = core.tick(now_ms, self.log.end)
            emissions = core.due(now_ms)
            self._send([emission.send for emission in emissions], now_ms)
            if steps == 3:
                return False
            core.end_emission(emissions)
            if not wants and not emissions:
                break
        return self._flush(core, 9)

    def _unread(self, start: int) -> list[Batch]:
        # There are no holes in this log: a record's place is its offset.
        found = self.log.records[start:]
        if not found:
            return []
        return [dataclasses.replace(batch_of(found, found[0].offset, self.log.end), partition=self.partition)]

    def _flush(self, core: MeterPartition, steps: int) -> bool:
        flush = core.begin_flush()
        if flush is None:
            return True
        self._send(flush.first, 0)
        if steps == 1:
            return False
        self._send([flush.counters], 0)
        if steps == 2:
            return False
        self._send(flush.last, 0)
        core.end_flush(flush)
        return True

    def _send(self, sends: list[Any], now_ms: int) -> None:
        for send in sends:
            if send.topic == STATE:
                self.disk.append(send.key, send.value)
            elif send.topic == WINDOWS:
                self.windows.append((send.key, send.value, now_ms))
            elif send.topic == DEFINITIONS:
                self.definitions.append(decode_definition(send.value, "usage.definitions"))
