"""Handlers of invoices, their lines and their previews."""

from __future__ import annotations

from infra.sandbox import cycle, errors, invoicing, payments, resources, shapes, shapes_invoices, snapshots, subscriptions
from infra.sandbox.call import Call, Json, moment_of
from infra.sandbox.invoice_bodies import DRAFT, OPEN, PAID, UNCOLLECTIBLE
from infra.sandbox.moment import Moment
from infra.sandbox.paging import cursor, cut, listed


def _shaped(call: Call, body: Json) -> Json:
    return snapshots.invoice(moment_of(call, body["customer"]), body, call.version)


def _addressed(call: Call) -> tuple[Moment, Json]:
    body = call.addressed("invoice", "invoice")
    return moment_of(call, body["customer"]), body


def create_invoice(call: Call) -> Json:
    """POST /v1/invoices: a draft outside any period, by default with the customer's pending invoice items"""
    params = call.params
    customer = call.the("customer", params["customer"], param="customer")
    moment = moment_of(call, customer["id"])
    subscription = None
    if "subscription" in params:
        subscription = call.the("subscription", params["subscription"], param="subscription")
    pulls = params.get("pending_invoice_items_behavior", "exclude") == "include"
    if params.get("collection_method") == "send_invoice" and "days_until_due" not in params:
        raise errors.missing("days_until_due")
    body = invoicing.draft(
        moment, customer, [], reason="manual" if subscription is None else "subscription_update", period=(moment.now, moment.now),
        subscription=subscription, params={"auto_advance": False, **params}, currency=params.get("currency", "usd").lower(), pulls=pulls,
    )  # fmt: skip
    return _shaped(call, body)


def retrieve_invoice(call: Call) -> Json:
    """GET /v1/invoices/{id}"""
    return _shaped(call, call.addressed("invoice", "invoice"))


def update_invoice(call: Call) -> Json:
    """POST /v1/invoices/{id}: `auto_advance` false keeps a draft from being finalised; true lets it go on, an hour after its creation at the
    earliest"""
    moment, body = _addressed(call)
    if "description" in call.params and body["status"] != DRAFT:
        raise errors.refused("Finalized invoices can't be updated in this way", rule="invoices.final", param="description")
    body = resources.changed(body, call.params, "description", "auto_advance")
    if body["status"] == DRAFT:
        due_at = max(moment.now, body["created"] + call.knobs.finalization_grace_s)
        body["_finalizes_at"] = due_at if body["auto_advance"] else None
    elif body["status"] == OPEN and body["auto_advance"] and body["next_payment_attempt"] is None:
        body["next_payment_attempt"] = moment.now if body["collection_method"] == "charge_automatically" else None
    return _shaped(call, invoicing.put(moment, body, "updated"))


def finalize_invoice(call: Call) -> Json:
    """POST /v1/invoices/{id}/finalize"""
    moment, body = _addressed(call)
    if "auto_advance" in call.params:
        body["auto_advance"] = call.params["auto_advance"]
    return _shaped(call, _current(call, invoicing.finalize(moment, body)))


def _current(call: Call, body: Json) -> Json:
    return call.store.get("invoice", body["id"]) or body


def pay_invoice(call: Call) -> Json:
    """POST /v1/invoices/{id}/pay: a draft is finalised first; a declined payment is 402, and no attempt is counted"""
    moment, body = _addressed(call)
    if body["status"] == DRAFT:
        body = invoicing.finalize(moment, body, collects=False)
        if body["status"] == PAID:  # it came to nothing
            return _shaped(call, body)
    if call.params.get("paid_out_of_band"):
        return _shaped(call, invoicing.settle(moment, body, out_of_band=True))
    if body["status"] in {OPEN, UNCOLLECTIBLE}:
        subscription = call.store.get("subscription", body["subscription"] or "")
        customer = call.the("customer", body["customer"], param="customer")
        method = call.params.get("payment_method") or payments.method_of(customer, subscription, body)
        if not payments.succeeds(method, call.knobs):
            raise errors.declined()
        body["attempt_count"] += 1
    return _shaped(call, invoicing.settle(moment, body))


def void_invoice(call: Call) -> Json:
    """POST /v1/invoices/{id}/void"""
    return _shaped(call, invoicing.void(*_addressed(call)))


def give_up_invoice(call: Call) -> Json:
    """POST /v1/invoices/{id}/mark_uncollectible"""
    return _shaped(call, invoicing.give_up(*_addressed(call)))


def delete_invoice(call: Call) -> Json:
    """DELETE /v1/invoices/{id}: a draft that no subscription has created"""
    moment, body = _addressed(call)
    invoicing.discard(moment, body)
    return {"id": body["id"], "object": "invoice", "deleted": True}


def list_invoices(call: Call) -> Json:
    """GET /v1/invoices"""
    params = call.params
    created = params.get("created", {})
    wanted = {name: params[name] for name in ("status", "collection_method", "customer") if name in params}

    def keep(body: Json) -> bool:
        if body["test_clock"] is not None and not {"customer", "subscription"} & set(params):
            return False
        return all(body[name] == value for name, value in wanted.items()) and _within(body["created"], created)

    parent, ref = params.get("customer"), params.get("subscription")
    return listed(call, "invoice", lambda body: _shaped(call, body), parent=parent, ref=ref, keep=keep)


def _within(second: int, bounds: dict[str, int]) -> bool:
    first = max(bounds.get("gte", second), bounds.get("gt", second - 1) + 1)
    last = min(bounds.get("lte", second), bounds.get("lt", second + 1) - 1)
    return first <= second <= last


def list_lines(call: Call) -> Json:
    """GET /v1/invoices/{id}/lines: in the invoice's own order"""
    body = call.addressed("invoice", "invoice")
    found = shapes_invoices.lines(call.store, call.knobs, body)
    return line_page(call, [shapes_invoices.line(each, body, call.version) for each in found])


def line_page(call: Call, found: list[Json], kind: str = "line_item") -> Json:
    """A page of lines, in their own order."""
    at, backwards = cursor(call)
    ids = [each["id"] for each in found]
    if at is not None and at not in ids:
        raise errors.no_such(kind, at, param="ending_before" if backwards else "starting_after", in_url=False)
    place = None if at is None else ids.index(at)
    if backwards and place is not None:
        rows = found[:place][::-1]
    else:
        rows = found if place is None else found[place + 1 :]
    data, has_more = cut(iter(rows), call, backwards=backwards)
    return shapes.page(call.url, data, has_more=has_more)


def preview_invoice(call: Call) -> Json:
    """GET /v1/invoices/upcoming and POST /v1/invoices/create_preview: the coming invoice of a subscription as it would be now"""
    subscription = _previewed(call)
    return cycle.upcoming(moment_of(call, subscription["customer"]), subscription, call.version)


def preview_lines(call: Call) -> Json:
    """GET /v1/invoices/upcoming/lines"""
    subscription = _previewed(call)
    moment = moment_of(call, subscription["customer"])
    return line_page(call, cycle.upcoming(moment, subscription, call.version, first=None)["lines"]["data"])


def _previewed(call: Call) -> Json:
    params = call.params
    if "subscription" in params:
        body = call.the("subscription", params["subscription"], param="subscription")
        candidates = [body] if params.get("customer", body["customer"]) == body["customer"] else []
    elif "customer" in params:
        call.the("customer", params["customer"], param="customer")
        candidates = list(call.store.scan("subscription", parent=params["customer"], newest_first=False))
    else:
        raise errors.missing("customer")
    running = [each for each in candidates if not subscriptions.is_ended(each) and each["status"] != "paused"]
    if not running:
        message = f"No upcoming invoices for customer: {params.get('customer') or candidates[0]['customer']}"
        raise errors.ApiError(404, message, rule="invoices.upcoming", code="invoice_upcoming_none")
    return min(running, key=lambda each: subscriptions.current_period(each).end)
