"""What the archive asks of ClickHouse and of the log it copies; `client.py` and `raw_log.py` implement it, tests use models of it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import TYPE_CHECKING, NamedTuple, Protocol

from sinks.clickhouse.tables import Columns, Table
from topics.batch import TopicPartition
from topics.errors import TidemarkError

if TYPE_CHECKING:
    from sinks.clickhouse.raw_block import Piece
    from sinks.clickhouse.rows import RawRecord


class Refused(TidemarkError):
    """ClickHouse answered, and said no."""


class Progress(NamedTuple):
    """Everything of this partition (and generation, for `usage.events`; else 0) below `next_offset` is archived."""

    generation: int
    next_offset: int


class ArchivedMark(NamedTuple):
    """The newest archived mark of a partition: every event of `generation` below `next_offset` has its verdict in the archive."""

    generation: int
    next_offset: int
    base: int


class Store(Protocol):
    """ClickHouse. Every call may raise `Unreachable` or `Refused`; whoever writes tries again, nothing is ever skipped."""

    async def prepare(self) -> None:
        """Bring the schema to this program's version, or say why that cannot be."""
        ...

    async def insert(self, table: Table, columns: Columns) -> None:
        """Insert all rows and return once the server has answered that it wrote them all."""
        ...

    async def packed(self, pieces: Sequence[Piece]) -> Callable[[], Awaitable[None]]:
        """Raw rows made ready for sending, while another insert may be under way. What it returns inserts them as `insert` does, at every call."""
        ...

    async def progress(self, topic: str, partition: int) -> Progress | None:
        """The newest generation's progress; None where nothing of the partition was archived."""
        ...

    async def present(self, table: Table, partition: int, from_offset: int) -> set[int]:
        """Offsets ≥ `from_offset` of the table's own topic (`log_partition`, `log_offset`) that are archived."""
        ...

    async def present_raw(self, partition: int, generation: int, from_offset: int) -> set[int]:
        """Offsets ≥ `from_offset` of `usage.events` that are archived."""
        ...

    async def mark(self, partition: int) -> ArchivedMark | None:
        """The newest archived mark of a partition."""
        ...

    async def definitions(self, partition: int) -> list[bytes]:
        """Every archived record of `usage.definitions` of a partition, in the order of its topic."""
        ...

    async def last_raw(self, partition: int, generation: int, below: int) -> RawRecord | None:
        """The archived record with the greatest offset below `below`; None where there is none. Its headers are left out."""
        ...


class RawChunk(NamedTuple):
    """What a read of `usage.events` brought: records below the wanted end; everything below `next_offset` is in it or in an earlier one."""

    records: Sequence[RawRecord]
    next_offset: int


class RawLog(Protocol):
    """Committed records of `usage.events`, read at the archive's own pace (`raw_log.py` says why). Raises Unreachable while Kafka is down."""

    async def read(self, partition: int, start: int, end: int, limit: int) -> RawChunk:
        """Up to `limit` records of [start, end). Raises LostLog where the log no longer has `start`."""
        ...

    async def bounds(self, tps: Iterable[TopicPartition]) -> dict[TopicPartition, tuple[int, int]]:
        """First offset and last stable offset of partitions of any topic, asked of the server now."""
        ...

    def forget(self, partitions: Iterable[int]) -> None:
        """These partitions are not read any more."""
        ...

    async def close(self) -> None:
        """Let go of the connection."""
        ...
