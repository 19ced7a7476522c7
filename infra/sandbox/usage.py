"""Usage records: which timestamps are taken, and what a period's cells add up to.

A cell is (subscription item, second). `set` replaces its quantity, `increment` adds to it; there is no third thing and no deletion.
"""

from __future__ import annotations

from collections.abc import Iterable

from infra.sandbox import errors
from infra.sandbox.errors import ApiError
from infra.sandbox.knobs import Knobs
from infra.sandbox.params import INT64_MAX
from infra.sandbox.periods import Period

BEFORE_PERIOD = (
    "Cannot create the usage record with this timestamp because timestamps must be after the subscription's last invoice period "
    "(or current period start time)."
)
"""Stripe's words, seen in five public reports (authgear/authgear-server#2430, stripe/stripe-node#725, ...)."""
IN_FUTURE = "Cannot create the usage record with this timestamp because timestamps must not be in the future."
AFTER_PERIOD = "Cannot create the usage record with this timestamp because timestamps must be within the current billing period."
LICENSED = "Cannot create a usage record for `{item}` because its price has usage_type=licensed; usage records need usage_type=metered."
CANCELED = "Cannot create a usage record for `{item}` because its subscription `{subscription}` is canceled."
THRESHOLDS = "Cannot use action=set for `{item}` because its subscription has billing thresholds; increment is the only allowed value."
ON_METER = "Cannot create a usage record for `{item}` because it is not on the legacy metered billing system. Call /v1/billing/meter_events instead."
SUMMARIES_ON_METER = (
    "Cannot list usage record summaries for `{item}` because it is not on the legacy metered billing system. "
    "Call /v1/billing/meters/:id/event_summaries instead."
)
"""ON_METER and SUMMARIES_ON_METER are Stripe's words (laravel/cashier-stripe#1709); the four between are ours, Stripe's are not known."""


def refusal(second: int, *, now_s: float, period: Period, aggregate: str, knobs: Knobs) -> ApiError | None:
    """Why a timestamp is not taken, or None if it is. `period` is the current one at `now_s`."""
    if second > now_s + knobs.future_s:
        return errors.refused(IN_FUTURE, rule="usage.future", param="timestamp")
    if second > bounds(period, knobs)[1]:
        return errors.refused(AFTER_PERIOD, rule="usage.after_period", param="timestamp")
    if holds(period, second, knobs) or _in_grace(second, now_s=now_s, period=period, aggregate=aggregate, knobs=knobs):
        return None
    return errors.refused(BEFORE_PERIOD, rule="usage.before_period", param="timestamp")


def bounds(period: Period, knobs: Knobs) -> tuple[int, int]:
    """The first and last second that belong to a period: (start, end] as the error's "after" says, or [start, end) by the knob."""
    shift = 0 if knobs.period_start_taken else 1
    return period.start + shift, period.end - 1 + shift


def holds(period: Period, second: int, knobs: Knobs) -> bool:
    """Whether a second belongs to a period; each second belongs to exactly one."""
    first, last = bounds(period, knobs)
    return first <= second <= last


def _in_grace(second: int, *, now_s: float, period: Period, aggregate: str, knobs: Knobs) -> bool:
    """The clock-drift grace: only `sum`, only in the first seconds of a period with a predecessor, only for the predecessor's last ones."""
    if aggregate != "sum" or period.index == 0 or now_s >= period.start + knobs.grace_s:
        return False
    return period.start - knobs.grace_s <= second


def incremented(standing: int, quantity: int) -> int:
    """The cell after an increment; refused, not wrapped, where 64 bits end."""
    total = standing + quantity
    if total > INT64_MAX:
        raise errors.out_of_range("quantity", f"This value would raise the usage at this timestamp above {INT64_MAX}.")
    return total


def aggregated(aggregate: str, cells: Iterable[tuple[int, int]]) -> int:
    """What a period bills, from its (second, quantity) cells in order of time; `last_ever` wants every cell up to the period's end.

    That `max` and the two `last_...` look at the cell after its increments merged, is inferred.
    """
    quantities = [quantity for _, quantity in cells]
    if not quantities:
        return 0
    if aggregate == "max":
        return max(quantities)
    return sum(quantities) if aggregate == "sum" else quantities[-1]
