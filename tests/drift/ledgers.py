"""The meter and the report of one partition, as the simulated year has them, with every topic kept record for record for the archive."""

from __future__ import annotations

import random
from typing import Any

from sinks.calls import EventRange
from sinks.outcomes import RetryAfter
from sinks.readback import Summary
from sinks.receipts import Write
from sinks.stripe.request import event_summaries_path
from tests.core.meterlog import Log
from tests.simulation.year.counting import Counting
from tests.simulation.year.delivering import Delivering
from tests.simulation.year.shop import MODERN, Shop
from topics.catalog import DEFINITIONS, RECEIPTS, REJECTED, VERDICTS, WINDOWS
from topics.codec import encode
from topics.quantity import parse_total

KEPT = (DEFINITIONS, VERDICTS, REJECTED, WINDOWS, RECEIPTS)


class Meter(Counting):
    """`Counting` that keeps what it sends."""

    def __init__(self, partition: int, partitions: int, chance: random.Random) -> None:
        self.logs = {topic: Log() for topic in KEPT}
        super().__init__(partition, partitions, chance)
        self.now_ms = 0

    def work(self, now_ms: int, *, dies: bool = False) -> None:
        """See `Counting.work`."""
        self.now_ms = now_ms
        super().work(now_ms, dies=dies)

    def _send(self, sends: list[Any], now_ms: int) -> None:
        for send in sends:
            if send.topic in self.logs:
                self.logs[send.topic].add(send.key, send.value, self.now_ms, tuple(send.headers))
        super()._send(sends, now_ms)


class Report(Delivering):
    """`Delivering` that keeps its receipts record for record."""

    counting: Meter

    def __init__(self, counting: Meter, shop: Shop, chance: random.Random) -> None:
        super().__init__(counting, shop, chance)

    def restart(self, now_ms: int) -> None:
        """The process ends, and its successor reads the receipts."""
        self._start(now_ms)

    def _write(self, write: Write, now_ms: int) -> None:
        for key, receipt in write.records:
            self.counting.logs[RECEIPTS].add(key, encode(receipt), now_ms)
        super()._write(write, now_ms)

    def _events(self, asked: EventRange) -> list[Summary] | RetryAfter:
        target = asked.target
        return self.events_read(target.event_name, target.customer, asked.grouping, asked.start_s, asked.end_s)

    def events_read(self, event_name: str, customer: str, grouping: str, start_s: int, end_s: int) -> list[Summary] | RetryAfter:
        """What a meter holds of a customer, exactly."""
        meters = self.shop.pages("/v1/billing/meters", {}, MODERN)
        meter = next(row["id"] for row in meters if row["event_name"] == event_name)
        wanted = {"customer": customer, "start_time": start_s, "end_time": end_s, "value_grouping_window": grouping}
        rows = self.shop.pages(event_summaries_path(meter), wanted, MODERN)
        # Two decimals at most: their shortest form is exact.
        return [Summary(row["start_time"], row["end_time"], parse_total(str(row["aggregated_value"]).removesuffix(".0"))) for row in rows]
