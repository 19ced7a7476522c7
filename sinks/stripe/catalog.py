"""What stands at Stripe around the usage: `setup` makes what is missing, `sync` reads who is billed where. For the command line; calls block.

All calls go out under the pinned version (`sinks/stripe/request.py`): a legacy metered price, `aggregate_usage=sum`, cannot be made under a
newer one, and a subscription shows its period and anchor as this file reads them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, NamedTuple, Protocol, TypeVar

import msgspec

from topics.bindings import Item
from topics.errors import TidemarkError
from topics.periods import Interval, edge, period_at

METER: Final = "tidemark_meter"
CUSTOMER: Final = "tidemark_customer"
"""Names in `metadata`, by which what we made is found again and a Stripe customer is given the name that events use."""
THREADS: Final = 8
"""Calls at once of a setup: a test account takes 25 a second."""
DAY_S: Final = 86_400
T = TypeVar("T")
R = TypeVar("R")


class Access(Protocol):
    """`sinks.stripe.client.StripeAccess` as this file uses it."""

    def get(self, path: str, **parameters: Any) -> dict[str, Any]:
        """GET; the decoded object."""
        ...

    def post(self, path: str, idempotency_key: str | None = None, **parameters: Any) -> dict[str, Any]:
        """POST; the decoded object."""
        ...

    def pages(self, path: str, **parameters: Any) -> Iterable[dict[str, Any]]:
        """All rows of a list."""
        ...


class Made(NamedTuple):
    """Something that setup created: `what` it is, its id, for whom."""

    what: str
    id: str
    owner: str


class Facts(NamedTuple):
    """What Stripe knows about one subscription item; what a binding needs."""

    price: str
    subscription: str
    period_anchor_s: int
    period: Interval
    period_count: int
    starts_at_s: int


class Synced(NamedTuple):
    """Items by customer (CloudEvents' `subject`), and what was left out and why."""

    items: dict[str, tuple[Item, ...]]
    problems: list[str]


class _Recurring(msgspec.Struct):
    interval: Interval
    interval_count: int
    usage_type: str
    aggregate_usage: str | None = None
    meter: str | None = None


class _Price(msgspec.Struct):
    id: str
    recurring: _Recurring | None = None
    metadata: dict[str, str] = {}


class _Item(msgspec.Struct):
    id: str
    price: _Price


class _Items(msgspec.Struct):
    data: list[_Item]
    has_more: bool = False


class _Subscription(msgspec.Struct):
    id: str
    customer: str
    billing_cycle_anchor: int
    start_date: int
    items: _Items
    metadata: dict[str, str] = {}


def setup(
    access: Access, *, meters: Mapping[str, str | None], customers: Sequence[str], now_s: int, since_s: int | None = None
) -> list[Made]:
    """Create product, price, customer and subscription where missing; what was created. Doing it twice creates nothing twice.

    `meters`: slug → the price that the configuration names (None: ours, found by its metadata or made). `since_s`: subscriptions begin then,
    so that usage since then is taken. A crash in between leaves parts that the next setup finds.
    """
    made: list[Made] = []
    prices = {slug: price or _price(access, slug, made) for slug, price in meters.items()}
    if not prices or not customers:
        return made
    known = {row["metadata"][CUSTOMER]: row["id"] for row in access.pages("/v1/customers") if _metadata(row).get(CUSTOMER)}
    missing = [customer for customer in customers if customer not in known]
    known |= dict(zip(missing, _each(missing, lambda customer: _customer(access, customer, made)), strict=True))
    subscriptions: dict[str, list[_Subscription]] = {}
    for row in access.pages("/v1/subscriptions"):
        found = _subscription(row)
        subscriptions.setdefault(found.customer, []).append(found)

    def subscribe(customer: str) -> None:
        _subscribe(access, customer, known[customer], prices, subscriptions.get(known[customer], []), (now_s, since_s), made)

    _each(list(customers), subscribe)
    return made


def _price(access: Access, slug: str, made: list[Made]) -> str:
    for row in access.pages("/v1/prices", active="true"):
        if _metadata(row).get(METER) == slug:
            return str(row["id"])
    product = access.post("/v1/products", name=f"Tidemark {slug}", metadata={METER: slug})
    made.append(Made("product", product["id"], slug))
    recurring = {"interval": "month", "usage_type": "metered", "aggregate_usage": "sum"}
    price = access.post("/v1/prices", product=product["id"], currency="usd", unit_amount="1", recurring=recurring, metadata={METER: slug})
    made.append(Made("price", price["id"], slug))
    return str(price["id"])


def _customer(access: Access, customer: str, made: list[Made]) -> str:
    # Stripe's metadata values hold 500 characters; a longer name could never be read back.
    if len(customer) > 500:
        raise TidemarkError(f"customer {customer[:60]!r}…: a name of more than 500 characters does not fit Stripe's metadata; bind it in the file")
    created = access.post("/v1/customers", name=customer[:256], metadata={CUSTOMER: customer})
    made.append(Made("customer", created["id"], customer))
    return str(created["id"])


def _subscribe(
    access: Access,
    customer: str,
    stripe_id: str,
    prices: Mapping[str, str],
    subscriptions: Sequence[_Subscription],
    times: tuple[int, int | None],
    made: list[Made],
) -> None:
    """Give the customer an item for every price: in a subscription that is there, else in a new one."""
    held = {item.price.id for subscription in subscriptions for item in _all_items(access, subscription)}
    wanted = [price for price in prices.values() if price not in held]
    if not wanted:
        return
    if subscriptions:
        for price in wanted:
            item = access.post("/v1/subscription_items", subscription=subscriptions[0].id, price=price, proration_behavior="none")
            made.append(Made("item", item["id"], customer))
        return
    now_s, since_s = times
    # Without a payment method an automatic charge would fail, and with it the subscription: usage is invoiced.
    terms: dict[str, Any] = {"collection_method": "send_invoice", "days_until_due": 30, "proration_behavior": "none"}
    if since_s is not None and since_s < now_s:
        terms |= {"backdate_start_date": since_s, "billing_cycle_anchor": first_edge_after(since_s, now_s)}
    created = access.post(
        "/v1/subscriptions", customer=stripe_id, items=[{"price": price} for price in wanted], metadata={CUSTOMER: customer}, **terms
    )
    made.append(Made("subscription", created["id"], customer))


def first_edge_after(since_s: int, now_s: int) -> int:
    """The first monthly edge of a cycle begun at `since_s` that lies ahead, but no later than Stripe allows: a month from now.

    Named explicitly, because what the first period of a subscription backdated without an anchor takes is not documented. A day is kept
    for clocks that differ.
    """
    ahead = period_at(since_s, "month", 1, now_s + DAY_S).end_s
    return min(ahead, edge(now_s, "month", 1, 1) - DAY_S)


def facts_of(access: Access, item: str) -> Facts:
    """What Stripe knows about a subscription item. Raises TidemarkError (there is none, or it is no legacy metered one) or Unreachable."""
    row = access.get(f"/v1/subscription_items/{item}")
    found = _convert(row, _Item, f"subscription item {item}")
    problem = _problem(found)
    if problem is not None:
        raise TidemarkError(problem)
    subscription = _subscription(access.get(f"/v1/subscriptions/{row.get('subscription')}"))
    return _facts(subscription, found)


def sync(access: Access, prices: Mapping[str, str], meters: Iterable[str]) -> Synced:
    """All running subscriptions as items by customer. `prices`: price id → meter, from the configuration; else a price's own metadata counts.

    A price of no meter of ours is no problem. Two items of one customer for one meter are: neither is taken.
    """
    names = {row["id"]: _metadata(row).get(CUSTOMER) or row["id"] for row in access.pages("/v1/customers")}
    known, problems = set(meters), list[str]()
    found: dict[str, dict[str, list[Item]]] = {}
    for subscription in (_subscription(row) for row in access.pages("/v1/subscriptions")):
        customer = names.get(subscription.customer, subscription.customer)
        for item in _all_items(access, subscription):
            meter = prices.get(item.price.id) or item.price.metadata.get(METER)
            if meter not in known or meter is None:
                continue
            problem = _problem(item)
            if problem is not None:
                problems.append(f"customer {customer!r}, meter {meter!r}: {problem}")
                continue
            facts = _facts(subscription, item)
            found.setdefault(customer, {}).setdefault(meter, []).append(_bound(meter, item.id, facts))
    for customer, by_meter in found.items():
        problems += [f"customer {customer!r}: {len(items)} items for meter {meter!r}" for meter, items in by_meter.items() if len(items) > 1]
    once = {customer: tuple(items[0] for _, items in sorted(by_meter.items()) if len(items) == 1) for customer, by_meter in found.items()}
    return Synced({customer: items for customer, items in sorted(once.items()) if items}, problems)


def _bound(meter: str, item: str, facts: Facts) -> Item:
    return Item(
        meter=meter,
        item=item,
        price=facts.price,
        subscription=facts.subscription,
        period_anchor_s=facts.period_anchor_s,
        period=facts.period,
        period_count=facts.period_count,
        starts_at_s=facts.starts_at_s,
    )


def _facts(subscription: _Subscription, item: _Item) -> Facts:
    recurring = item.price.recurring
    if recurring is None:
        raise TidemarkError(f"price {item.price.id} does not recur")
    return Facts(
        price=item.price.id,
        subscription=subscription.id,
        period_anchor_s=subscription.billing_cycle_anchor,
        period=recurring.interval,
        period_count=recurring.interval_count,
        starts_at_s=subscription.start_date,
    )


def _problem(item: _Item) -> str | None:
    """Why usage records with `set` per window cannot serve the item; None where they can."""
    recurring = item.price.recurring
    if recurring is None or recurring.usage_type != "metered":
        return f"price {item.price.id} of item {item.id} is not metered"
    if recurring.meter is not None:
        return f"price {item.price.id} of item {item.id} is on meter {recurring.meter}, which takes no usage records"
    if recurring.aggregate_usage != "sum":
        return f"price {item.price.id} of item {item.id} has aggregate_usage={recurring.aggregate_usage}: only sum adds windows up"
    return None


def _metadata(row: Mapping[str, Any]) -> dict[str, str]:
    return _convert(row.get("metadata") or {}, dict[str, str], f"the metadata of {row.get('id')}")


def _subscription(row: Mapping[str, Any]) -> _Subscription:
    return _convert(row, _Subscription, f"subscription {row.get('id')}")


def _all_items(access: Access, subscription: _Subscription) -> list[_Item]:
    """A subscription shows its first items only (ten by default)."""
    if not subscription.items.has_more:
        return subscription.items.data
    rows = access.pages("/v1/subscription_items", subscription=subscription.id)
    return [_convert(row, _Item, f"an item of subscription {subscription.id}") for row in rows]


def _convert(row: object, kind: type[T], what: str) -> T:
    try:
        return msgspec.convert(row, kind)
    except msgspec.ValidationError as error:
        raise TidemarkError(f"{what} is not as Stripe documents it: {error}") from None


def _each(things: Sequence[T], do: Callable[[T], R]) -> list[R]:
    """`do` for each, some at once; the first error is raised when all have ended."""
    with ThreadPoolExecutor(THREADS) as threads:
        return list(threads.map(do, things))
