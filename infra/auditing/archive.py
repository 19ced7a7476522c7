"""What ClickHouse says of one partition: its copy of the log, its verdicts, what its views add up to, and the revisions it keeps.

Every question is bounded by offsets that were archived before it was asked, so nothing that arrives meanwhile can look like a difference.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple, Protocol

from infra.auditing.claims import ARCHIVE, LATEST, Claim, Revision, Total
from infra.auditing.recount import LogRecord
from sinks.clickhouse.bounds import clamp_ms, scaled_of, text
from sinks.clickhouse.span import query
from topics.batch import Headers
from topics.catalog import WINDOWS
from topics.positions import log_of, offset_of
from topics.windows import Window

CHUNK: Final = 20_000
"""Offsets of one question about single records: some megabytes of answer, and a look at the last granules of one index."""


class Reader(Protocol):
    """Asks ClickHouse; `sinks.clickhouse.client.ClickHouse` is one."""

    def rows(self, sql: str, parameters: Mapping[str, Any] | None = None) -> list[tuple[Any, ...]]:
        """Rows of a query; strings as bytes."""
        ...


class Reach(NamedTuple):
    """How far one generation of a partition is archived: its base, its mark, its raw events; and how many offsets held no record, by the mark."""

    generation: int
    base: int
    marked: int
    archived: int
    skipped: int

    @property
    def whole_to(self) -> int:
        """Below it every record and its verdict are there."""
        return min(self.marked, self.archived)


class Said(NamedTuple):
    """One row about one record: to whom it belongs (its key) and what is said."""

    key: bytes
    says: str


class PartitionArchive:
    """One partition in ClickHouse. Calls block."""

    def __init__(self, reader: Reader, partition: int) -> None:
        self._reader = reader
        self.partition = partition

    def _rows(self, name: str, **parameters: Any) -> list[tuple[Any, ...]]:
        return self._reader.rows(query(name), {"partition": self.partition, **parameters})

    def reach(self) -> dict[int, Reach]:
        """How far each generation is archived."""
        return {row[0]: Reach(*row) for row in self._rows("audit_reach")}

    def archived_to(self, topic: str) -> int:
        """Up to where the partition of a topic of ours is archived; 0 where nothing is."""
        return offset_of(self._place(topic))

    def was_lost(self, topic: str) -> bool:
        """Whether a log of the topic was lost and another one began (`tidemark restore`)."""
        return log_of(self._place(topic)) > 0

    def _place(self, topic: str) -> int:
        rows = self._rows("audit_progress", topic=topic)
        return int(rows[0][0]) if rows else 0

    def records(self, generation: int, start: int, end: int) -> list[LogRecord]:
        """The copy of the log [start, end), as it lay there."""
        rows = self._rows("audit_records", generation=generation, start=start, end=end)
        return [
            LogRecord(offset, ms, None if key_is_null else key, None if value_is_null else value, _headers(names, data))
            for offset, ms, key, key_is_null, value, value_is_null, names, data in rows
        ]

    def first_record(self, generation: int, start: int, end: int) -> int | None:
        """The first offset of [start, end) that the copy has; None where it has nothing of it."""
        rows = self._rows("audit_copied", generation=generation, start=start, end=end)
        return int(rows[0][0]) if rows else None

    def raw(self, generation: int, start: int, end: int) -> dict[int, Said]:
        """A digest of each record of the copy [start, end)."""
        return {row[0]: Said(row[1], row[2].decode()) for row in self._rows("audit_raw", generation=generation, start=start, end=end)}

    def verdicts(self, generation: int, start: int, end: int) -> dict[int, Said]:
        """`verdict` or `verdict (reason)` of each record of [start, end) that was not counted."""
        rows = self._rows("audit_verdicts", generation=generation, start=start, end=end)
        return {offset: Said(key, verdict_words(verdict.decode(), reason.decode())) for offset, key, verdict, reason in rows}

    def fates(self, generation: int, end: int) -> tuple[dict[str, int], int]:
        """How many records of each verdict the views show below `end`, and the postings of those that counted."""
        rows = self._rows("audit_fates", generation=generation, end=end)
        return {verdict.decode(): count for verdict, count, _ in rows}, sum(row[2] for row in rows)

    def windows(self, generation: int, end: int) -> dict[Window, Total]:
        """Every window as the views add it up, through all generations, below `end` of this one."""
        rows = self._rows("audit_windows", generation=generation, end=end)
        return {_window(row): Total(scaled_of(row[4]), row[5], row[6], row[7].decode()) for row in rows}

    def revisions(self) -> list[Claim]:
        """All revisions that were archived, with their place on usage.windows; those of a topic that was lost have none any more."""
        present = log_of(self._place(WINDOWS))
        return [_claim(ARCHIVE, row, log_offset=offset_of(row[10]) if log_of(row[10]) == present else -1) for row in self._rows("audit_revisions")]

    def latest(self) -> list[Claim]:
        """The newest revision of each window."""
        return [_claim(LATEST, row) for row in self._rows("audit_latest")]


def _headers(names: Sequence[bytes], data: Sequence[bytes]) -> Headers:
    return tuple((name.decode("utf-8", "surrogatepass"), one) for name, one in zip(names, data, strict=True))


def _window(row: tuple[Any, ...]) -> Window:
    return Window(row[0].decode("utf-8", "surrogatepass"), row[1].decode("utf-8", "surrogatepass"), row[2] // 1000, row[3] // 1000)


def _claim(source: str, row: tuple[Any, ...], log_offset: int = -1) -> Claim:
    revision = Revision(_window(row), row[4], row[5])
    return Claim(source, revision, Total(scaled_of(row[6]), row[7], row[8], row[9].decode("utf-8", "replace")), log_offset)


def verdict_words(verdict: str, reason: str) -> str:
    """How a verdict is said."""
    return f"{verdict} ({reason})" if reason else verdict


def digest_of(record: LogRecord) -> str:
    """What `queries/audit_raw.sql` computes of the archive's row of this record."""
    key, value = record.key or b"", record.value or b""
    parts = [b"%d %d " % (record.key is None, len(key)), key, b"%d %d " % (record.value is None, len(value)), value]
    parts.append(b"%d " % clamp_ms(record.timestamp_ms))
    for name, data in record.headers:
        raw, held = text(name), data or b""
        parts += [b"%d " % len(raw), raw, b"%d " % len(held), held]
    return hashlib.md5(b"".join(parts), usedforsecurity=False).hexdigest().upper()
