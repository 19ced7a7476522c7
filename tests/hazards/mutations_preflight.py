"""Guards of what is said before money is lost: prices, meters and items that bill wrongly (H31)."""

from __future__ import annotations

from typing import Final

from tests.hazards.mutation import without

SUITS = "sinks.stripe.suitability"

PREFLIGHT: Final = (
    without(
        "any-aggregate-serves", "H31", "only a price that sums adds windows up",
        f"{SUITS}:_records_price", 'elif recurring.aggregate_usage != "sum":', "elif False:", "H31",
    ),
    without(
        "meter-price-takes-records", "H31", "a price on a meter takes no usage records",
        f"{SUITS}:_records_price", "if recurring.meter is not None:", "if False:", "H31",
    ),
    without(
        "licensed-price-serves", "H31", "a licensed price bills no usage",
        f"{SUITS}:price_findings", 'if recurring.usage_type != "metered":', "if False:", "H31",
    ),
    without(
        "thresholds-are-overlooked", "H31", "with billing thresholds Stripe refuses set",
        f"{SUITS}:_threshold_findings", 'if terms.mode == "usage_records":', "if False:", "H31",
    ),
    without(
        "ended-subscription-serves", "H31", "what is reported to a subscription that ended is not billed",
        f"{SUITS}:_status_findings", "if status not in BINDING:", "if False:", "H31",
    ),
    without(
        "legacy-price-on-meters", "H31", "no meter event reaches a legacy price",
        f"{SUITS}:_meters_price", "if recurring.meter is None:", "if False:", "H31",
    ),
    without(
        "any-formula-serves", "H31", "only a meter that sums adds up what is sent",
        f"{SUITS}:meter_findings", 'if meter.default_aggregation.formula != "sum":', "if False:", "H31",
    ),
    without(
        "any-event-time-window-serves", "H31", "set needs the hour or day that the configuration counts on, deltas need none",
        f"{SUITS}:meter_findings", "if terms.aggregation and has != terms.aggregation:", "if False:", "H31",
    ),
    without(
        "window-longer-than-the-hour", "H31", "a window is no longer than what the meter keeps one number for",
        f"{SUITS}:meter_findings", 'terms.window_s > SPAN_S["hour"]:', "False:", "H31",
    ),
    without(
        "edge-inside-an-hour", "H31, 12", "a period's edge inside the hour that a meter keeps one number for is named",
        f"{SUITS}:_edge_findings", "if window in SPAN_S and anchor_s % SPAN_S[window]:", "if False:", "H31",
    ),
    without(
        "two-items-are-guessed", "H31", "of two items for one meter neither is taken",
        f"{SUITS}:customer_findings", "if count > 1:", "if False:", "H31 shared",
    ),
    without(
        "two-meters-on-one", "H31, 12", "two meters that report to one Billing Meter are named",
        f"{SUITS}:customer_findings", "if len(slugs) > 1:", "if False:", "H31 shared",
    ),
)  # fmt: skip
