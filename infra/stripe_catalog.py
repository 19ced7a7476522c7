"""The provider's catalogue as the command line needs it: looking an item up, setting up what is missing, reading subscriptions."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Final

from infra.clock import now_ms
from infra.proposing import Lookup
from infra.settings_stripe import has_live_key, terms_of
from topics.errors import ConfigurationFault, Fault

if TYPE_CHECKING:
    from infra.settings import Settings
    from sinks.stripe.access import Access, Eras
    from sinks.stripe.objects import Price
    from sinks.stripe.setup import Made, NewCustomer, Plan
    from sinks.stripe.suitability import Terms
    from topics.bindings import Item

Tell = Callable[[str], None]
SHOWN_UNITS: Final = 1000
"""For how many units set-up says what they cost."""


@dataclass(frozen=True)
class SetUp:
    """What set-up made, what 1,000 units cost by meter (with the price's id), and what is worth saying."""

    made: list[Made]
    costs: dict[str, tuple[str, str]]
    notes: list[str]


@contextmanager
def access(settings: Settings, *, live: bool = True) -> Iterator[Eras]:
    """A connection to the account of the settings under both API versions. `live` False: a live key is refused, whatever the settings say.

    Raises ConfigurationFault where no key is set, UsageError for one that may not be used.
    """
    from sinks.stripe.access import Eras
    from sinks.stripe.client import StripeAccess
    from sinks.stripe.request import API_VERSION, MODERN_VERSION

    if settings.stripe.api_key is None:
        raise ConfigurationFault([Fault("STRIPE_API_KEY", "it is not set", "Set it in the environment; a test key begins with sk_test_.")])
    base, key = settings.stripe.api_base, settings.stripe.api_key.get_secret_value()
    opened = [StripeAccess(base, key, live=live, version=version) for version in (API_VERSION, MODERN_VERSION)]
    try:
        yield Eras(*opened)
    finally:
        for each in opened:
            each.close()


def lookup_with(settings: Settings) -> Lookup:
    """Asks the provider for one subscription item; opens no connection until it is asked."""

    def lookup(item_id: str, terms: Terms) -> Item:
        from sinks.stripe.binding import bound_item

        with access(settings) as eras:
            return bound_item(eras, item_id, terms)

    return lookup


def plan_of(settings: Settings, since_s: int | None = None, trial_until_s: int | None = None) -> Plan:
    """What set-up is asked for. Customers with items of their own are left alone: the file says already where they are billed."""
    from sinks.stripe.setup import NewMeter, Plan

    meters = [
        NewMeter(terms, f"meters[{index}]", meter.unit_amount or "1")
        for index, (meter, terms) in enumerate(zip(settings.meters, terms_of(settings), strict=True))
    ]
    stripe = settings.stripe
    return Plan(
        meters=meters,
        customers=_new_customers(settings),
        now_s=now_ms() // 1000,
        since_s=since_s,
        trial_until_s=trial_until_s,
        currency=stripe.currency,
        interval=stripe.interval,
        base_price=stripe.base_price,
        base_amount=stripe.base_amount,
    )


def _new_customers(settings: Settings) -> list[NewCustomer]:
    from sinks.stripe.setup import NewCustomer

    return [
        NewCustomer(customer.id, customer.email, customer.stripe_customer, customer.test_clock)
        for customer in settings.customers
        if not customer.items
    ]


def setup(settings: Settings, since_s: int | None = None, *, trial_until_s: int | None = None, live: bool = False) -> SetUp:
    """Makes what is missing at Stripe for the meters and customers of the configuration. Raises UsageError for a live key unless `live`.

    `trial_until_s`: on subscriptions of their own, which bill nothing until then.
    """
    from sinks.stripe.subscribing import set_up

    with access(settings, live=live) as eras:
        found = set_up(eras, plan_of(settings, since_s, trial_until_s))
        costs = {slug: (price.id, _thousand(eras, price)) for slug, price in found.prices.items()}
        if found.base is not None:
            costs["base"] = (found.base.id, _money(found.base, 1))
    return SetUp(found.made, costs, found.notes)


def _thousand(eras: Eras, price: Price) -> str:
    """What SHOWN_UNITS units of one period cost; a tiered price shows its tiers only where it is asked for them."""
    from sinks.stripe.objects import Price, read

    if price.billing_scheme == "tiered" and price.tiers is None:
        legacy = price.recurring is not None and price.recurring.meter is None
        price = read(eras.of(legacy=legacy).get(f"/v1/prices/{price.id}", expand=["tiers"]), Price)
    return _money(price, SHOWN_UNITS)


def _money(price: Price, units: int) -> str:
    from sinks.stripe.costs import cost, money

    amount = cost(price, Fraction(units))
    return "unknown" if amount is None else money(amount, price.currency)


class _Counted:
    """An access whose lists say how far they are: a large account is read for minutes."""

    def __init__(self, access: Access, progress: Tell) -> None:
        self._access, self._progress = access, progress

    def get(self, path: str, **parameters: Any) -> dict[str, Any]:
        """GET."""
        return self._access.get(path, **parameters)

    def post(self, path: str, idempotency_key: str | None = None, **parameters: Any) -> dict[str, Any]:
        """POST."""
        return self._access.post(path, idempotency_key, **parameters)

    def pages(self, path: str, **parameters: Any) -> Iterator[dict[str, Any]]:
        """All rows of a list, each hundred of them said."""
        what = path.rpartition("/")[2].replace("_", " ")
        for number, row in enumerate(self._access.pages(path, **parameters), start=1):
            if number % 100 == 0:
                self._progress(f"{number:,} {what}")
            yield row


def read_items(settings: Settings, tell: Tell = lambda _: None, progress: Tell = lambda _: None) -> dict[str, tuple[Item, ...]]:
    """Items by customer from all subscriptions; `tell` hears what was left out and why, `progress` how much has been read.

    Those that ended within `horizon` are bound up to their end: late events may still correct what was billed by them.
    """
    from sinks.stripe.access import Eras
    from sinks.stripe.binding import sync

    names = {customer.stripe_customer: customer.id for customer in settings.customers if customer.stripe_customer}
    ended_after_s = (now_ms() - settings.timing.horizon_ms) // 1000
    with access(settings) as eras:
        clocks = not has_live_key(settings.stripe)
        counted = Eras(*(_Counted(each, progress) for each in eras))
        found = sync(counted, terms_of(settings), names, clocks=clocks, ended_after_s=ended_after_s)
    for problem in found.problems + found.notes:
        tell(problem)
    return found.items
