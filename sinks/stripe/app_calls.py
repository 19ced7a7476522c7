"""Calls in flight: a few threads with open connections, one token bucket for the account, shared by all partitions of this worker.

Whose turn it is is decided at each call: of all partitions the one whose next call has the nearest finality, whatever woke it.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from typing import Final, ParamSpec, Protocol, TypeVar

from sinks.backlog import Lately
from sinks.calls import Call, ReadBack
from sinks.cell_state import Priority
from sinks.limiter import TokenBucket
from sinks.outcomes import AlreadyDelivered, Delivered, Outcome, Refused, RetryAfter, outcome_of
from sinks.readback import Summary
from sinks.receipts import ACCOUNT
from sinks.remedy_calls import Bill, LookUp, Quote, Quoted, RemedyCall
from sinks.stripe.app_ports import Metrics, Provider
from sinks.stripe.remedy_request import wanted_bill
from sinks.stripe.request import wanted_of

IN_FLIGHT: Final = 64
"""Calls at once: at half a second an answer that is 128 a second, more than an ordinary account may make. Fewer would make the answers' time the
limit (Stripe answers a write in a tenth of a second or several); threads exist only as far as they are needed."""
METER_CALLS_PER_S: Final = 20.0
"""Meter events: 1,000 a second in live mode, outside of the account's limit; in a sandbox they count towards its 25 (Stripe, "Rate limits")."""
LONGEST_WAIT_S: Final = 1.0
"""How long nobody is asked whether it has a call at most: what it costs to have missed something."""
ASIDE: Final = 4
"""Calls that are made aside, one after the other, take at most this part of the limit: a quarter. Up to there they go first: the invoice gate holds
drafts for what a rush has not delivered yet, so it must not wait for the end of the rush."""
P = ParamSpec("P")
R = TypeVar("R")


async def happens(event: asyncio.Event, timeout_s: float) -> None:
    """Return when the event is set, or after a while.

    Not by `asyncio.wait_for`: before Python 3.12 it swallows a cancellation that comes together with the event, and the loop that was told to end
    goes on for ever.
    """
    with suppress(TimeoutError):
        async with asyncio.timeout(timeout_s):
            await event.wait()


class Member(Protocol):
    """A partition that makes calls. Nothing of it waits."""

    def nearest(self, now_ms: int, full: frozenset[str]) -> Priority | None:
        """How near the finality of its next call is, without modes that are `full`; None where it has none."""
        ...

    def pull(self, now_ms: int, rooms: Mapping[str, int]) -> bool:
        """Start that call; False where it had none after all."""
        ...

    def wake_at_ms(self, now_ms: int) -> int | None:
        """When it may have another one without anything happening."""
        ...

    def fail(self, error: Exception) -> None:
        """What its own `nearest` or `pull` raised."""
        ...


class Caller:
    """Makes calls for all partitions of one account, at most `IN_FLIGHT` at once; meter events and all else have their own limits a second."""

    def __init__(
        self,
        provider: Provider,
        calls_per_second: float,
        metrics: Metrics,
        now_ms: Callable[[], int],
        meter_calls_per_second: float = METER_CALLS_PER_S,
    ) -> None:
        self._provider = provider
        self._buckets = {"usage_records": TokenBucket(calls_per_second), "meters": TokenBucket(meter_calls_per_second)}
        self._lately = {mode: Lately() for mode in self._buckets}
        self._metrics = metrics
        self._now_ms = now_ms
        self._threads = ThreadPoolExecutor(IN_FLIGHT, thread_name_prefix="stripe")
        self._free = IN_FLIGHT
        self._aside: deque[asyncio.Future[None]] = deque()
        self._members: list[Member] = []
        self._soon: asyncio.Handle | None = None
        self._timer: asyncio.TimerHandle | None = None
        self.calls = 0
        """Calls that came back, with whatever outcome: a worker that waits for a provider is alive, and shows it."""

    @property
    def free(self) -> int:
        """How many calls may be picked now."""
        return min(self._free, max(self.room_of().values()))

    def room_of(self) -> dict[str, int]:
        """How many calls of each mode may start now."""
        now_ms = self._now_ms()
        return {mode: bucket.available(now_ms) for mode, bucket in self._buckets.items()}

    def share(self, part: float) -> None:
        """This worker has a part of all partitions, and so of the account's limits; the other workers have the rest."""
        for bucket in self._buckets.values():
            bucket.share(part)

    def pace_of(self, mode: str) -> tuple[float, float | None]:
        """Calls a second that a mode may make now, and that it made of late (None: none)."""
        return self._buckets[mode].rate, self._lately[mode].per_second(self._now_ms())

    # ── whose turn it is ─────────────────────────────────────────────────────────────────────────────────────────────

    @contextmanager
    def joined(self, member: Member) -> Iterator[None]:
        """Inside the block the member has its turns."""
        self._members.append(member)
        self.wake()
        try:
            yield
        finally:
            self._members.remove(member)

    def wake(self) -> None:
        """Somebody may have a call, or a slot is free: see to it as soon as what runs now has ended."""
        if self._soon is None and (self._members or self._aside):
            self._soon = asyncio.get_running_loop().call_soon(self._deal)

    def _deal(self) -> None:
        """Start calls, the nearest finality first, until slots, tokens or calls run out; then look again when that may have changed."""
        self._soon = None
        if self._timer is not None:
            self._timer.cancel()
        asked, wait_ms = list(self._members), min(LONGEST_WAIT_S * 1000, self._let_aside())
        while self._free > 0 and asked:
            now_ms = self._now_ms()
            rooms = self.room_of()
            full = frozenset(mode for mode, room in rooms.items() if room < 1)
            wants = [(nearest, member) for member in asked if (nearest := self._nearest(member, now_ms, full)) is not None]
            if not wants:
                wait_ms = min(wait_ms, self._wait_ms(asked, now_ms, full))
                break
            first = min(wants, key=lambda want: want[0])[1]
            if not self._pull(first, now_ms, rooms):
                asked.remove(first)
        if self._members or self._aside:
            self._timer = asyncio.get_running_loop().call_later(wait_ms / 1000, self._deal)

    def _nearest(self, member: Member, now_ms: int, full: frozenset[str]) -> Priority | None:
        try:
            return member.nearest(now_ms, full)
        except Exception as error:  # noqa: BLE001 - whatever it is, its own partition halts, and the others go on
            member.fail(error)
            return None

    def _pull(self, member: Member, now_ms: int, rooms: Mapping[str, int]) -> bool:
        try:
            return member.pull(now_ms, rooms)
        except Exception as error:  # noqa: BLE001 - as above
            member.fail(error)
            return False

    def _wait_ms(self, asked: list[Member], now_ms: int, full: frozenset[str]) -> float:
        """How long until one of those who have nothing to call now may have something: a token for it, or a time that it waits for."""
        waits = [at_ms - now_ms for member in self._members if (at_ms := member.wake_at_ms(now_ms)) is not None and at_ms > now_ms]
        others = [mode for mode in self._buckets if mode not in full]
        for mode in full:
            if any(self._nearest(member, now_ms, frozenset(others)) is not None for member in asked):
                waits.append(self._buckets[mode].wait_ms(now_ms))
        return max(1, min(waits, default=LONGEST_WAIT_S * 1000))

    def take(self, call: Call | ReadBack | RemedyCall) -> None:
        """A picked call will be made: it has its slot and its token from here on."""
        self._free -= 1
        self._buckets[call.mode].spend(1)
        self._lately[call.mode].called(self._now_ms())

    async def report(self, call: Call) -> Outcome:
        """Post the intent; the outcome."""
        intent = call.intent
        wanted = wanted_of(intent)
        try:
            # The guard runs in the thread, after the connection stands: behind every await and every wait of this process.
            answer = await asyncio.get_running_loop().run_in_executor(
                self._threads,
                self._provider.report,
                intent.path,
                intent.body,
                intent.idempotency_key,
                lambda: self._now_ms() <= call.not_after_ms,
            )
        finally:
            self._give_back()
        outcome = outcome_of(answer, wanted)
        if isinstance(outcome, RetryAfter) and outcome.limited:
            self._buckets[call.mode].limited(self._now_ms())
        self._metrics.outcome(intent.provider, outcome.name)
        if isinstance(outcome, Delivered | AlreadyDelivered) and intent.closed_at_ms is not None:
            self._metrics.delivered((self._now_ms() - intent.closed_at_ms) / 1000)
        return outcome

    async def read_back(self, call: ReadBack) -> list[Summary] | RetryAfter:
        """Read the item's totals back, or the meter's."""
        events = call.events
        try:
            if events is not None:
                asked = (events.target.event_name, events.target.customer, events.grouping, events.start_s, events.end_s)
                return await asyncio.get_running_loop().run_in_executor(self._threads, self._provider.event_summaries, *asked)
            return await asyncio.get_running_loop().run_in_executor(self._threads, self._provider.summaries, call.item, call.timestamp_s)
        finally:
            self._give_back()

    async def bill(self, call: Bill) -> Outcome:
        """Post what bills an adjustment elsewhere; the outcome."""
        remedy = call.remedy
        try:
            request = (remedy.path, remedy.body, remedy.idempotency_key, lambda: self._now_ms() <= call.not_after_ms)
            answer = await asyncio.get_running_loop().run_in_executor(self._threads, self._provider.report, *request)
        finally:
            self._give_back()
        outcome = outcome_of(answer, wanted_bill(call.receipt, remedy))
        if isinstance(outcome, RetryAfter) and outcome.limited:
            self._buckets[call.mode].limited(self._now_ms())
        self._metrics.outcome(call.receipt.provider, outcome.name)
        return outcome

    async def quote(self, call: Quote) -> Quoted | Refused | RetryAfter:
        """Ask what units cost."""
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, self._provider.quote, call)
        finally:
            self._give_back()

    async def look_up(self, call: LookUp) -> str | RetryAfter:
        """Look for what may have been made."""
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, self._provider.look_up, call)
        finally:
            self._give_back()

    async def ask(self, call: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """A call beside the reports: it waits a little, so that they keep most of the limit, then for a slot and a token. Its answer or error."""
        await asyncio.sleep(ASIDE / self._buckets[ACCOUNT].full)
        turn = asyncio.get_running_loop().create_future()
        self._aside.append(turn)
        self.wake()
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self._give_back()  # its turn had come
            raise
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, lambda: call(*args, **kwargs))
        finally:
            self._give_back()

    def _let_aside(self) -> float:
        """Give those who wait aside their turn; how long until the next of them may have one (milliseconds)."""
        bucket, now_ms = self._buckets[ACCOUNT], self._now_ms()
        while self._aside and (self._aside[0].done() or (self._free > 0 and bucket.available(now_ms) > 0)):
            turn = self._aside.popleft()
            if not turn.done():
                self._free -= 1
                bucket.spend(1)
                turn.set_result(None)
        return max(1, bucket.wait_ms(now_ms)) if self._aside and self._free > 0 else LONGEST_WAIT_S * 1000

    def close(self) -> None:
        """Wait for nobody: what is on its way keeps its thread until it ends."""
        for handle in (self._soon, self._timer):
            if handle is not None:
                handle.cancel()
        self._threads.shutdown(wait=False, cancel_futures=True)
        self._provider.close()

    def _give_back(self) -> None:
        self.calls += 1
        self._free += 1
        self.wake()
