"""What would be billed wrongly: every reason why a price, a meter or a subscription item cannot serve a meter of ours. Pure.

`check` says all of them at once, `stripe sync` binds nothing that has one, `stripe setup` builds on nothing that has one (hazard H31). A finding
that is no fault is worth a sentence and bills right.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from fractions import Fraction
from typing import TYPE_CHECKING, Final, Literal, NamedTuple

from sinks.stripe.objects import CUSTOMER_KEY, VALUE_KEY
from topics.periods import period_at

if TYPE_CHECKING:
    from sinks.stripe.objects import BillingMeter, Price, Recurring, Row, Subscription

Mode = Literal["usage_records", "meters"]
Aggregation = Literal["", "hour", "day", "sum"]
SPAN_S: Final = {"hour": 3600, "day": 86_400}
"""What a pre-aggregated meter keeps one number for: a UTC hour or day."""
BINDING: Final = frozenset({"active", "trialing", "past_due", "unpaid", "paused"})
"""Statuses whose usage is reported: the subscription lives, and what becomes of its invoices is settled between Stripe and the customer.
`incomplete` waits for its first payment (usage stays, unbound, until then), `incomplete_expired` never lived, `canceled` binds up to its end."""


class Terms(NamedTuple):
    """What the configuration says of one meter at Stripe; an empty name leaves it open. `aggregation` empty: as the meter at Stripe has it."""

    slug: str
    mode: Mode = "usage_records"
    aggregation: Aggregation = ""
    price: str = ""
    meter: str = ""
    event_name: str = ""
    window_s: int = 3600
    scale: str = "1"
    fractions: Literal["refuse", "ledger", "exact"] = "refuse"
    late: Literal["hold", "next_period", "invoice_item", "credit_note"] = "hold"


class Finding(NamedTuple):
    """One thing that is found: `fault` where something would be billed wrongly."""

    code: str
    problem: str
    remedy: str
    fault: bool = True


def price_findings(terms: Terms, price: Price, meters: dict[str, BillingMeter]) -> Iterator[Finding]:
    """What is wrong with a price for a meter of ours. `meters`: the account's Billing Meters by id."""
    recurring = price.recurring
    if recurring is None:
        yield Finding("one_time", f"price {price.id} does not recur: it bills once", "Name a metered price that recurs.")
        return
    if recurring.usage_type != "metered":
        problem = f"price {price.id} is licensed: it bills a fixed quantity, whatever is used"
        yield Finding("licensed", problem, "Name a metered price (usage_type=metered); a fixed fee belongs in stripe.base_price.")
        return
    if price.transform_quantity is not None and Fraction(terms.scale) != 1:
        problem = f"price {price.id} divides by {price.transform_quantity.divide_by}, and scale = {terms.scale} converts before it"
        yield Finding("scale", problem, "Write scale = 1: a price's own packages are rounded once for the period, not once a window.")
    yield from _records_price(price, recurring) if terms.mode == "usage_records" else _meters_price(terms, price, recurring, meters)
    if price.billing_scheme == "tiered":
        problem = f"price {price.id} is {price.tiers_mode or 'tiered'}: what one unit costs depends on the period's total"
        yield Finding("tiers", problem, "Nothing is to be done.", fault=False)


def _records_price(price: Price, recurring: Recurring) -> Iterator[Finding]:
    if recurring.meter is not None:
        problem = f"price {price.id} is on meter {recurring.meter}, which takes no usage records"
        yield Finding("on_a_meter", problem, 'Name a legacy price (without a meter), or write stripe_mode = "meters" for this meter.')
    elif recurring.aggregate_usage != "sum":
        problem = f"price {price.id} has aggregate_usage={recurring.aggregate_usage}: only sum adds windows up"
        yield Finding("aggregate_usage", problem, "Name a price with aggregate_usage=sum; `tidemark stripe setup` makes one.")


def _meters_price(terms: Terms, price: Price, recurring: Recurring, meters: dict[str, BillingMeter]) -> Iterator[Finding]:
    if recurring.meter is None:
        problem = f"price {price.id} is a legacy price: no meter event ever reaches it"
        yield Finding("legacy", problem, 'Name a price on a Billing Meter, or write stripe_mode = "usage_records" for this meter.')
        return
    if terms.meter and recurring.meter != terms.meter:
        problem = f"price {price.id} is on meter {recurring.meter}, the file says {terms.meter}"
        yield Finding("other_meter", problem, "Name the meter of this price, or a price on that meter.")
        return
    meter = meters.get(recurring.meter)
    if meter is None:
        yield Finding("no_meter", f"price {price.id} is on meter {recurring.meter}, which this account does not show", "Name another price.")
        return
    yield from meter_findings(terms, meter)


def meter_findings(terms: Terms, meter: BillingMeter) -> Iterator[Finding]:
    """What is wrong with a Billing Meter for a meter of ours."""
    another = "Make another meter: Stripe never changes one; `tidemark stripe setup` makes one that is right."
    if meter.status != "active":
        problem = f"meter {meter.id} is {meter.status}: its events are refused"
        yield Finding("inactive_meter", problem, f"Reactivate it at Stripe (POST /v1/billing/meters/{meter.id}/reactivate), or name another.")
    if meter.default_aggregation.formula != "sum":
        problem = f"meter {meter.id} has the formula {meter.default_aggregation.formula}: only sum adds up what is sent"
        yield Finding("formula", problem, another)
    if meter.customer_mapping.event_payload_key != CUSTOMER_KEY or meter.customer_mapping.type != "by_id":
        problem = f"meter {meter.id} reads the customer from {meter.customer_mapping.event_payload_key!r}; we send {CUSTOMER_KEY!r}"
        yield Finding("customer_key", problem, another)
    if meter.value_settings.event_payload_key != VALUE_KEY:
        problem = f"meter {meter.id} reads the value from {meter.value_settings.event_payload_key!r}; we send {VALUE_KEY!r}"
        yield Finding("value_key", problem, another)
    if terms.event_name and meter.event_name != terms.event_name:
        problem = f"meter {meter.id} takes events named {meter.event_name!r}, the file says {terms.event_name!r}"
        yield Finding("event_name", problem, f'Write stripe_event_name = "{meter.event_name}", or name another meter.')
    has = meter.event_time_window or "sum"
    if terms.aggregation and has != terms.aggregation:
        kinds = {"hour": "keeps the newest event of each UTC hour", "day": "keeps the newest event of each UTC day", "sum": "adds all events up"}
        problem = f"meter {meter.id} {kinds.get(has, has)}; the file says stripe_aggregation = {terms.aggregation!r}"
        yield Finding("event_time_window", problem, f'Write stripe_aggregation = "{has}", or name another meter.')
    elif meter.event_time_window == "hour" and terms.window_s > SPAN_S["hour"]:
        problem = f"meter {meter.id} keeps a number for each UTC hour, and windows of {terms.window_s} s are longer"
        yield Finding("window", problem, 'Write window = "1h" or less, or name a meter of a day or without an event_time_window.')


def aggregation_of(meter: BillingMeter) -> Aggregation:
    """How a meter adds up, as a binding says it."""
    window = meter.event_time_window
    return "hour" if window == "hour" else "day" if window == "day" else "sum"


def item_findings(terms: Terms, row: Row, subscription: Subscription, meters: dict[str, BillingMeter]) -> Iterator[Finding]:
    """What is wrong with a subscription item for a meter of ours, its price and meter included."""
    yield from price_findings(terms, row.price, meters)
    if not row.price.active:
        problem = f"price {row.price.id} is archived: item {row.id} is billed by it, and no new subscription can have it"
        yield Finding("archived", problem, "Nothing is to be done for this item.", fault=False)
    yield from _threshold_findings(terms, row, subscription)
    yield from _status_findings(subscription)
    recurring = row.price.recurring
    if recurring is None:
        return
    for other in subscription.items.data:
        of_other = other.price.recurring
        if of_other is not None and (of_other.interval, of_other.interval_count) != (recurring.interval, recurring.interval_count):
            problem = f"subscription {subscription.id} mixes intervals: {row.id} bills by {recurring.interval}, {other.id} by {of_other.interval}"
            remedy = "Put items of different intervals on subscriptions of their own."
            yield Finding("intervals", problem, remedy, fault=terms.mode == "usage_records")
            break
    yield from _edge_findings(row, recurring, subscription, meters)


def _threshold_findings(terms: Terms, row: Row, subscription: Subscription) -> Iterator[Finding]:
    owners = [("item " + row.id, row.billing_thresholds), ("subscription " + subscription.id, subscription.billing_thresholds)]
    for owner, threshold in owners:
        if threshold is None:
            continue
        if terms.mode == "usage_records":
            problem = f"{owner} has billing thresholds: Stripe then refuses the action set"
            yield Finding("thresholds", problem, "Remove the billing thresholds at Stripe.")
        else:
            problem = f"{owner} has billing thresholds: late usage of an invoice made by one is billed on the next"
            yield Finding("thresholds", problem, "Nothing is to be done where that is wanted.", fault=False)


def _status_findings(subscription: Subscription) -> Iterator[Finding]:
    status = subscription.status
    if status not in BINDING:
        problem = f"subscription {subscription.id} is {status}: nothing that is reported to it is billed"
        yield Finding("status", problem, "Bind the customer's running subscription; `tidemark stripe setup` makes one where none is.")
    elif status in {"unpaid", "paused"}:
        problem = f"subscription {subscription.id} is {status}: usage is reported, and Stripe bills it only when the customer pays or resumes"
        yield Finding("status", problem, "Stop the customer's use, if that is wanted.", fault=False)
    if subscription.pause_collection is not None:
        problem = f"subscription {subscription.id} pauses collection ({subscription.pause_collection.behavior}): its invoices ask for nothing"
        yield Finding("pause_collection", problem, "End the pause at Stripe, if that is not wanted.", fault=False)


def _edge_findings(row: Row, recurring: Recurring, subscription: Subscription, meters: dict[str, BillingMeter]) -> Iterator[Finding]:
    anchor_s = subscription.billing_cycle_anchor
    meter = meters.get(recurring.meter or "")
    window = None if meter is None else meter.event_time_window
    if window in SPAN_S and anchor_s % SPAN_S[window]:
        problem = (
            f"subscription {subscription.id} changes its period inside a UTC {window}, and meter {recurring.meter} keeps one number for it: "
            "usage before and after the edge cannot be told apart"
        )
        remedy = "Use a meter without an event_time_window (signed deltas), or a subscription whose billing_cycle_anchor is on the boundary."
        yield Finding("anchor", problem, remedy)
    ends_s = row.current_period_end if row.current_period_end is not None else subscription.current_period_end
    runs_out = subscription.ends_at_s is not None or subscription.status == "trialing"
    if ends_s is None or runs_out:
        return
    if period_at(anchor_s, recurring.interval, recurring.interval_count, ends_s).start_s != ends_s:
        problem = f"item {row.id}: Stripe ends its period at {ends_s}, which is no edge of the cycle that begins at {anchor_s}"
        yield Finding("edges", problem, "Look at the subscription's schedule and trial; report it if both are plain.")


def customer_findings(bound: Sequence[tuple[Terms, Row]]) -> Iterator[Finding]:
    """What is wrong with all the items of one customer together, each given with the meter of ours that it would be bound to."""
    for slug, count in sorted(Counter(terms.slug for terms, _ in bound).items()):
        if count > 1:
            ids = ", ".join(row.id for terms, row in bound if terms.slug == slug)
            problem = f"{count} items for meter {slug!r} ({ids}): neither is taken"
            yield Finding("two_items", problem, "End all but one of them at Stripe, or name the right one below [[customers.items]].")
    shared: dict[str, set[str]] = {}
    for terms, row in bound:
        if row.price.recurring is not None and row.price.recurring.meter is not None:
            shared.setdefault(row.price.recurring.meter, set()).add(terms.slug)
    for meter, slugs in sorted(shared.items()):
        if len(slugs) > 1:
            problem = f"meters {', '.join(sorted(slugs))} report to one Billing Meter {meter}: their numbers would overwrite each other"
            yield Finding("shared_meter", problem, "Give each of them a Billing Meter and a price of its own.")
    currencies = {row.price.currency for _, row in bound}
    if len(currencies) > 1:
        problem = f"its items are in {', '.join(sorted(currencies))}: they end on invoices of their own"
        yield Finding("currencies", problem, "Nothing is to be done where that is wanted.", fault=False)
