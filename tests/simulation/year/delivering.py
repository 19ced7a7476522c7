"""The report of one partition: the product's `Deliveries` over a compacted dictionary of receipts, calling the shop; killed and recovered at will."""

from __future__ import annotations

import random
from typing import Final

from sinks.calls import Call, EventRange, ReadBack
from sinks.outcomes import Outcome, RetryAfter, outcome_of
from sinks.readback import Summary
from sinks.receipts import Deliveries, Write
from sinks.stripe.request import event_summaries_path, summaries_path, version_of, wanted_of
from tests.simulation.year.counting import Counting
from tests.simulation.year.shop import MODERN, Shop
from topics.codec import encode
from topics.quantity import ONE
from topics.receipt import CellReceipt, Receipt, WindowReceipt, decode_receipt
from topics.window_total import decode_window_total

AT_ONCE: Final = 16


class Killed(Exception):
    """The process died at an await."""


class Delivering:
    """One partition's receipts and the worker on them. `dying`: how likely each await is the last of this process."""

    def __init__(self, counting: Counting, shop: Shop, chance: random.Random) -> None:
        self.counting = counting
        self.shop = shop
        self.chance = chance
        self.receipts: dict[bytes, bytes] = {}
        self.committed = 0
        self.dying = 0.0
        self.kills = 0
        self.machine: Deliveries
        self._start(int(shop.clock.at_s * 1000))

    def _start(self, now_ms: int) -> None:
        self.machine = Deliveries(self.counting.partition, "default", self.committed)
        self.machine.recover([decode_receipt(value, "receipts") for value in self.receipts.values()], now_ms)
        self._defined = self._read = 0
        self._define(now_ms)
        self._read = self.committed

    def work(self, now_ms: int) -> int | None:
        """Everything that may be done now; when there may be more to do, or None."""
        for _ in range(100):
            try:
                return self._work(now_ms)
            except Killed:
                self.kills += 1
                self._start(now_ms)
        raise AssertionError("killed a hundred times without getting anywhere")

    def _work(self, now_ms: int) -> int | None:
        self._define(now_ms)
        for key, value, closed_at_ms in self.counting.windows[self._read :]:
            total = decode_window_total(value, f"windows at {self._read} {key!r}")
            self.machine.total(total, self._read, closed_at_ms, now_ms)
            self._read += 1
            self.machine.advance(self._read)
        while True:
            write = self.machine.next_write(now_ms)
            if write is not None:
                self._write(write, now_ms)
            calls = self.machine.next_calls(now_ms, AT_ONCE)
            for call in calls:
                self._call(call, now_ms)
            if write is None and not calls:
                break
        self.committed = self.machine.committable
        return self.machine.wake_at_ms(now_ms)

    def _define(self, now_ms: int) -> None:
        new = self.counting.definitions[self._defined :]
        if new:
            self.machine.define(new, now_ms)
            self._defined += len(new)

    def _await(self) -> None:
        if self.dying and self.chance.random() < self.dying:
            raise Killed

    def _write(self, write: Write, now_ms: int) -> None:
        self._await()
        self.receipts.update({key: encode(receipt) for key, receipt in write.records})
        self._await()
        self.machine.written(write, now_ms)

    def _call(self, call: Call | ReadBack, now_ms: int) -> None:
        self._await()
        if isinstance(call, ReadBack):
            found = self._summaries(call.item) if call.events is None else self._events(call.events)
            self.machine.read_back(call, found, now_ms)
            return
        outcome = self._report(call)
        self._await()
        self.machine.answered(call, outcome, now_ms)

    def _report(self, call: Call) -> Outcome:
        intent = call.intent
        answer = self.shop.heard("POST", intent.path, intent.body, intent.idempotency_key, version_of(intent.path))
        return outcome_of(answer, wanted_of(intent))

    def _summaries(self, item: str) -> list[Summary] | RetryAfter:
        if self.shop.is_down:
            return RetryAfter(down=True)
        rows = self.shop.pages(summaries_path(item))
        found = [(row["period"]["start"], row["period"]["end"], row["total_usage"]) for row in rows]
        return [Summary(start, end, total) for start, end, total in found if start is not None and end is not None]

    def _events(self, asked: EventRange) -> list[Summary] | RetryAfter:
        if self.shop.is_down:
            return RetryAfter(down=True)
        meters = self.shop.pages("/v1/billing/meters", {}, MODERN)
        meter = next(row["id"] for row in meters if row["event_name"] == asked.target.event_name)
        wanted = {"customer": asked.target.customer, "start_time": asked.start_s, "end_time": asked.end_s, "value_grouping_window": asked.grouping}
        rows = self.shop.pages(event_summaries_path(meter), wanted, MODERN)
        return [Summary(row["start_time"], row["end_time"], int(row["aggregated_value"]) * ONE) for row in rows]

    def last(self) -> list[Receipt]:
        """The newest receipt of every key."""
        return [decode_receipt(value, "receipts") for value in self.receipts.values()]

    def cells(self) -> list[CellReceipt]:
        """Of every cell."""
        return [receipt for receipt in self.last() if isinstance(receipt, CellReceipt)]

    def parked(self) -> list[WindowReceipt]:
        """Windows that have no cell."""
        return [receipt for receipt in self.last() if isinstance(receipt, WindowReceipt) and receipt.state == "parked"]
