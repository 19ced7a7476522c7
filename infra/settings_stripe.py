"""Rules of a configuration's Stripe side across keys, and what it says of each meter to the sink."""

from __future__ import annotations

import ipaddress
from collections import Counter
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from topics.errors import Fault

if TYPE_CHECKING:
    from infra.settings import MeterSettings, Settings, StripeMode, StripeSettings
    from sinks.stripe.suitability import Terms

LIVE_KEYS: Final = ("sk_live_", "rk_live_")
SPANS_MS: Final = {"hour": 3_600_000, "day": 86_400_000}
_METERS_ONLY: Final = ("stripe_meter", "stripe_event_name", "stripe_aggregation")


def has_live_key(stripe: StripeSettings) -> bool:
    """Whether the key is one under which real invoices change."""
    return stripe.api_key is not None and stripe.api_key.get_secret_value().startswith(LIVE_KEYS)


def is_loopback(url: str) -> bool:
    """Whether the address never leaves this machine."""
    host = urlsplit(url).hostname or ""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def provider_faults(stripe: StripeSettings) -> list[Fault]:
    """Faults of `[stripe]` alone."""
    faults: list[Fault] = []
    if stripe.api_base.startswith("http://") and not is_loopback(stripe.api_base):
        if has_live_key(stripe):
            problem = "a live key would cross a network unencrypted"
            faults.append(Fault("stripe.api_base", problem, 'Write api_base = "https://api.stripe.com".'))
        elif not stripe.plain_http:
            problem = "http:// to another machine shows the key and every amount to the network"
            remedy = "Write https://, or plain_http = true for a sandbox on a network of your own."
            faults.append(Fault("stripe.api_base", problem, remedy))
    if stripe.base_price is not None and stripe.base_amount is not None:
        faults.append(Fault("stripe.base_amount", "there is a base_price too, which has an amount of its own", "Keep one of them."))
    return faults


def mode_of(meter: MeterSettings, default: StripeMode) -> StripeMode:
    """How the meter is billed; `default`: of `[stripe]`."""
    return meter.stripe_mode or default


def meters_faults(meters: tuple[MeterSettings, ...], default: StripeMode) -> list[Fault]:
    """Faults of what `[[meters]]` say of Stripe: each alone, then together."""
    faults: list[Fault] = []
    for index, meter in enumerate(meters):
        faults += _meter_faults(f"meters[{index}]", meter, mode_of(meter, default))
    for name, what in (("stripe_price", "the price"), ("stripe_meter", "the Billing Meter")):
        counts = Counter(value for meter in meters if (value := getattr(meter, name)) is not None)
        for value, count in counts.items():
            if count > 1:
                problem = f"{count} meters name {what} {value!r}: their numbers would overwrite each other"
                faults.append(Fault("meters", problem, f"Give each meter a {name} of its own."))
    events = Counter(meter.stripe_event_name or meter.slug for meter in meters if mode_of(meter, default) == "meters")
    for value, count in events.items():
        if count > 1:
            problem = f"{count} meters send the meter event {value!r}: their numbers would overwrite each other"
            faults.append(Fault("meters", problem, "Give each meter a stripe_event_name of its own."))
    return faults


def _meter_faults(place: str, meter: MeterSettings, mode: StripeMode) -> list[Fault]:
    faults: list[Fault] = []
    if mode == "usage_records":
        for name in _METERS_ONLY:
            if getattr(meter, name) is not None:
                problem = f"{name} says nothing where usage records are sent"
                faults.append(Fault(f"{place}.{name}", problem, 'Write stripe_mode = "meters" for this meter, or delete the key.'))
    if mode == "usage_records" and meter.fractions == "exact":
        faults.append(Fault(f"{place}.fractions", "usage records take whole units only", 'Write fractions = "refuse" or "ledger".'))
    if meter.stripe_aggregation in SPANS_MS and meter.window_ms > SPANS_MS[meter.stripe_aggregation]:
        problem = f"a window is longer than the {meter.stripe_aggregation} that the Billing Meter keeps one number for"
        faults.append(Fault(f"{place}.stripe_aggregation", problem, 'Write a shorter window, or stripe_aggregation = "sum".'))
    if meter.stripe_price is not None and meter.unit_amount is not None:
        problem = f"price {meter.stripe_price} has an amount of its own"
        faults.append(Fault(f"{place}.unit_amount", problem, "Delete unit_amount, or stripe_price to have a price made."))
    if meter.scale.strip("0.") == "":
        faults.append(Fault(f"{place}.scale", "scale is 0, which would report nothing", "Write scale = 1."))
    return faults


def terms_of(settings: Settings) -> tuple[Terms, ...]:
    """What the sink's checks, sync and set-up are told of each meter."""
    from sinks.stripe.suitability import Terms

    return tuple(
        Terms(
            slug=meter.slug,
            mode=mode_of(meter, settings.stripe.mode),
            aggregation=meter.stripe_aggregation or "",
            price=meter.stripe_price or "",
            meter=meter.stripe_meter or "",
            event_name=meter.stripe_event_name or "",
            window_s=meter.window_ms // 1000,
            scale=meter.scale,
            fractions=meter.fractions or ("exact" if mode_of(meter, settings.stripe.mode) == "meters" else "refuse"),
            late=meter.late,
        )
        for meter in settings.meters
    )
