"""Invoice items as the sandbox stores them: an amount, or a quantity of a one-time price, that waits for an invoice. Pure."""

from __future__ import annotations

from infra.sandbox.resources import Json


def opened(
    object_id: str,
    now: int,
    customer: Json,
    *,
    currency: str,
    amount: int,
    quantity: int,
    unit_amount_decimal: str | None,
    period: tuple[int, int],
    price: Json | None = None,
    item: Json | None = None,
    subscription: str | None = None,
    proration: bool = False,
    description: str | None = None,
    metadata: dict[str, str] | None = None,
) -> Json:
    """A new invoice item on no invoice yet; `quantity` in 10⁻¹² units."""
    return {
        "id": object_id,
        "object": "invoiceitem",
        "amount": amount,
        "currency": currency,
        "customer": customer["id"],
        "date": now,
        "description": description,
        "discountable": not proration,
        "invoice": None,
        "livemode": False,
        "metadata": metadata or {},
        "period": {"end": period[1], "start": period[0]},
        "proration": proration,
        "subscription": subscription,
        "test_clock": customer["test_clock"],
        "_quantity": quantity,
        "_price": price,
        "_item": item,
        "_unit_amount_decimal": unit_amount_decimal,
    }
