"""`stripe setup`: products, meters, prices, customers and subscriptions, each made where it is missing. For the command line; calls block.

What is there is found by its name: our names in `metadata`, a meter by its event name. So a set-up that ends between any two calls, or whose
answer is lost, is gone on with by the next one, and nothing is made twice. What Stripe never changes (a price's amount, a meter's window) is
taken as it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, Final, NamedTuple

from sinks.stripe.access import Access, Eras, meters_of
from sinks.stripe.objects import BASE, CUSTOMER_KEY, METER, VALUE_KEY, BillingMeter, Price, Product, read
from sinks.stripe.suitability import Terms, meter_findings, price_findings
from topics.errors import ConfigurationFault, Fault
from topics.periods import Interval

BASE_NAME: Final = "base"


class NewMeter(NamedTuple):
    """A meter as the configuration wants it at Stripe; `place` is where it says so. `unit_amount`: of a price that is made, a decimal string of
    the currency's smallest unit."""

    terms: Terms
    place: str = "meters"
    unit_amount: str = "1"


class NewCustomer(NamedTuple):
    """A customer as the configuration wants it; `stripe_customer`: is there already; `clock`: lives by this test clock."""

    id: str
    email: str | None = None
    stripe_customer: str | None = None
    clock: str | None = None


@dataclass(frozen=True)
class Plan:
    """Everything that set-up is asked for. `base_price` names the fixed fee's price, `base_amount` has one made; neither: there is no fee.

    `trial_until_s`: what is missing is put on subscriptions of their own that bill nothing until then (a successor that runs along).
    """

    meters: Sequence[NewMeter]
    customers: Sequence[NewCustomer]
    now_s: int
    since_s: int | None = None
    trial_until_s: int | None = None
    currency: str = "usd"
    interval: Interval = "month"
    base_price: str | None = None
    base_amount: str | None = None


class Made(NamedTuple):
    """Something that set-up created: `what` it is, its id, for whom."""

    what: str
    id: str
    owner: str


@dataclass
class Catalogue:
    """What stands after the first half: a price by meter, the base price, what was made on the way, and what is worth saying."""

    prices: dict[str, Price] = field(default_factory=dict)
    base: Price | None = None
    made: list[Made] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def set_up_catalogue(eras: Eras, plan: Plan) -> Catalogue:
    """Products, Billing Meters and prices. Raises ConfigurationFault with every price or meter that the configuration names and that would bill
    wrongly: nothing is built on it."""
    found = Catalogue()
    legacy = any(meter.terms.mode == "usage_records" for meter in plan.meters)
    meters = meters_of(eras.modern) if any(meter.terms.mode == "meters" for meter in plan.meters) else {}
    access = eras.of(legacy=legacy)
    prices = [read(row, Price) for row in access.pages("/v1/prices", active="true")] if plan.meters else []
    faults: list[Fault] = []
    for meter in plan.meters:
        price = _metered(eras, plan, meter, prices, meters, found, faults)
        if price is not None:
            found.prices[meter.terms.slug] = price
    if plan.base_price is not None:
        found.base = read(access.get(f"/v1/prices/{plan.base_price}"), Price)
        faults += base_faults(found.base)
    elif plan.base_amount is not None:
        found.base = _standing(prices, BASE, BASE_NAME, None) or _base(eras, plan, found)
    faults += _mixed(plan, found)
    if faults:
        raise ConfigurationFault(faults)
    return found


def _metered(
    eras: Eras, plan: Plan, meter: NewMeter, prices: Sequence[Price], meters: dict[str, BillingMeter], found: Catalogue, faults: list[Fault]
) -> Price | None:
    """The meter's price: the one that is named, the one that is there, else a new one; None where a fault is found."""
    terms, before = meter.terms, len(faults)
    legacy = terms.mode == "usage_records"
    billing = None if legacy or terms.price else _billing_meter(eras, meter, meters, found, faults)
    if len(faults) > before:
        return None
    on_meter = None if billing is None else billing.id
    if terms.price:
        price = read(eras.of(legacy=legacy).get(f"/v1/prices/{terms.price}"), Price)
        if not price.active:
            faults.append(Fault(f"{meter.place}.stripe_price", f"price {price.id} is archived: no subscription can be given it", "Name another."))
    else:
        price = _standing(prices, METER, terms.slug, on_meter) or _new_price(eras, plan, meter, on_meter, found)
        _say_amount(meter, price, found)
    for finding in price_findings(terms, price, meters):
        if finding.fault:
            faults.append(Fault(f"{meter.place}.stripe_price", finding.problem, finding.remedy))
        else:
            found.notes.append(f"{terms.slug}: {finding.problem}")
    return price if len(faults) == before else None


def _standing(prices: Sequence[Price], name: str, value: str, meter: str | None) -> Price | None:
    """The price that an earlier set-up made: marked with our name, on this meter (None: on none)."""
    for price in prices:
        if price.metadata.get(name) == value and price.recurring is not None and price.recurring.meter == meter:
            return price
    return None


def _say_amount(meter: NewMeter, price: Price, found: Catalogue) -> None:
    has = price.unit_amount_decimal
    if has is not None and Fraction(has) != Fraction(meter.unit_amount):
        found.notes.append(
            f"{meter.terms.slug}: price {price.id} is there with {has} a unit, the file says {meter.unit_amount}: Stripe never changes a price; "
            "archive it, and the next set-up makes another"
        )


def _billing_meter(
    eras: Eras, meter: NewMeter, meters: dict[str, BillingMeter], found: Catalogue, faults: list[Fault]
) -> BillingMeter | None:
    terms = meter.terms
    name = terms.event_name or terms.slug
    there = meters.get(terms.meter) if terms.meter else next((m for m in meters.values() if m.event_name == name and m.status == "active"), None)
    if there is None and terms.meter:
        faults.append(Fault(f"{meter.place}.stripe_meter", f"this account has no meter {terms.meter}", "Name one of this account, or none."))
        return None
    if there is not None:
        wrong = [finding for finding in meter_findings(terms, there) if finding.fault]
        faults += [Fault(f"{meter.place}.stripe_meter", finding.problem, finding.remedy) for finding in wrong]
        return there
    kept = terms.aggregation or ("hour" if terms.window_s <= 3600 else "day")
    window = {} if kept == "sum" else {"event_time_window": kept}
    made = eras.modern.post(
        "/v1/billing/meters",
        display_name=f"Tidemark {terms.slug}",
        event_name=name,
        default_aggregation={"formula": "sum"},
        customer_mapping={"type": "by_id", "event_payload_key": CUSTOMER_KEY},
        value_settings={"event_payload_key": VALUE_KEY},
        **window,
    )
    found.made.append(Made("meter", made["id"], terms.slug))
    meters[made["id"]] = read(made, BillingMeter)
    return meters[made["id"]]


def _new_price(eras: Eras, plan: Plan, meter: NewMeter, on_meter: str | None, found: Catalogue) -> Price:
    counts: dict[str, Any] = {"aggregate_usage": "sum"} if on_meter is None else {"meter": on_meter}
    recurring = {"interval": plan.interval, "interval_count": 1, "usage_type": "metered", **counts}
    named = (METER, meter.terms.slug, f"Tidemark {meter.terms.slug}")
    return _price(eras.of(legacy=on_meter is None), plan, named, meter.unit_amount, recurring, found)


def _base(eras: Eras, plan: Plan, found: Catalogue) -> Price:
    recurring = {"interval": plan.interval, "interval_count": 1, "usage_type": "licensed"}
    return _price(eras.modern, plan, (BASE, BASE_NAME, "Tidemark base"), plan.base_amount or "0", recurring, found)


def _price(access: Access, plan: Plan, named: tuple[str, str, str], amount: str, recurring: dict[str, Any], found: Catalogue) -> Price:
    """A price and, where none carries our name yet, its product."""
    name, value, title = named
    products = (read(row, Product) for row in access.pages("/v1/products", active="true"))
    product = next((row.id for row in products if row.metadata.get(name) == value), None)
    if product is None:
        product = str(access.post("/v1/products", name=title, metadata={name: value})["id"])
        found.made.append(Made("product", product, value))
    made = access.post(
        "/v1/prices", product=product, currency=plan.currency, unit_amount_decimal=amount, recurring=recurring, metadata={name: value}
    )
    found.made.append(Made("price", made["id"], value))
    return read(made, Price)


def base_faults(base: Price) -> list[Fault]:
    """Why a price cannot be the fixed fee."""
    place, remedy = "stripe.base_price", "Name a licensed price that recurs: a fixed fee for each period."
    if base.recurring is None or base.recurring.usage_type != "licensed":
        return [Fault(place, f"price {base.id} is no licensed price that recurs", remedy)]
    if not base.active:
        return [Fault(place, f"price {base.id} is archived: no subscription can be given it", remedy)]
    return []


def _mixed(plan: Plan, found: Catalogue) -> list[Fault]:
    """One subscription carries them all: one currency, one interval (Stripe: both must match across its items)."""
    named = {meter.terms.slug: meter.place for meter in plan.meters}
    all_of = [(named[slug], price) for slug, price in found.prices.items()] + ([("stripe.base_price", found.base)] if found.base else [])
    kinds = {(price.currency, price.recurring.interval, price.recurring.interval_count): place for place, price in all_of if price.recurring}
    if len(kinds) <= 1:
        return []
    said = "; ".join(f"{place}: {currency} by {count} {interval}" for (currency, interval, count), place in kinds.items())
    return [Fault("stripe", f"one subscription cannot carry these prices ({said})", "Name prices of one currency and interval.")]
