"""A partition's log for tests of the core: builds events and control records, cuts them into batches, and keeps a naive account of them.

The account shares no code with the product: `json`, `decimal` and `datetime` only.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from typing import Any, NamedTuple

from streams.partition import MeterPartition
from topics.batch import Batch
from topics.catalog import EVENTS, STATE
from topics.codec import encode
from topics.home import home_of
from topics.meters import METERS_TYPE, Meter, Timing, meters_digest

NOW_MS = 1_795_219_200_000  # 2026-11-21T00:00:00Z
PARTITIONS = 4
Record = tuple[bytes | None, bytes | None, tuple[tuple[str, bytes], ...], int]


class Stored(NamedTuple):
    """A record at its offset."""

    offset: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...]
    timestamp_ms: int


def customers(count: int, partition: int = 0, prefix: str = "cus") -> list[str]:
    """Names of customers whose home is `partition`."""
    names = (f"{prefix}_{number}" for number in range(1_000_000))
    found = (name for name in names if home_of(name.encode(), PARTITIONS) == partition)
    return [next(found) for _ in range(count)]


def control(event_type: str, subject: str, data: Any, key: bytes | None = None) -> tuple[bytes | None, bytes]:
    """Key and value of a control record."""
    event = {"specversion": "1.0", "id": "ctl", "source": "tidemark", "type": event_type, "subject": subject, "data": data}
    return key, encode(event)


def meters_record(meters: tuple[Meter, ...], timing: Timing | None = None, replaces: str | None = None) -> tuple[bytes | None, bytes]:
    """Key and value of a `tidemark.meters` record."""
    timing = timing or Timing()
    digest = meters_digest(timing, meters)
    return control(METERS_TYPE, "meters", {"v": 1, "digest": digest, "replaces": replaces, "timing": timing, "meters": meters})


def usage(customer: str, event_id: str, time: str | None, data: Any = None, event_type: str = "api.request", source: str = "gw") -> bytes:
    """The value of a usage event."""
    event = {"specversion": "1.0", "id": event_id, "source": source, "type": event_type, "subject": customer}
    if time is not None:
        event["time"] = time
    if data is not None:
        event["data"] = data
    return json.dumps(event).encode()


class Log:
    """Records of partition 0 in offset order; offsets may have holes (transaction markers)."""

    def __init__(self) -> None:
        self.records: list[Stored] = []
        self.end = 0

    def add(self, key: bytes | None, value: bytes | None, timestamp_ms: int, headers: tuple[tuple[str, bytes], ...] = ()) -> int:
        """Append; returns the offset."""
        self.records.append(Stored(self.end, key, value, headers, timestamp_ms))
        self.end += 1
        return self.end - 1

    def marker(self, count: int = 1) -> None:
        """Offsets without a record."""
        self.end += count

    def batches(self, start: int, rng: random.Random, until: int | None = None) -> Iterator[Batch]:
        """The log from `start` in random cuts; the last one reaches the end."""
        end = self.end if until is None else until
        position = start
        while position < end:
            upto = min(end, position + rng.choice((1, 2, 7, 50, 400)))
            found = [record for record in self.records if position <= record.offset < upto]
            yield batch_of(found, position, upto)
            position = upto


def batch_of(records: list[Stored], start: int, next_offset: int, epoch: int = 1) -> Batch:
    """A batch of stored records."""
    return Batch(
        topic=EVENTS,
        partition=0,
        epoch=epoch,
        start_offset=start,
        offsets=[record.offset for record in records],
        timestamps_ms=[record.timestamp_ms for record in records],
        keys=[record.key for record in records],
        values=[record.value for record in records],
        headers=[record.headers for record in records],
        next_offset=next_offset,
    )


class Disk:
    """The changelog topic: appended records, and a compaction that keeps the last of each key."""

    def __init__(self) -> None:
        self.records: list[tuple[bytes | None, bytes | None, int]] = []
        self.offset = 0

    def append(self, key: bytes | None, value: bytes | None) -> None:
        """One acknowledged record."""
        self.records.append((key, value, self.offset))
        self.offset += 1

    def compact(self, rng: random.Random) -> None:
        """Keep the last record of each key, dropping some tombstones, as the broker may at any time."""
        last = {key: (key, value, offset) for key, value, offset in self.records}
        kept = sorted(last.values(), key=lambda record: record[2])
        self.records = [record for record in kept if record[1] is not None or rng.random() < 0.5]


def fresh(disk: Disk, rng: random.Random, base: int = 0) -> MeterPartition:
    """A worker that takes the partition now."""
    return MeterPartition.recover(
        0, PARTITIONS, disk.records, writer_epoch=rng.randbytes(8), id_key=rng.randbytes(16), cluster_id="test", fresh_base=base
    )


def state_sends(sends: list[Any]) -> list[tuple[bytes | None, bytes | None]]:
    """Key and value of what goes to the changelog."""
    return [(send.key, send.value) for send in sends if send.topic == STATE]
