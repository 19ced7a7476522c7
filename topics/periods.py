"""Billing periods: the k-th period of an anchor and an interval, as Stripe counts them.

Stripe, "Set the billing cycle date": a monthly anchor on the 31st bills on the last day of a shorter month and returns to the 31st after it,
so the k-th edge is counted from the anchor itself, never from the edge before.
"""

from __future__ import annotations

import calendar
from typing import Literal, NamedTuple

from topics.instants import CYCLE_YEARS, EPOCH, civil, days_of

Interval = Literal["day", "week", "month", "year"]
INTERVALS: tuple[Interval, ...] = ("day", "week", "month", "year")
_DAY_S = 86_400
_FIXED_S = {"day": _DAY_S, "week": 7 * _DAY_S}


class Period(NamedTuple):
    """`[start_s, end_s)` of one billing period."""

    start_s: int
    end_s: int


def edge(anchor_s: int, interval: Interval, count: int, k: int) -> int:
    """The k-th edge (k may be negative) of a billing cycle; edge 0 is the anchor."""
    if interval in _FIXED_S:
        return anchor_s + k * count * _FIXED_S[interval]
    months = k * count * (12 if interval == "year" else 1)
    days, second = divmod(anchor_s, _DAY_S)
    year, month, day = civil(days)
    year, month0 = divmod(year * 12 + month - 1 + months, 12)
    day = min(day, calendar.monthrange(EPOCH.year + (year - EPOCH.year) % CYCLE_YEARS, month0 + 1)[1])
    return days_of(year, month0 + 1, day) * _DAY_S + second


def period_at(anchor_s: int, interval: Interval, count: int, instant_s: int) -> Period:
    """The period that holds the instant."""
    if interval in _FIXED_S:
        k = (instant_s - anchor_s) // (count * _FIXED_S[interval])
    else:
        there, here = civil(anchor_s // _DAY_S), civil(instant_s // _DAY_S)
        months = (here[0] - there[0]) * 12 + here[1] - there[1]
        k = months // (count * (12 if interval == "year" else 1))
        while edge(anchor_s, interval, count, k) > instant_s:
            k -= 1
        while edge(anchor_s, interval, count, k + 1) <= instant_s:
            k += 1
    return Period(edge(anchor_s, interval, count, k), edge(anchor_s, interval, count, k + 1))
