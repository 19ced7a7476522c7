"""`ports.Archive` on ClickHouse."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final, Protocol

from infra.replaying.archived import ArchivedLog, Reader
from infra.restoring.ports import OldReceipt
from sinks.clickhouse.tables import PROGRESS, Columns, Table, columns_of
from topics.catalog import EVENTS
from topics.errors import UsageError
from topics.receipt import cell_key, parked_key

PART_RECEIPTS: Final = 100_000
"""Receipts of one question: some 100 MB with their bytes."""
NAMED: Final = 1000
"""Definitions that are named at most; more are hardly read."""


class Store(Reader, Protocol):
    """Reads and writes ClickHouse; `sinks.clickhouse.client.ClickHouse` is one."""

    def insert(self, table: Table, columns: Columns) -> None:
        """Insert rows, and return once the server says it wrote them."""
        ...


class RestoreArchive(ArchivedLog):
    """See `ports.Archive`."""

    def __init__(self, store: Store, partition: int) -> None:
        super().__init__(store, partition)
        self._store = store

    def newest_generation(self) -> int:
        """See `ports.Archive`."""
        return int(self._rows("restore_size")[0][1] or 0)

    def receipts(self) -> Iterator[list[OldReceipt]]:
        """See `ports.Archive`."""
        parts = 1 + int(self._rows("restore_size")[0][0]) // PART_RECEIPTS
        for part in range(parts):
            yield [_receipt(row) for row in self._rows("restore_receipts", part=part, parts=parts)]

    def unfolded(self, place: int) -> list[str]:
        """See `ports.Archive`."""
        rows = self._rows("restore_beyond", place=place, limit=NAMED)
        return [" ".join(part.decode("utf-8", "replace") for part in row[:3] if part) for row in rows]

    def last_ms(self, generation: int) -> int:
        """See `ports.Archive`."""
        return int(self._rows("restore_last", generation=generation)[0][0] or 0)

    def places(self) -> Mapping[str, int]:
        """See `ports.Archive`."""
        return {row[0].decode(): int(row[1]) for row in self._rows("restore_places")}

    def go_on_from(self, places: Mapping[str, int], generation: int, begin: int) -> None:
        """See `ports.Archive`."""
        rows = [(topic, self.partition, 0, place) for topic, place in places.items()]
        self._store.insert(PROGRESS, columns_of([*rows, (EVENTS, self.partition, generation, begin)], PROGRESS))


def check_count(store: Store, count: int) -> None:
    """Raises UsageError where the topics have another number of partitions than was archived: every customer's home hangs on it."""
    found = store.rows("SELECT count(), max(kafka_partition) FROM mark_log")
    archived = found[0][1] + 1 if found[0][0] else 0
    if archived and archived != count:
        raise UsageError(
            f"the topics have {count} partitions, the archive has {archived}: a customer's home depends on the number. Delete the topics, set "
            f"kafka.partitions = {archived}, and run `tidemark topics apply`"
        )


def _receipt(row: tuple[bytes, ...]) -> OldReceipt:
    kind, provider, account, cell, _, value, state = row
    name = cell.decode("utf-8", "surrogatepass")
    key = parked_key(name) if kind == b"window" else cell_key(provider.decode(), account.decode(), name)
    return OldReceipt(key, value, state.decode())
