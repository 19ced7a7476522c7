"""From settings to a proposal: what `apply` publishes for this configuration, asking the provider for what the file leaves open."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, NamedTuple

from infra.proposal import Proposal
from topics.bindings import Item
from topics.errors import ConfigurationFault, Fault

if TYPE_CHECKING:
    from infra.settings import CustomerSettings, ItemSettings, Settings
    from topics.periods import Interval


class Found(NamedTuple):
    """What a provider knows about one subscription item."""

    price: str
    subscription: str
    period_anchor_s: int
    period: Interval
    period_count: int
    starts_at_s: int


Lookup = Callable[[str], Found]
"""Asks the provider for a subscription item by its id. Raises TidemarkError where there is none, Unreachable where it is down."""


def proposal_of(settings: Settings, lookup: Lookup, more: Mapping[str, tuple[Item, ...]] | None = None) -> Proposal:
    """The whole proposal of a configuration. `more`: items read from the provider's subscriptions; the file's own win."""
    items = dict(more or {})
    items |= {customer.id: _items_of(settings, customer, lookup) for customer in settings.customers if customer.items}
    return Proposal(settings.timing.record(), settings.meter_records(), items)


def meters_only(settings: Settings) -> Proposal:
    """Meters and timings alone: what each partition must begin with."""
    return Proposal(settings.timing.record(), settings.meter_records(), {})


def _items_of(settings: Settings, customer: CustomerSettings, lookup: Lookup) -> tuple[Item, ...]:
    prices = {meter.slug: meter.stripe_price or "" for meter in settings.meters}
    return tuple(_item_of(item, prices.get(item.meter, ""), lookup) for item in customer.items)


def _item_of(item: ItemSettings, meter_price: str, lookup: Lookup) -> Item:
    price = item.price or meter_price
    if item.period_anchor_s is not None and item.period is not None:
        return Item(
            meter=item.meter,
            item=item.stripe_subscription_item,
            price=price,
            period_anchor_s=item.period_anchor_s,
            period=item.period,
            scale=item.scale,
            fractions=item.fractions,
            late=item.late,
        )
    found = lookup(item.stripe_subscription_item)
    if price and found.price and price != found.price:
        place = f"customers.items ({item.stripe_subscription_item})"
        problem = f"the file says price {price}, the provider says {found.price}"
        raise ConfigurationFault([Fault(place, problem, "Name the item that has this price, or correct the price.")])
    return Item(
        meter=item.meter,
        item=item.stripe_subscription_item,
        price=price or found.price,
        subscription=found.subscription,
        period_anchor_s=found.period_anchor_s if item.period_anchor_s is None else item.period_anchor_s,
        period=item.period or found.period,
        period_count=1 if item.period else found.period_count,
        starts_at_s=found.starts_at_s,
        scale=item.scale,
        fractions=item.fractions,
        late=item.late,
    )
