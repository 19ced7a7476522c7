"""The provider's catalogue as the command line needs it: looking an item up, setting up what is missing, reading subscriptions."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from infra.clock import now_ms
from infra.proposing import Found, Lookup
from topics.errors import ConfigurationFault, Fault

if TYPE_CHECKING:
    from infra.settings import Settings
    from sinks.stripe.catalog import Made
    from sinks.stripe.client import StripeAccess
    from topics.bindings import Item

Tell = Callable[[str], None]


@contextmanager
def access(settings: Settings) -> Iterator[StripeAccess]:
    """A connection to the account of the settings. Raises ConfigurationFault where no key is set."""
    from sinks.stripe.client import StripeAccess

    if settings.stripe.api_key is None:
        raise ConfigurationFault([Fault("STRIPE_API_KEY", "it is not set", "Set it in the environment; a test key begins with sk_test_.")])
    opened = StripeAccess(settings.stripe.api_base, settings.stripe.api_key.get_secret_value())
    try:
        yield opened
    finally:
        opened.close()


def lookup_with(settings: Settings) -> Lookup:
    """Asks the provider for one subscription item; opens no connection until it is asked."""

    def lookup(item_id: str) -> Found:
        from sinks.stripe.catalog import facts_of

        with access(settings) as opened:
            return Found(*facts_of(opened, item_id))

    return lookup


def setup(settings: Settings, since_s: int | None = None) -> list[Made]:
    """Makes what is missing at Stripe for the meters and customers of the configuration; what was made.

    Customers with items of their own are left alone: the file says already where they are billed.
    """
    from sinks.stripe.catalog import setup as make

    customers = [customer.id for customer in settings.customers if not customer.items]
    meters = {meter.slug: meter.stripe_price for meter in settings.meters}
    with access(settings) as opened:
        return make(opened, meters=meters, customers=customers, now_s=now_ms() // 1000, since_s=since_s)


def read_items(settings: Settings, tell: Tell = lambda _: None) -> dict[str, tuple[Item, ...]]:
    """Items by customer from all running subscriptions; `tell` hears what was left out and why."""
    from sinks.stripe.catalog import sync

    prices = {meter.stripe_price: meter.slug for meter in settings.meters if meter.stripe_price is not None}
    with access(settings) as opened:
        found = sync(opened, prices, [meter.slug for meter in settings.meters])
    for problem in found.problems:
        tell(problem)
    return found.items
