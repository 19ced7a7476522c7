"""ClickHouse of a seeded account: every topic's new records as the archive worker writes them, on the real engine."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Any

from sinks.clickhouse.client import ClickHouse
from sinks.clickhouse.in_force import InForce
from sinks.clickhouse.record_rows import TABLE_OF, batch_rows, mark_row
from sinks.clickhouse.rows import RawRecord, RawRows
from sinks.clickhouse.tables import MARK, PROGRESS, RAW, columns_of
from tests.core.meterlog import batch_of
from tests.drift.ledgers import KEPT, Meter
from topics.catalog import EVENTS


class Archiving:
    """One database that follows the logs of all partitions."""

    def __init__(self, clickhouse: ClickHouse, meters: Iterable[Meter]) -> None:
        self.clickhouse = clickhouse
        self.meters = list(meters)
        self._reached: dict[tuple[str, int], int] = {}
        self._in_force = {meter.partition: InForce() for meter in self.meters}
        self._raw = {number: RawRows(number, 0, in_force) for number, in_force in self._in_force.items()}

    def follow(self) -> None:
        """Archive what is new."""
        progress: list[Any] = []
        for topic in KEPT:
            rows: list[Any] = []
            marks: list[Any] = []
            for meter in self.meters:
                new = self._new(topic, meter.partition, meter.logs[topic].records)
                if not new:
                    continue
                batch = dataclasses.replace(batch_of(new, new[0].offset, new[-1].offset + 1), topic=topic, partition=meter.partition)
                found = batch_rows(batch, frozenset())
                rows += found.rows
                for definition in found.definitions:
                    self._in_force[meter.partition].add(definition)
                marks += [] if found.mark is None else [mark_row(found.mark)]
                progress.append((topic, meter.partition, 0, meter.logs[topic].end))
            if rows:
                self.clickhouse.insert(TABLE_OF[topic], columns_of(rows, TABLE_OF[topic]))
            if marks:
                self.clickhouse.insert(MARK, columns_of(marks, MARK))
        self._follow_events(progress)
        if progress:
            self.clickhouse.insert(PROGRESS, columns_of(progress, PROGRESS))

    def _follow_events(self, progress: list[Any]) -> None:
        columns: list[list[Any]] = [[] for _ in RAW.columns]
        for meter in self.meters:
            new = self._new(EVENTS, meter.partition, meter.log.records)
            records = [RawRecord(r.offset, r.timestamp_ms, r.key, r.value, r.headers) for r in new]
            for column, more in zip(columns, self._raw[meter.partition].columns(records), strict=True):
                column += more
            if new:
                progress.append((EVENTS, meter.partition, 0, meter.log.end))
        if columns[0]:
            self.clickhouse.insert(RAW, columns)

    def _new(self, topic: str, partition: int, records: list[Any]) -> list[Any]:
        start = self._reached.get((topic, partition), 0)
        self._reached[topic, partition] = len(records)
        return records[start:]
