"""Before the switch of a migration: what two meters of one customer, one legacy and one on a Billing Meter, hold at Stripe for the same period.

Pure but for the reading that it is given. Stripe reads a meter by whole minutes: an edge inside a minute is read with the whole minute, so two
windows shorter than a minute at a period's edge may be seen on both sides of it.
"""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

from sinks.outcomes import RetryAfter
from topics.errors import TidemarkError
from topics.quantity import ONE

if TYPE_CHECKING:
    from sinks.readback import Summary
    from topics.bindings import Item
    from topics.periods import Period

MINUTE_S: Final = 60


class Reading(Protocol):
    """`sinks.stripe.client.StripeAccess` as this file uses it."""

    def summaries(self, item: str, back_to_s: int) -> list[Summary] | RetryAfter:
        """A legacy item's totals per period."""
        ...

    def event_summaries(self, event_name: str, customer: str, grouping: str, start_s: int, end_s: int) -> list[Summary] | RetryAfter:
        """A customer's usage of a meter; without `grouping` of the whole time in one."""
        ...


class Compared(NamedTuple):
    """One customer's two totals of one period, each in the meter's own quantity (units ÷ scale)."""

    customer: str
    period: Period
    first: Fraction
    second: Fraction

    @property
    def difference(self) -> Fraction:
        """What the second holds more."""
        return self.second - self.first


def compare(
    reading: Reading, items: dict[str, tuple[Item, ...]], meters: tuple[str, str], now_of: Callable[[str], int]
) -> tuple[list[Compared], list[str]]:
    """Both totals of every customer that is bound to both meters, for the period that holds `now_of(clock)`; and who cannot be compared, and why.

    Raises TidemarkError where Stripe does not answer: half a comparison is none.
    """
    found, problems = list[Compared](), list[str]()
    for customer, bound in items.items():
        by_meter = {item.meter: item for item in bound}
        if not set(meters) <= by_meter.keys():
            continue
        first, second = (by_meter[meter] for meter in meters)
        now_s = now_of(first.clock)
        period = first.period_at(now_s)
        if second.period_at(now_s) != period:
            problems.append(f"customer {customer!r}: {meters[0]} and {meters[1]} have other periods: they cannot be compared")
            continue
        found.append(Compared(customer, period, _total(reading, first, period, now_s), _total(reading, second, period, now_s)))
    return found, problems


def _total(reading: Reading, item: Item, period: Period, now_s: int) -> Fraction:
    """What an item holds in a period, in the meter's own quantity."""
    if item.mode == "usage_records":
        answered = reading.summaries(item.item, period.start_s)
    else:
        start_s = max(period.start_s, item.billable_from_s)
        end_s = min(period.end_s, now_s + MINUTE_S)
        answered = reading.event_summaries(
            item.event_name, item.stripe_customer, "", start_s - start_s % MINUTE_S, end_s + -end_s % MINUTE_S
        )
    if isinstance(answered, RetryAfter):
        raise TidemarkError(f"the totals of {item.item} cannot be read: {answered.sentence}")
    if item.mode == "usage_records":
        units = Fraction(sum(summary.total for summary in answered if summary.start_s < period.end_s and summary.end_s > period.start_s))
    else:
        units = Fraction(sum(summary.total for summary in answered), ONE)
    return units / Fraction(item.scale)
