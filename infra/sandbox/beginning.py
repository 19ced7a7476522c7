"""A subscription's first invoice: final and collected at once. Whether it is paid decides how the subscription begins.

Source: https://docs.stripe.com/billing/subscriptions/overview#requires-payment-method and the API reference of `payment_behavior`
"""

from __future__ import annotations

from infra.sandbox import cycle, errors, invoice_bodies, invoicing, standing, subscriptions
from infra.sandbox.ids import new_id
from infra.sandbox.invoice_lines import Line
from infra.sandbox.moment import Moment
from infra.sandbox.resources import Json


def begin(moment: Moment, body: Json, params: Json) -> Json:
    """Bills a new subscription, whose items are stored, and announces it."""
    body = standing.put(moment, body, None)
    behavior = params.get("payment_behavior", "allow_incomplete")
    invoice = _first_invoice(moment, body, params, collects=behavior != "default_incomplete")
    body = moment.store.get("subscription", body["id"]) or body
    sends = body["collection_method"] == "send_invoice"
    if body["status"] == "incomplete" and (invoice is None or sends):
        body = {**body, "status": "active"}
    if body["status"] == "incomplete" and behavior == "error_if_incomplete":
        raise errors.declined()
    return standing.put(moment, {**body, "_announced": True}, "created")


def _first_invoice(moment: Moment, body: Json, params: Json, *, collects: bool) -> Json | None:
    period = subscriptions.current_period(body)
    share = cycle.first_share(body, prorates=params.get("proration_behavior") != "none", created=moment.now)
    lines = cycle.licensed_lines(moment, body, period, share=share)
    if not subscriptions.is_flexible(body):
        lines += [_nothing_yet(body, item, price) for item, price in cycle.priced_items(moment, body) if cycle.is_metered(price)]
    if not lines and not invoicing.pending_items(moment, body["customer"], body["currency"], body["id"]):
        return None
    customer = moment.store.get("customer", body["customer"]) or {}
    start = period.start if share == 1 else min(period.start, moment.now)
    invoice = cycle.bill(moment, body, lines, reason="subscription_create", period=(start, moment.now), customer=customer)
    standing.put(moment, {**body, "latest_invoice": invoice["id"]}, None)
    return invoicing.finalize(moment, invoice, collects=collects) if invoice["status"] == invoice_bodies.DRAFT else invoice


def _nothing_yet(body: Json, item: Json, price: Json) -> Line:
    """The line of nothing with which classic billing mode shows a metered price at its beginning."""
    period = subscriptions.current_period(body)
    name = price["nickname"] or price["product"]
    return Line(
        new_id("il"), "item", period.start, period.end, price["currency"], description=f"0 × {name}", price=price,
        subscription=body["id"], item=item, unit_amount_decimal=price["unit_amount_decimal"], metadata=body["metadata"],
    )  # fmt: skip
