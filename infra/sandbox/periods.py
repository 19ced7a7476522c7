"""Billing periods: edges at anchor + k × interval, a month's missing day clamped to its last one.

Source: https://docs.stripe.com/billing/subscriptions/billing-cycle
An anchor of January 31 bills on February 28 (or 29), March 31, April 30.
Edges are always computed from the anchor, never from the previous edge, so that a short month does not shorten the ones after it.
Everything is whole Unix seconds, UTC.
"""

from __future__ import annotations

import calendar
from dataclasses import dataclass
from datetime import UTC, datetime

from infra.sandbox import errors

DAY_S = 86_400
_FIXED_S = {"day": DAY_S, "week": 604_800}
_MEAN_S = {"month": 2_629_746, "year": 31_556_952}
"""Mean Gregorian lengths; only a first guess for the index, corrected by comparison."""
LONGEST = {"day": 1095, "week": 156, "month": 36, "year": 3}
"""The longest interval is three years (Stripe's API reference, `recurring.interval_count`)."""


@dataclass(frozen=True, slots=True)
class Period:
    """One billing period; `index` counts from 0, the first period of the subscription."""

    index: int
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Schedule:
    """All periods of a subscription: the first from `first_start`, which may be longer or shorter than an interval, then anchor by anchor.

    `first_edge` is k of the first edge: the first period ends at anchor + k × interval. `past` are the (start, end) of periods before
    `first_start`, from before the billing cycle was set anew; they have the first indices.
    """

    first_start: int
    anchor: int
    interval: str
    count: int
    first_edge: int
    past: tuple[tuple[int, int], ...] = ()

    def period(self, index: int) -> Period:
        """The period with this index, index ≥ 0."""
        k = index - len(self.past)
        if k < 0:
            return Period(index, *self.past[index])
        start = self.first_start if k == 0 else self._edge(self.first_edge + k - 1)
        return Period(index, start, self._edge(self.first_edge + k))

    def at(self, second: float) -> Period:
        """The period that holds an instant; before the first one it is the first."""
        length_s = (_FIXED_S.get(self.interval) or _MEAN_S[self.interval]) * self.count
        index = max(0, int((second - self.anchor) // length_s) - self.first_edge) + len(self.past)
        while index > 0 and self.period(index).start > second:
            index -= 1
        while self.period(index).end <= second:
            index += 1
        return self.period(index)

    def anew(self, before: int, *, now: int, anchor: int, first_edge: int, interval: str, count: int) -> Schedule:
        """The schedule with a new cycle from `now` on; the period with index `before` ends there, later ones of the old cycle never come."""
        ended = [self.period(index) for index in range(before + 1)]
        past = tuple((each.start, min(each.end, now)) for each in ended)
        return Schedule(now, anchor, interval, count, first_edge, past)

    def _edge(self, k: int) -> int:
        return edge(self.anchor, self.interval, self.count, k)


def edge(anchor: int, interval: str, count: int, k: int) -> int:
    """anchor + k × count intervals, in Unix seconds; months and years keep the anchor's day where the month has it."""
    if interval in _FIXED_S:
        return anchor + k * count * _FIXED_S[interval]
    at = datetime.fromtimestamp(anchor, UTC)
    months = at.year * 12 + at.month - 1 + k * count * (12 if interval == "year" else 1)
    year, month = divmod(months, 12)
    day = min(at.day, calendar.monthrange(year, month + 1)[1])
    return int(at.replace(year=year, month=month + 1, day=day).timestamp())


def opened(*, created: int, start: int | None, anchor: int | None, interval: str, count: int, backdated_usage: bool) -> Schedule:
    """The schedule of a new subscription; `start` is `backdate_start_date`, `anchor` `billing_cycle_anchor`, both optional.

    A future anchor ends the first period, which begins at the start date. Without an anchor the anchor is the moment of creation
    (documented for backdating too); whether a backdated subscription's first period then begins at its start date is the knob
    `backdated_usage`.
    """
    if start is not None and start > created:
        message = "The backdated subscription start date must be in the past."
        raise errors.refused(message, rule="subscriptions.backdate", param="backdate_start_date")
    if anchor is None:
        first_start = start if start is not None and backdated_usage else created
        return Schedule(first_start, created, interval, count, 1)
    if anchor <= created:
        message = "billing_cycle_anchor must be a timestamp in the future."
        raise errors.refused(message, rule="subscriptions.anchor", param="billing_cycle_anchor")
    natural = edge(created, interval, count, 1)
    if anchor > natural:
        message = f"billing_cycle_anchor cannot be later than next natural billing date ({natural}) for plan."
        raise errors.refused(message, rule="subscriptions.anchor", param="billing_cycle_anchor")
    return Schedule(created if start is None else start, anchor, interval, count, 0)
