"""H22, law 13: the call was handed out in time and then waited: for a thread, for a connection, for the machine to wake."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable

from sinks.calls import Call, not_after_ms
from sinks.outcomes import Answer, Refused, RetryAfter
from sinks.readback import Summary
from sinks.receipts import Deliveries
from sinks.remedy_calls import LookUp, Quote, Quoted
from sinks.stripe.app_calls import Caller
from tests.agents.report_bench import Counted
from tests.core.report_world import START_S, binding, item_of, total_of
from tests.hazards.fold import clean
from topics.quantity import ONE


class Slow:
    """`app_ports.Provider`: the connection takes a while, then the request is sent if it still may be."""

    def __init__(self, pass_time: Callable[[], None], now_ms: Callable[[], int]) -> None:
        self.pass_time, self.now_ms = pass_time, now_ms
        self.sent_at_ms: int | None = None

    def report(self, path: str, body: str, idempotency_key: str, may_send: Callable[[], bool]) -> Answer:
        """See `Provider`."""
        self.pass_time()
        if not may_send():
            return Answer(None, sent=False, late=True)
        self.sent_at_ms = self.now_ms()
        return Answer(503, f"{path} {body} {idempotency_key}")

    def quote(self, asked: Quote) -> Quoted | Refused | RetryAfter:
        """Never asked."""
        raise NotImplementedError

    def look_up(self, asked: LookUp) -> str | RetryAfter:
        """Never asked."""
        raise NotImplementedError

    def event_summaries(self, event_name: str, customer: str, grouping: str, start_s: int, end_s: int) -> list[Summary] | RetryAfter:
        """Never asked."""
        raise NotImplementedError

    def summaries(self, item: str, back_to_s: int) -> list[Summary] | RetryAfter:
        """See `Provider`."""
        return RetryAfter(down=True, reason=f"{item} {back_to_s}")

    def close(self) -> None:
        """See `Provider`."""


async def _call(rng: random.Random) -> list[str]:
    now_ms = START_S * 1000
    machine = Deliveries(0, "default", 0)
    machine.define([binding("acme", item_of("si_1"))], now_ms)
    machine.total(total_of("acme", START_S - 3600, ONE, 1), 0, None, now_ms)
    write = machine.next_write(now_ms)
    assert write is not None
    machine.written(write, now_ms)
    committed_at_ms = now_ms
    now_ms += rng.randrange(44_000)
    call = machine.next_calls(now_ms, 1)[0]
    assert isinstance(call, Call)

    def pass_time() -> None:
        nonlocal now_ms
        now_ms += rng.choice((0, 10_000, 30_000, 90_000, 3_600_000))

    provider = Slow(pass_time, lambda: now_ms)
    caller = Caller(provider, 80.0, Counted(), lambda: now_ms)
    caller.take(call)
    await caller.report(call)
    caller.close()
    if provider.sent_at_ms is not None and provider.sent_at_ms > committed_at_ms + 60_000:
        return [f"sent {(provider.sent_at_ms - committed_at_ms) / 1000:.0f} s after the intent's commit"]
    return [] if call.not_after_ms == not_after_ms(call.intent, committed_at_ms) else ["the call may start at another time"]


def seeded(seed: int) -> list[str]:
    """One call that waits after it was handed out: on the socket within 60 s of its intent's commit, or not at all."""
    return asyncio.run(_call(random.Random(seed)))


def test_h22_nothing_is_sent_a_minute_after_its_intent() -> None:
    """However long a call waits for a thread or a connection, its bytes are sent within 60 s of the commit of its intent, or never."""
    assert not clean(seeded, 30)
