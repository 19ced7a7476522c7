"""Control records that a person or an application writes for one customer: a flush before a change of plan, a word of a test clock.

Numbered effects: 1 the record is acknowledged on the customer's home. A repeated clock says nothing; a repeated flush emits what is new since.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from infra.control import ControlEvent, clock_event, flush_event
from infra.kafka_io import producer
from infra.settle import Settled, settle
from topics.catalog import EVENTS
from topics.clocks import ClockRecord
from topics.home import home_of

if TYPE_CHECKING:
    from infra.settings import Settings
    from infra.target import Target


async def flush_customer(target: Target, customer: str, until_s: int, timeout_s: float, tell: Callable[[str], None]) -> Settled:
    """Emits what the customer used in windows that start before `until_s`, and waits until that is delivered or parked, or the time is out.

    It waits for all that is due, also of other customers: which revision a flush made is not known outside the meter. Raises Unreachable.
    """
    await _publish(target.settings, [flush_event(customer, until_s, secrets.token_hex(8))])
    return await settle(target, timeout_s, tell=tell)


def publish_clock(settings: Settings, customers: Iterable[str], clock: str, now_s: int) -> None:
    """Says on each customer's home what its test clock shows; it acts where the binding names that clock. Raises Unreachable."""
    record = ClockRecord(clock=clock, now_s=now_s)
    asyncio.run(_publish(settings, [clock_event(customer, record) for customer in customers]))


async def _publish(settings: Settings, events: list[ControlEvent]) -> None:
    async with producer(settings.kafka.bootstrap) as client:
        for event in events:
            home = home_of(event.key, settings.kafka.partitions)
            await client.send_and_wait(EVENTS, event.value, event.key, partition=home)
