"""From settings to a proposal: what `apply` publishes for this configuration, asking the provider for what the file leaves open."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from infra.proposal import Proposal
from infra.settings_stripe import terms_of
from topics.bindings import Item
from topics.errors import ConfigurationFault, Fault

if TYPE_CHECKING:
    from infra.settings import CustomerSettings, ItemSettings, Settings
    from sinks.stripe.suitability import Terms

Lookup = Callable[[str, "Terms"], Item]
"""Asks the provider for a subscription item by its id, as a binding for a meter. Raises TidemarkError where there is none or it cannot serve,
Unreachable where the provider is down."""


def proposal_of(settings: Settings, lookup: Lookup, more: Mapping[str, tuple[Item, ...]] | None = None) -> Proposal:
    """The whole proposal of a configuration. `more`: items read from the provider's subscriptions; the file's own win."""
    items = dict(more or {})
    items |= {customer.id: _items_of(settings, customer, lookup) for customer in settings.customers if customer.items}
    return Proposal(settings.timing.record(), settings.meter_records(), items)


def meters_only(settings: Settings) -> Proposal:
    """Meters and timings alone: what each partition must begin with."""
    return Proposal(settings.timing.record(), settings.meter_records(), {})


def _items_of(settings: Settings, customer: CustomerSettings, lookup: Lookup) -> tuple[Item, ...]:
    terms = {one.slug: one for one in terms_of(settings)}
    return tuple(_item_of(customer, item, terms[item.meter], lookup) for item in customer.items)


def _item_of(customer: CustomerSettings, item: ItemSettings, terms: Terms, lookup: Lookup) -> Item:
    found = _whole(customer, item, terms) or lookup(item.stripe_subscription_item, terms)
    price = item.price or terms.price
    if price and found.price and price != found.price:
        place = f"customers.items ({item.stripe_subscription_item})"
        problem = f"the file says price {price}, the provider says {found.price}"
        raise ConfigurationFault([Fault(place, problem, "Name the item that has this price, or correct the price.")])
    said: dict[str, Any] = {"period_anchor_s": item.period_anchor_s, "scale": item.scale, "fractions": item.fractions, "late": item.late}
    if item.period is not None:
        said |= {"period": item.period, "period_count": 1}
    if customer.stripe_customer is not None:
        said |= {"stripe_customer": customer.stripe_customer}
    return replace(found, price=price or found.price, **{name: value for name, value in said.items() if value is not None})


def _whole(customer: CustomerSettings, item: ItemSettings, terms: Terms) -> Item | None:
    """The item where the file alone says everything about it: then the provider is not asked. Else None."""
    if item.period_anchor_s is None or item.period is None:
        return None
    if terms.mode == "meters" and not (customer.stripe_customer and terms.event_name and terms.aggregation):
        return None
    return Item(
        meter=item.meter,
        mode=terms.mode,
        item=item.stripe_subscription_item,
        period_anchor_s=item.period_anchor_s,
        period=item.period,
        scale=terms.scale,
        fractions=terms.fractions,
        late=terms.late,
        aggregation=terms.aggregation,
        event_name=terms.event_name,
        stripe_customer=customer.stripe_customer or "",
        clock=customer.test_clock or "",
    )
