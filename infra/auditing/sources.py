"""What Kafka says of one partition: the table as its changelog stands for it, the totals that were emitted, what was put in force, the log."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator
from typing import Final, NamedTuple, Protocol

from infra.auditing.claims import TABLE, TOPIC, Claim, Revision, Total
from infra.auditing.findings import Finding, Findings
from infra.auditing.recount import LogRecord
from infra.kafka_io import begin_offsets, end_offsets, reader
from streams.changelog import Changelog
from streams.recovery import recover
from streams.rows import split_revision
from streams.state import PartitionState
from topics.catalog import DEFINITIONS, EVENTS, STATE, WINDOWS
from topics.closed import Closed
from topics.content_hash import MODULUS
from topics.definitions import Definition, decode_definition
from topics.errors import CorruptState, MalformedRecord
from topics.home import home_of
from topics.window_total import WindowTotal, decode_window_total
from topics.windows import window_key

TRIES: Final = 3
"""A changelog that is compacted while it is read may lack a segment whose newer copy lies behind the end that was taken; read again it does not.
What is missing three times is missing."""


class Bounds(NamedTuple):
    """A partition now: its first offset, and its last stable one."""

    begin: int
    end: int


class Kept(NamedTuple):
    """A record of one of our topics, as it lies there."""

    offset: int
    key: bytes | None
    value: bytes | None


class Source(Protocol):
    """One partition of every topic, on Kafka or in a test."""

    async def bounds(self, topic: str) -> Bounds:
        """First offset that retention has left, and the last stable one."""
        ...

    async def kept(self, topic: str) -> list[Kept]:
        """All committed records of the partition of a topic of ours."""
        ...

    def log(self, start: int) -> AsyncGenerator[LogRecord, None]:
        """usage.events from an offset on to its last stable offset, committed records only."""
        ...


class KafkaSource:
    """`Source` on Kafka. Every call may raise Unreachable."""

    def __init__(self, bootstrap: str, partition: int) -> None:
        self._bootstrap = bootstrap
        self._partition = partition

    async def bounds(self, topic: str) -> Bounds:
        """See `Source.bounds`."""
        # The end first: retention only raises the beginning.
        end = (await end_offsets(self._bootstrap, topic, [self._partition]))[self._partition]
        return Bounds((await begin_offsets(self._bootstrap, topic, [self._partition]))[self._partition], end)

    async def kept(self, topic: str) -> list[Kept]:
        """See `Source.kept`."""
        return [Kept(record.offset, record.key, record.value) async for record in reader(self._bootstrap, topic, self._partition, 0)]

    async def log(self, start: int) -> AsyncGenerator[LogRecord, None]:
        """See `Source.log`."""
        async for record in reader(self._bootstrap, EVENTS, self._partition, start):
            yield LogRecord(record.offset, record.timestamp, record.key, record.value, record.headers)


async def table_state(source: Source, partition: int, partitions: int) -> PartitionState:
    """The durable state, recovered by the product's own recovery. Raises CorruptState or UnknownVersion, naming the record."""
    for left in reversed(range(TRIES)):
        records = [(record.key, record.value, record.offset) for record in await source.kept(STATE)]
        try:
            return recover(partition, partitions, records, changelog=Changelog(os.urandom(8)), id_key=os.urandom(16), base=0)
        except CorruptState:
            if not left:
                raise
    raise AssertionError("unreachable: the last try returns or raises")


def table_claims(state: PartitionState) -> list[Claim]:
    """What the table says of each live window."""
    return [
        Claim(
            TABLE,
            Revision(row.window, *split_revision(row.rev)),
            Total(row.scaled, row.events, row.first_offset, f"{row.content_hash % MODULUS:064x}"),
        )
        for row in state.rows.all()
    ]


class Emitted(NamedTuple):
    """Everything on one partition of usage.windows: its claims, and the first offset that retention has left."""

    claims: list[Claim]
    begin: int


async def emitted(source: Source, partition: int, partitions: int, findings: Findings) -> Emitted:
    """The totals on usage.windows; a record that is none, or lies on the wrong partition or under another key, is a finding."""
    found: list[Claim] = []
    for record in await source.kept(WINDOWS):
        try:
            total = decode_window_total(record.value, f"{WINDOWS} {partition}, offset {record.offset}")
            window, scaled = total.window, total.scaled
        except (MalformedRecord, ValueError) as error:
            findings.add(_strange(partition, record.offset, "", str(error)))
            continue
        if wrong := _misplaced(total, record.key, partition, partitions):
            findings.add(_strange(partition, record.offset, total.customer, wrong))
        claimed = Total(scaled, total.events, total.first_offset, total.hash)
        found.append(Claim(TOPIC, Revision(window, total.generation, total.through_offset), claimed, record.offset))
    # Asked after reading: what retention removed meanwhile was read, or lies below this.
    return Emitted(found, (await source.bounds(WINDOWS)).begin)


def _misplaced(total: WindowTotal, key: bytes | None, partition: int, partitions: int) -> str | None:
    if key != window_key(total.window).encode():
        return f"its key {key!r} is not that of its window"
    home = home_of(total.customer.encode(), partitions)
    if total.partition != partition or home != partition:
        return f"it says partition {total.partition}, and its customer's home is {home}"
    return None


def _strange(partition: int, offset: int, customer: str, what: str) -> Finding:
    return Finding(
        kind="record",
        partition=partition,
        customer=customer,
        what=f"a record of {WINDOWS}",
        one=f"{WINDOWS} at {offset}",
        one_says=what,
        other="the meter",
        other_says="it never writes such a record",
        cause="something else than the meter wrote to usage.windows: see who may",
    )


async def published(source: Source, partition: int) -> list[Definition]:
    """What control records put in force, as it stands on usage.definitions, in its order. Raises MalformedRecord or UnknownVersion, naming it."""
    found = [
        decode_definition(record.value, f"{DEFINITIONS} {partition}, offset {record.offset}")
        for record in await source.kept(DEFINITIONS)
        if record.value is not None
    ]
    return [one for one in found if not isinstance(one, Closed)]
