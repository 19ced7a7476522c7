"""What a restore asks of Kafka, of ClickHouse and of the workers; `kafka.py` and `archive.py` have them, tests have models of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple, Protocol

from infra.auditing.sources import Kept
from infra.replaying.archived import Generation, Held
from streams.rows import Row
from streams.sends import Send
from topics.batch import Batch
from topics.windows import Window


class OldReceipt(NamedTuple):
    """The last archived record of a key of usage.receipts; `value` is empty where only its columns were archived."""

    key: bytes
    value: bytes
    state: str


class Archive(Protocol):
    """One partition in ClickHouse. Calls block; each may raise Unreachable or Refused."""

    def generations(self) -> list[Generation]:
        """All logs that the partition had."""
        ...

    def batches(self, generation: int, start: int, end: int) -> Iterator[Batch]:
        """Records of one of them."""
        ...

    def beyond(self, generation: int, offset: int) -> Mapping[Window, Held]:
        """The newest revision of windows that were emitted with an event at or beyond an offset."""
        ...

    def covered(self, rows: Sequence[Row]) -> Mapping[Window, int]:
        """Of rows' windows the greatest revision that a receipt holds."""
        ...

    def newest_generation(self) -> int:
        """The newest generation that anything archived names."""
        ...

    def receipts(self) -> Iterator[list[OldReceipt]]:
        """The last record of each key, in portions."""
        ...

    def unfolded(self, place: int) -> list[str]:
        """Names of definitions that control records at or beyond a place brought."""
        ...

    def last_ms(self, generation: int) -> int:
        """When the newest archived record of a generation was appended."""
        ...

    def places(self) -> Mapping[str, int]:
        """How far each topic of ours is archived."""
        ...

    def go_on_from(self, places: Mapping[str, int], generation: int, begin: int) -> None:
        """The archive is to read the topics from these places on, and usage.events from `begin` of a generation."""
        ...


class Cluster(Protocol):
    """Kafka. Every call may raise Unreachable."""

    async def cluster_id(self) -> str:
        """Which cluster this is."""
        ...

    async def bounds(self, topic: str, partition: int) -> tuple[int, int]:
        """First offset and last stable one."""
        ...

    async def kept(self, topic: str, partition: int) -> list[Kept]:
        """All committed records of a partition of a topic of ours."""
        ...

    async def send(self, sends: Sequence[Send]) -> None:
        """Return once all are acknowledged."""
        ...

    async def write_receipts(self, partition: int, records: Sequence[tuple[bytes, bytes]]) -> None:
        """One transaction, as the only writer of the partition."""
        ...


class Workers(Protocol):
    """The workers of this stack."""

    async def end(self, kinds: frozenset[str]) -> None:
        """Return once every worker of these kinds is gone; a supervisor starts it anew."""
        ...
