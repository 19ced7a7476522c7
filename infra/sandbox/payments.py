"""Whether a payment succeeds, and when a failed one is tried again. Nothing is paid: a payment method's name decides.

Source: https://docs.stripe.com/testing (pm_card_chargeCustomerFail can be attached, and charging it is declined)
"""

from __future__ import annotations

from infra.sandbox.knobs import Knobs
from infra.sandbox.resources import Json

DAY_S = 86_400
DECLINED_PREFIXES = ("pm_card_chargeCustomerFail", "pm_card_chargeDeclined", "pm_card_visa_chargeDeclined")


def method_of(customer: Json, subscription: Json | None, invoice: Json | None = None) -> str | None:
    """The payment method in charge: the invoice's, else the subscription's, else the customer's."""
    for owner in (invoice, subscription):
        if owner is not None and owner.get("default_payment_method"):
            return str(owner["default_payment_method"])
    return (customer.get("invoice_settings") or {}).get("default_payment_method")


def succeeds(method: str | None, knobs: Knobs) -> bool:
    """Whether charging a payment method succeeds; without any, the knob says."""
    if method is None:
        return not knobs.payment_method_needed
    return not method.startswith(DECLINED_PREFIXES)


def next_attempt(attempts: int, now: int, knobs: Knobs) -> int | None:
    """When a payment that failed for the n-th time is tried again; None after the last retry."""
    days = [float(each) for each in knobs.payment_retry_days.split(",") if each.strip()]
    return None if attempts > len(days) else now + int(days[attempts - 1] * DAY_S)
