"""A rush: many due cells, a provider that allows so many calls a second, answers that take their time, a clock that is a number. One partition."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from functools import partial
from heapq import heappop, heappush
from itertools import count
from typing import Final

from sinks.calls import Call
from sinks.cell_state import Priority
from sinks.limiter import TokenBucket
from sinks.outcomes import Delivered, RetryAfter
from sinks.receipts import Deliveries, Write
from tests.core.report_world import START_S, binding, item_of, total_of
from topics.quantity import ONE

SLOTS: Final = 64
WRITE_MS: Final = 25
"""A transaction."""
DAY_S: Final = 86_400


class Allowance:
    """What a provider allows, as Stripe describes it: a bucket of a second's calls, filled at `rate` a second."""

    def __init__(self, rate: float, room: float | None = None) -> None:
        self.rate, self.room = rate, rate if room is None else room
        self.tokens, self.at_ms = self.room, 0
        self.refused = 0

    def takes(self, at_ms: int) -> bool:
        """Whether a call that arrives now is let in."""
        self.tokens = min(self.room, self.tokens + (at_ms - self.at_ms) * self.rate / 1000)
        self.at_ms = at_ms
        if self.tokens < 1:
            self.refused += 1
            return False
        self.tokens -= 1
        return True


class Rush:
    """The machine at work, and what became of it."""

    def __init__(self, seed: int, rate: float, allowance: Allowance) -> None:
        self.chance = random.Random(seed)
        self.now_ms = START_S * 1000
        allowance.at_ms = self.now_ms
        self.machine = Deliveries(0, "default", 0)
        self.bucket = TokenBucket(rate)
        self.allowance = allowance
        self.events: list[tuple[int, int, Callable[[], None]]] = []
        self.ordinal = count()
        self.writing = False
        self.free = SLOTS
        self.offset = 0
        self.known_at_ms: dict[str, int] = {}
        self.called: list[tuple[int, Priority, str]] = []
        """When, how near its finality, which cell."""
        self.in_lane: Counter[str] = Counter()
        self.writes = 0

    def bind(self, items: int, *, most_days: int = 29) -> None:
        """Customers c0, c1, …, each with an item whose period ends at a random time of the coming month."""
        ends = [self.chance.randrange(2 * DAY_S, most_days * DAY_S) for _ in range(items)]
        versions = [binding(f"c{n}", item_of(f"si_{n}", period_anchor_s=START_S - 30 * DAY_S + end), n) for n, end in enumerate(ends)]
        self.machine.define(versions, self.now_ms)

    def due(self, customer: int, start_s: int) -> None:
        """One more window is due."""
        total = total_of(f"c{customer}", start_s, ONE * self.chance.randrange(1, 9999), self.offset)
        self.machine.total(total, self.offset, self.now_ms, self.now_ms)
        self.known_at_ms[f"si_{customer}|{start_s}"] = self.now_ms
        self.offset += 1
        self.machine.advance(self.offset)

    def at(self, ms: int, what: Callable[[], None]) -> None:
        """Something happens later."""
        heappush(self.events, (self.now_ms + ms, next(self.ordinal), what))

    def run(self) -> None:
        """Until nothing is left to do."""
        while True:
            wait_ms = self._work()
            next_ms = min([self.now_ms + wait_ms] if wait_ms is not None else [], default=None)
            if self.events and (next_ms is None or self.events[0][0] <= next_ms):
                at_ms, _, what = heappop(self.events)
                self.now_ms = max(self.now_ms, at_ms)
                what()
            elif next_ms is not None:
                self.now_ms = next_ms
            else:
                return

    def _work(self) -> int | None:
        """Write and call what can be; how long until a token, or a time that the machine waits for."""
        if not self.writing and (write := self.machine.next_write(self.now_ms)) is not None:
            self.writing = True
            self.writes += 1
            self.at(WRITE_MS, partial(self._written, write, self.now_ms))
        while self.free and self.machine.nearest(self.now_ms, frozenset()) is not None:
            room = self.bucket.available(self.now_ms)
            if not room:
                return self.bucket.wait_ms(self.now_ms)
            calls = self.machine.next_calls(self.now_ms, min(room, self.free))
            self.bucket.spend(len(calls))
            for call in calls:
                assert isinstance(call, Call)
                self._send(call)
        wake_at_ms = self.machine.wake_at_ms(self.now_ms)
        return None if wake_at_ms is None else max(1, wake_at_ms - self.now_ms)

    def _send(self, call: Call) -> None:
        self.free -= 1
        intent = call.intent
        self.called.append((self.now_ms, (intent.period_end_s, intent.timestamp_s, intent.cell), intent.cell))
        self.in_lane[intent.item] += 1
        assert self.in_lane[intent.item] == 1, "one call at a time touches an item"
        self.at(self.chance.randrange(5, 60), lambda: self._arrives(call))

    def _written(self, write: Write, started_ms: int) -> None:
        self.writing = False
        self.machine.written(write, started_ms)

    def _arrives(self, call: Call) -> None:
        taken = self.allowance.takes(self.now_ms)
        answer_ms = int(min(2_000, self.chance.lognormvariate(5.0, 0.5)))  # 150 ms in the middle, 350 for one of twenty
        self.at(answer_ms, lambda: self._answers(call, taken=taken))

    def _answers(self, call: Call, *, taken: bool) -> None:
        self.free += 1
        self.in_lane[call.intent.item] -= 1
        self.machine.answered(call, Delivered(200, "req") if taken else RetryAfter(http_status=429, limited=True), self.now_ms)
        if not taken:
            self.bucket.limited(self.now_ms)
