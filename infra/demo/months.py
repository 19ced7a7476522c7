"""The months of several customers, each on a clock of its own, beside everything else that a demo does."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from infra.demo.books import books
from infra.demo.month import Billed, InvoiceLine, Stage, Subscriber, Tell
from infra.demo.month_usage import DAY_S, Counted
from infra.webhooks.kafka_log import KafkaLog

if TYPE_CHECKING:
    from infra.demo.usage import Expected
    from infra.settings import Settings

PEOPLE: Final = (("fabrikam", 36 * DAY_S + 13_577), ("contoso", 40 * DAY_S + 47_311))
"""Who lives through a month in the built-in demo, and how many seconds ago it began: no whole hours, so that periods end inside windows."""

HOURS: Final = 48
"""In which they use something: enough windows for every week, few enough for a minute."""


def subscribers(now: datetime, meters: Sequence[tuple[str, str, str]], prices: Mapping[str, str]) -> list[Subscriber]:
    """The people of the built-in demo; `prices` by meter."""
    counted = tuple(Counted(*meter) for meter in meters)
    plan = tuple((meter.slug, prices[meter.slug]) for meter in counted)
    return [Subscriber(name, int(now.timestamp()) - ago_s, counted, (plan,), hours=HOURS) for name, ago_s in PEOPLE]


@asynccontextmanager
async def passing(settings: Settings, people: Sequence[Subscriber], tell: Tell) -> AsyncIterator[asyncio.Task[list[Billed]]]:
    """Their months pass at once, from now on; the task gives them when they are billed. What fails ends all of them."""
    log = KafkaLog(settings.kafka.bootstrap)
    try:
        async with books(settings) as account:
            await log.start()
            stage = Stage(account, log, settings.kafka.bootstrap, tell)
            living = asyncio.create_task(together(stage, people))
            try:
                yield living
            finally:
                living.cancel()
                await asyncio.gather(living, return_exceptions=True)
    finally:
        await log.stop()


async def together(stage: Stage, people: Sequence[Subscriber]) -> list[Billed]:
    """All of their months at once, in this order; where one fails, the others end too."""
    lives = [asyncio.create_task(stage.live(who)) for who in people]
    try:
        return list(await asyncio.gather(*lives))
    finally:
        for life in lives:
            life.cancel()


def add(expected: Expected, months: Sequence[Billed]) -> None:
    """What the months used is part of what a demo expects to find everywhere."""
    for each in months:
        for slug, units in each.month.units.items():
            expected.units[each.month.customer, slug] += units
            expected.events[each.month.customer, slug] += each.month.events[slug]
        expected.kinds.update(each.month.kinds)


def rows(months: Sequence[Billed]) -> list[tuple[str, str, str, int, int, InvoiceLine | None]]:
    """(customer, meter, period, events, units used, line) of every meter."""
    found = []
    for each in months:
        month = each.month
        period = " … ".join(datetime.fromtimestamp(at_s, UTC).strftime("%Y-%m-%d %H:%M:%S") for at_s in (month.start_s, month.end_s))
        found += [(month.customer, slug, period, month.events[slug], units, each.lines.get(slug)) for slug, units in sorted(month.units.items())]
    return found


def as_json(months: Sequence[Billed]) -> list[dict[str, Any]]:
    """For `--json`."""
    names = ("customer", "meter", "period", "events", "used")
    return [{**dict(zip(names, row[:-1], strict=True)), "billed": None if row[-1] is None else row[-1]._asdict()} for row in rows(months)]


def shortest(months: Sequence[Billed]) -> InvoiceLine | None:
    """The line to be taken apart: that of the fewest units, so that it can be read."""
    lines = [line for each in months for line in each.lines.values()]
    return min(lines, key=lambda line: line.units, default=None)
