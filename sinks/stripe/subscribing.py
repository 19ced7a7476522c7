"""`stripe setup`, second half: customers, and subscriptions that hold the base price and every meter's. For the command line; calls block."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

from sinks.stripe.access import Access, Eras, customers_of, each, subscriptions_of
from sinks.stripe.binding import terms_of
from sinks.stripe.objects import CUSTOMER, Price, Subscription
from sinks.stripe.setup import Catalogue, Made, NewCustomer, Plan, set_up_catalogue
from sinks.stripe.suitability import BINDING, SPAN_S, Aggregation
from topics.errors import TidemarkError, UsageError
from topics.periods import Interval, edge, period_at

DAY_S: Final = 86_400
_DEAD: Final = frozenset({"canceled", "incomplete_expired"})


class _Standing(NamedTuple):
    """What is there for customers: ids by our name, and subscriptions by Stripe's customer."""

    ids: dict[str, str]
    subscriptions: dict[str, list[Subscription]]


def set_up(eras: Eras, plan: Plan) -> Catalogue:
    """Make what is missing. Doing it twice, or again after it was interrupted anywhere, makes nothing twice.

    `since_s` of the plan: subscriptions begin then, so that usage since then is taken. Raises ConfigurationFault where the configuration names
    what would bill wrongly, before anything is made for customers.
    """
    step_s = _step_s(plan)
    if plan.trial_until_s is not None and (plan.trial_until_s <= plan.now_s or plan.trial_until_s % step_s):
        raise UsageError(f"a trial ends in the future, and here on a whole multiple of {step_s} s (UTC), since its period begins there")
    found = set_up_catalogue(eras, plan)
    if not found.prices or not plan.customers:
        return found
    clocks = sorted({customer.clock for customer in plan.customers if customer.clock})
    standing = _read_standing(eras, plan, clocks)
    missing = [customer for customer in plan.customers if customer.id not in standing.ids]
    ids = standing.ids | dict(
        zip([customer.id for customer in missing], each(missing, lambda customer: _customer(eras, customer, found.made)), strict=True)
    )
    now = {clock: int(eras.modern.get(f"/v1/test_helpers/test_clocks/{clock}")["frozen_time"]) for clock in clocks}

    def subscribe(customer: NewCustomer) -> None:
        now_s = now[customer.clock] if customer.clock else plan.now_s
        _subscribe(eras, plan, (customer.id, ids[customer.id]), found, standing.subscriptions.get(ids[customer.id], []), now_s)

    each(list(plan.customers), subscribe)
    return found


def _read_standing(eras: Eras, plan: Plan, clocks: Sequence[str]) -> _Standing:
    named = {customer.id: customer.stripe_customer for customer in plan.customers if customer.stripe_customer}
    ids = {row.metadata[CUSTOMER]: row.id for row in customers_of(eras.modern, clocks) if row.metadata.get(CUSTOMER)} | named
    subscriptions: dict[str, list[Subscription]] = {}
    legacy = any(meter.terms.mode == "usage_records" for meter in plan.meters)
    for subscription in subscriptions_of(eras.of(legacy=legacy), clocks):
        if subscription.status not in _DEAD:
            subscriptions.setdefault(subscription.customer_id, []).append(subscription)
    return _Standing(ids, subscriptions)


def _customer(eras: Eras, customer: NewCustomer, made: list[Made]) -> str:
    # Stripe's metadata values hold 500 characters; a longer name could never be read back.
    if len(customer.id) > 500:
        said = f"customer {customer.id[:60]!r}…: a name of more than 500 characters does not fit Stripe's metadata; bind it in the file"
        raise TidemarkError(said)
    more = {"email": customer.email, "test_clock": customer.clock}
    created = eras.modern.post(
        "/v1/customers", name=customer.id[:256], metadata={CUSTOMER: customer.id}, **{name: value for name, value in more.items() if value}
    )
    made.append(Made("customer", created["id"], customer.id))
    return str(created["id"])


def _subscribe(eras: Eras, plan: Plan, who: tuple[str, str], found: Catalogue, standing: Sequence[Subscription], now_s: int) -> None:
    """Give the customer an item for every price: in a subscription that runs, else in a new one."""
    customer, stripe_id = who
    wanted = _wanted(plan, found, standing)
    if not wanted:
        return
    legacy = any(price.recurring is not None and price.recurring.usage_type == "metered" and price.recurring.meter is None for price in wanted)
    access = eras.of(legacy=legacy)
    if plan.trial_until_s is not None:
        _try_out(access, plan.trial_until_s, who, [price for price in wanted if price is not found.base], found.made)
        return
    running = [subscription for subscription in standing if subscription.status in BINDING and subscription.ends_at_s is None]
    if running:
        for price in wanted:
            item = access.post("/v1/subscription_items", subscription=running[0].id, price=price.id, proration_behavior="none")
            found.made.append(Made("item", item["id"], customer))
        return
    # Without a payment method an automatic charge would fail, and with it the subscription: usage is invoiced.
    terms: dict[str, Any] = {"collection_method": "send_invoice", "days_until_due": 30, "proration_behavior": "none"}
    terms |= _times(plan, now_s, _step_s(plan))
    created = access.post(
        "/v1/subscriptions", customer=stripe_id, items=[{"price": price.id} for price in wanted], metadata={CUSTOMER: customer}, **terms
    )
    found.made.append(Made("subscription", created["id"], customer))


def _try_out(access: Access, until_s: int, who: tuple[str, str], prices: Sequence[Price], made: list[Made]) -> None:
    """A subscription beside the running one, free until `until_s`, where its first paid period begins."""
    customer, stripe_id = who
    if not prices:
        return
    created = access.post(
        "/v1/subscriptions",
        customer=stripe_id,
        items=[{"price": price.id} for price in prices],
        metadata={CUSTOMER: customer},
        collection_method="send_invoice",
        days_until_due=30,
        proration_behavior="none",
        trial_end=until_s,
    )
    made.append(Made("trial", created["id"], customer))


def _wanted(plan: Plan, found: Catalogue, standing: Sequence[Subscription]) -> list[Price]:
    """The prices that the customer has no item for. A meter is held by any price that bills it: a plan of its own, perhaps."""
    rows = [row for subscription in standing for row in subscription.items.data]
    terms = [meter.terms for meter in plan.meters]
    held = {meant.slug for meant in (terms_of(row.price, terms) for row in rows) if meant is not None}
    meters = {row.price.recurring.meter for row in rows if row.price.recurring is not None}
    wanted = [] if found.base is None or any(row.price.id == found.base.id for row in rows) else [found.base]
    for slug, price in found.prices.items():
        on = price.recurring.meter if price.recurring is not None else None
        if slug not in held and (on is None or on not in meters):
            wanted.append(price)
    return wanted


def _step_s(plan: Plan) -> int:
    """What a period's edge must be a multiple of: a pre-aggregated meter keeps one number for a UTC hour or day (law 12)."""
    kept: list[Aggregation] = [
        meter.terms.aggregation or ("hour" if meter.terms.window_s <= SPAN_S["hour"] else "day")
        for meter in plan.meters
        if meter.terms.mode == "meters"
    ]
    return max((SPAN_S.get(one, 1) for one in kept), default=1)


def _times(plan: Plan, now_s: int, step_s: int) -> Mapping[str, int]:
    """When a new subscription begins, and the first edge of its periods."""
    if plan.since_s is not None and plan.since_s < now_s:
        anchor_s = first_edge_after(plan.since_s, now_s, step_s, plan.interval)
        return {"backdate_start_date": plan.since_s, "billing_cycle_anchor": anchor_s}
    # The next hour or day begins the cycle: a short first period, and edges that such a meter can tell apart for ever.
    return {} if step_s == 1 else {"billing_cycle_anchor": (now_s // step_s + 1) * step_s}


def first_edge_after(since_s: int, now_s: int, step_s: int = 1, interval: Interval = "month") -> int:
    """The first edge of a cycle begun at `since_s` that lies ahead, but no later than Stripe allows: one period from now.

    Named explicitly, because what the first period of a subscription backdated without an anchor takes is not documented. Some time is kept
    for clocks that differ: a day, or an hour where the period is a day. `step_s`: an edge is a multiple of it.
    """
    kept_s = 3600 if interval == "day" else DAY_S
    begun_s = since_s - since_s % step_s
    ahead = period_at(begun_s, interval, 1, now_s + kept_s).end_s
    latest = edge(now_s, interval, 1, 1) - kept_s
    return min(ahead, latest - latest % step_s)
