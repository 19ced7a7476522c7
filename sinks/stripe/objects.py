"""Stripe's objects as we read them, of either API era: only the fields that a binding, a check or a price of units needs. Pure.

Before 2025-03-31.basil a legacy price shows `aggregate_usage`; from it on the field is gone, and a price without a meter cannot be judged. A
subscription's anchor stands at the subscription in both.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal, TypeVar

import msgspec

from topics.errors import TidemarkError
from topics.periods import Interval

METER: Final = "tidemark_meter"
CUSTOMER: Final = "tidemark_customer"
BASE: Final = "tidemark_base"
"""Names in `metadata`, by which what we made is found again and a Stripe customer is given the name that events use."""
CUSTOMER_KEY: Final = "stripe_customer_id"
VALUE_KEY: Final = "value"
"""The keys of a meter event's payload that we send, which are Stripe's defaults (API reference, "Create a billing meter")."""
T = TypeVar("T")


class Recurring(msgspec.Struct, frozen=True):
    """How often a price bills, and what it counts."""

    interval: Interval
    interval_count: int
    usage_type: str
    aggregate_usage: str | None = None
    meter: str | None = None


class Transform(msgspec.Struct, frozen=True):
    """Packages: the period's quantity is divided, and rounded, before it is priced."""

    divide_by: int
    round: Literal["up", "down"]


class Tier(msgspec.Struct, frozen=True):
    """One tier, up to and with `up_to` units (None: the last one)."""

    up_to: int | None = None
    unit_amount_decimal: str | None = None
    flat_amount_decimal: str | None = None
    unit_amount: int | None = None
    flat_amount: int | None = None


class Price(msgspec.Struct, frozen=True):
    """A price; amounts in the currency's smallest unit. `tiers` only where the call expanded them."""

    id: str
    active: bool = True
    currency: str = "usd"
    billing_scheme: str = "per_unit"
    unit_amount: int | None = None
    unit_amount_decimal: str | None = None
    tiers_mode: str | None = None
    tiers: tuple[Tier, ...] | None = None
    transform_quantity: Transform | None = None
    recurring: Recurring | None = None
    metadata: dict[str, str] = {}


class _Formula(msgspec.Struct, frozen=True):
    formula: str = "sum"


class _PayloadKey(msgspec.Struct, frozen=True):
    event_payload_key: str
    type: str = "by_id"


class BillingMeter(msgspec.Struct, frozen=True):
    """A Billing Meter; `event_time_window` None: it adds all events up."""

    id: str
    event_name: str
    status: str = "active"
    default_aggregation: _Formula = _Formula()
    event_time_window: str | None = None
    customer_mapping: _PayloadKey = _PayloadKey(CUSTOMER_KEY)
    value_settings: _PayloadKey = _PayloadKey(VALUE_KEY)


class Row(msgspec.Struct, frozen=True):
    """A subscription item. Its period's edges stand here from basil on."""

    id: str
    price: Price
    subscription: str = ""
    billing_thresholds: object = None
    current_period_end: int | None = None


class Rows(msgspec.Struct, frozen=True):
    """The first items of a subscription."""

    data: tuple[Row, ...]
    has_more: bool = False


class _Pause(msgspec.Struct, frozen=True):
    behavior: str = ""


class Customer(msgspec.Struct, frozen=True):
    """A customer; of a deleted one the id alone is left."""

    id: str
    metadata: dict[str, str] = {}
    deleted: bool = False


class Subscription(msgspec.Struct, frozen=True):
    """A subscription; `customer` is whole where the call expanded it."""

    id: str
    customer: str | Customer
    billing_cycle_anchor: int
    start_date: int
    items: Rows
    created: int | None = None
    status: str = "active"
    metadata: dict[str, str] = {}
    cancel_at: int | None = None
    ended_at: int | None = None
    test_clock: str | None = None
    billing_thresholds: object = None
    pause_collection: _Pause | None = None
    current_period_end: int | None = None
    currency: str = ""

    @property
    def customer_id(self) -> str:
        """Stripe's id of the customer."""
        return self.customer if isinstance(self.customer, str) else self.customer.id

    @property
    def customer_name(self) -> str:
        """The name that events use, from the customer's metadata; else Stripe's id."""
        named = None if isinstance(self.customer, str) else self.customer.metadata.get(CUSTOMER)
        return named or self.customer_id

    @property
    def first_ends_s(self) -> int | None:
        """When the period ends that began before the anchor. None: there is none, or it is a backdated one, of which Stripe does not say."""
        begins_before = self.start_date < self.billing_cycle_anchor
        return self.billing_cycle_anchor if begins_before and self.created is not None and self.created < self.billing_cycle_anchor else None

    @property
    def ends_at_s(self) -> int | None:
        """When it ended, or will: usage from then on is not billed by it. None: it goes on."""
        return self.cancel_at if self.ended_at is None else self.ended_at


class Product(msgspec.Struct, frozen=True):
    """A product."""

    id: str
    metadata: dict[str, str] = {}


def read(row: Mapping[str, object], kind: type[T]) -> T:
    """A decoded answer as one of the kinds above. Raises TidemarkError where it is not as Stripe documents it."""
    try:
        return msgspec.convert(row, kind)
    except msgspec.ValidationError as error:
        raise TidemarkError(f"{row.get('object') or 'an object'} {row.get('id')} is not as Stripe documents it: {error}") from None
