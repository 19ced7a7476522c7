"""What set-up, sync and checks need of a connection to Stripe. Calls block: they are the command line's."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, NamedTuple, Protocol, TypeVar

from msgspec.structs import replace

from sinks.stripe.objects import BillingMeter, Customer, Row, Subscription, read

THREADS: Final = 8
"""Calls at once: a test account takes 25 a second."""
T = TypeVar("T")
R = TypeVar("R")


class Access(Protocol):
    """`sinks.stripe.client.StripeAccess` as these files use it: one account under one API version."""

    def get(self, path: str, **parameters: Any) -> dict[str, Any]:
        """GET; the decoded object."""
        ...

    def post(self, path: str, idempotency_key: str | None = None, **parameters: Any) -> dict[str, Any]:
        """POST; the decoded object."""
        ...

    def pages(self, path: str, **parameters: Any) -> Iterable[dict[str, Any]]:
        """All rows of a list."""
        ...


class Eras(NamedTuple):
    """The same account under both API versions. A legacy price can be made, subscribed to and judged under the old one only; everything else
    goes through the modern one."""

    old: Access
    modern: Access

    def of(self, *, legacy: bool) -> Access:
        """The connection for something that touches a legacy price, or does not."""
        return self.old if legacy else self.modern


def each(things: Sequence[T], do: Callable[[T], R]) -> list[R]:
    """`do` for each, some at once; the first error is raised when all have ended."""
    with ThreadPoolExecutor(THREADS) as threads:
        return list(threads.map(do, things))


def meters_of(access: Access) -> dict[str, BillingMeter]:
    """The account's Billing Meters by id, inactive ones too."""
    return {row["id"]: read(row, BillingMeter) for row in access.pages("/v1/billing/meters")}


def clocks_of(access: Access) -> list[str]:
    """The account's test clocks. Their customers and subscriptions are in no list that does not ask for them; a live account has none."""
    return [row["id"] for row in access.pages("/v1/test_helpers/test_clocks")]


def listed(access: Access, path: str, clocks: Sequence[str], **parameters: Any) -> list[dict[str, Any]]:
    """All rows of a list of customers or subscriptions: those that live by the world's time, and those of each test clock."""
    found = list(access.pages(path, **parameters))
    for clock in clocks:
        found += access.pages(path, test_clock=clock, **parameters)
    return found


def customers_of(access: Access, clocks: Sequence[str]) -> list[Customer]:
    """All customers."""
    return [read(row, Customer) for row in listed(access, "/v1/customers", clocks)]


def subscriptions_of(access: Access, clocks: Sequence[str], ended_after_s: int | None = None) -> list[Subscription]:
    """All subscriptions that have not ended, with all their items and their customers; and those that ended after `ended_after_s`."""
    expand = ["data.customer"]
    rows = listed(access, "/v1/subscriptions", clocks, expand=expand)
    if ended_after_s is not None:
        # What ended after an instant was in a period that ends after it.
        since = {"gte": ended_after_s}
        rows += listed(access, "/v1/subscriptions", clocks, status="canceled", current_period_end=since, expand=expand)
    return _whole_ones(access, rows, ended_after_s)


def subscriptions_of_customer(access: Access, customer: str, ended_after_s: int) -> list[Subscription]:
    """The same of one customer. A list that names its customer shows those on a test clock too."""
    rows = list(access.pages("/v1/subscriptions", customer=customer))
    rows += access.pages("/v1/subscriptions", customer=customer, status="canceled", current_period_end={"gte": ended_after_s})
    return _whole_ones(access, rows, ended_after_s)


def _whole_ones(access: Access, rows: Sequence[dict[str, Any]], ended_after_s: int | None) -> list[Subscription]:
    found = {row["id"]: read(row, Subscription) for row in rows}
    return [
        subscription
        for subscription in (whole(access, each) for each in found.values())
        if subscription.ended_at is None or (ended_after_s is not None and subscription.ended_at > ended_after_s)
    ]


def whole(access: Access, subscription: Subscription) -> Subscription:
    """With all its items: a subscription shows its first ones only (ten by default)."""
    if not subscription.items.has_more:
        return subscription
    rows = tuple(read(row, Row) for row in access.pages("/v1/subscription_items", subscription=subscription.id))
    return replace(subscription, items=replace(subscription.items, data=rows, has_more=False))
