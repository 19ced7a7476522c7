"""A Stripe behind a network: requests that hang and land later, answers that are lost, outages; and the guard that runs before the wire."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Final

from sinks.outcomes import Answer, Refused, RetryAfter
from sinks.readback import Summary
from sinks.remedy_calls import LookUp, Quote, Quoted
from tests.core.report_stripe import FakeStripe
from tests.simulation.kernel import Kernel

CLIENT_TIMEOUT_S: Final = 20.0


class StripeSite:
    """The one account, and how its network behaves now. `hangs`: how likely a request lands only minutes later; `lost`: an answer is lost."""

    def __init__(self, kernel: Kernel) -> None:
        self.kernel = kernel
        self.stripe = FakeStripe(kernel.chance)
        self.lost = 0.0
        self.hangs = 0.0
        self.under_way = 0

    def heal(self) -> None:
        """From now on everything works."""
        self.stripe.faults, self.stripe.is_down, self.stripe.sticky = {}, False, lambda _key: False
        self.lost = self.hangs = 0.0
        self.stripe.refuse.clear()


class SimulatedProvider:
    """`sinks.stripe.app_ports.Provider` of one process. `Kernel.executor` runs its calls as coroutines, since a thread may wait."""

    def __init__(self, site: StripeSite, kernel: Kernel) -> None:
        self.site = site
        self.kernel = kernel

    def report(self, path: str, body: str, idempotency_key: str, may_send: Callable[[], bool]) -> Answer:
        """Only ever run by `simulate`."""
        raise NotImplementedError

    def summaries(self, item: str, back_to_s: int) -> list[Summary] | RetryAfter:
        """Only ever run by `simulate`."""
        raise NotImplementedError

    def quote(self, asked: Quote) -> Quoted | Refused | RetryAfter:
        """Never asked."""
        raise NotImplementedError

    def look_up(self, asked: LookUp) -> str | RetryAfter:
        """Never asked."""
        raise NotImplementedError

    def event_summaries(self, event_name: str, customer: str, grouping: str, start_s: int, end_s: int) -> list[Summary] | RetryAfter:
        """Only ever run by `simulate`."""
        raise NotImplementedError

    def close(self) -> None:
        """Nothing is open."""

    async def post(self, path: str, body: str, key: str, may_send: Callable[[], bool]) -> Answer:
        """One call: connect, ask the guard, write; the rest is the network's."""
        kernel, chance, site = self.kernel, self.kernel.chance, self.site
        await asyncio.sleep(chance.choice((0.0, 0.01, 0.3)))
        if not may_send():
            return Answer(None, sent=False, late=True)
        answer: asyncio.Future[Answer] = kernel.create_future()

        def back(reply: Answer) -> None:
            if not answer.done():
                answer.set_result(reply)

        def land() -> None:
            site.under_way -= 1
            reply = site.stripe.post(path, body, key, kernel.now_ms())
            if chance.random() >= site.lost:
                kernel.outside(chance.random() * 0.2, lambda: back(reply))

        delay_s = chance.random() * 600 if chance.random() < site.hangs else chance.random() * 0.2
        site.under_way += 1
        kernel.outside(delay_s, land)
        kernel.outside(CLIENT_TIMEOUT_S, lambda: back(Answer(None, error="timeout")))
        return await answer

    async def read(self, item: str) -> list[Summary] | RetryAfter:
        """Totals of the item."""
        await asyncio.sleep(self.kernel.chance.choice((0.01, 0.3)))
        return RetryAfter(down=True) if self.site.stripe.is_down else self.site.stripe.summaries(item)


    async def read_events(self, *asked: Any) -> list[Summary] | RetryAfter:
        """A customer's usage of a meter."""
        await asyncio.sleep(self.kernel.chance.choice((0.01, 0.3)))
        return RetryAfter(down=True) if self.site.stripe.is_down else self.site.stripe.event_summaries(*asked)


def simulate(func: Callable[..., Any], args: tuple[Any, ...]) -> Coroutine[Any, Any, Any] | None:
    """What `Kernel.executor` is: provider calls become coroutines, all else is none of ours."""
    owner = getattr(func, "__self__", None)
    if not isinstance(owner, SimulatedProvider):
        return None
    if func.__name__ == "event_summaries":
        return owner.read_events(*args)
    return owner.post(*args) if func.__name__ == "report" else owner.read(args[0])
