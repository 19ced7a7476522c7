"""The rows of the table of requests (`stripe_requests.py`), in an order in which each finds what it needs."""

from __future__ import annotations

from typing import Final

from tests.contract.stripe_requests import BOTH, NEW, OLD, Row

PAGE: Final = {"limit": 100}
_MARKED: Final = {"tidemark_meter": "requests"}
_MONTHLY: Final = {"interval": "month", "interval_count": 1}
_CUSTOMERS: Final = {"expand": ["data.customer"]}
_TERMS: Final = {"collection_method": "send_invoice", "days_until_due": 30, "proration_behavior": "none"}

SETUP: Final = (
    Row("products, read", BOTH, "get", "/v1/products", {**PAGE, "active": True}),
    Row("product", BOTH, "post", "/v1/products", {"name": "Tidemark {salt}", "metadata": _MARKED}, {"product": "id"}),
    Row("meters, read", NEW, "get", "/v1/billing/meters", PAGE),
    Row(
        "meter of a UTC hour",
        NEW,
        "post",
        "/v1/billing/meters",
        {
            "display_name": "Requests {salt}",
            "event_name": "requests_{salt}",
            "default_aggregation": {"formula": "sum"},
            "event_time_window": "hour",
            "customer_mapping": {"type": "by_id", "event_payload_key": "stripe_customer_id"},
            "value_settings": {"event_payload_key": "value"},
        },
        {"meter": "id", "event_name": "event_name"},
    ),
    Row("active meters, read", NEW, "get", "/v1/billing/meters", {**PAGE, "status": "active"}),
    Row("meter", NEW, "get", "/v1/billing/meters/{meter}"),
    Row("prices, read", BOTH, "get", "/v1/prices", {**PAGE, "active": True}),
    Row(
        "metered price, legacy",
        OLD,
        "post",
        "/v1/prices",
        {
            "product": "{product}",
            "currency": "usd",
            "unit_amount_decimal": "0.04",
            "recurring": {**_MONTHLY, "usage_type": "metered", "aggregate_usage": "sum"},
            "metadata": _MARKED,
        },
        {"price": "id"},
    ),
    Row(
        "metered price, on a meter",
        NEW,
        "post",
        "/v1/prices",
        {
            "product": "{product}",
            "currency": "usd",
            "unit_amount_decimal": "0.04",
            "recurring": {**_MONTHLY, "usage_type": "metered", "meter": "{meter}"},
            "metadata": _MARKED,
        },
        {"price": "id"},
    ),
    Row(
        "base price",
        BOTH,
        "post",
        "/v1/prices",
        {
            "product": "{product}",
            "currency": "usd",
            "unit_amount_decimal": "1900",
            "recurring": {**_MONTHLY, "usage_type": "licensed"},
            "metadata": {"tidemark_base": "base"},
        },
        {"base_price": "id"},
    ),
    Row("price, with its tiers", BOTH, "get", "/v1/prices/{price}", {"expand": ["tiers"]}),
    Row("test clock", BOTH, "post", "/v1/test_helpers/test_clocks", {"frozen_time": "{since}"}, {"clock": "id"}),
    Row("test clocks, read", BOTH, "get", "/v1/test_helpers/test_clocks", PAGE),
    Row("test clock, read", BOTH, "get", "/v1/test_helpers/test_clocks/{clock}"),
    Row("customers, read", BOTH, "get", "/v1/customers", PAGE),
    Row("customers of a clock, read", BOTH, "get", "/v1/customers", {**PAGE, "test_clock": "{clock}"}),
    Row(
        "customer on a clock",
        BOTH,
        "post",
        "/v1/customers",
        {"name": "zen", "email": "a@zen.example", "test_clock": "{clock}", "metadata": {"tidemark_customer": "zen"}},
    ),
    Row(
        "customer",
        BOTH,
        "post",
        "/v1/customers",
        {"name": "acme", "email": "billing@acme.example", "metadata": {"tidemark_customer": "acme"}},
        {"customer": "id"},
    ),
    Row("subscriptions, read", BOTH, "get", "/v1/subscriptions", {**PAGE, **_CUSTOMERS}),
    Row("subscriptions of a clock, read", BOTH, "get", "/v1/subscriptions", {**PAGE, **_CUSTOMERS, "test_clock": "{clock}"}),
    Row(
        "subscriptions that ended, read",
        BOTH,
        "get",
        "/v1/subscriptions",
        {**PAGE, **_CUSTOMERS, "status": "canceled", "current_period_end": {"gte": "{since}"}, "test_clock": "{clock}"},
    ),
    Row(
        "subscription",
        BOTH,
        "post",
        "/v1/subscriptions",
        {
            "customer": "{customer}",
            "items": [{"price": "{base_price}"}],
            "metadata": {"tidemark_customer": "acme"},
            "backdate_start_date": "{since}",
            "billing_cycle_anchor": "{edge}",
            **_TERMS,
        },
        {"subscription": "id"},
    ),
    Row(
        "subscription that bills nothing at first",
        BOTH,
        "post",
        "/v1/subscriptions",
        {
            "customer": "{customer}",
            "items": [{"price": "{price}"}],
            "metadata": {"tidemark_customer": "acme"},
            "trial_end": "{edge}",
            **_TERMS,
        },
    ),
    Row(
        "item",
        BOTH,
        "post",
        "/v1/subscription_items",
        {"subscription": "{subscription}", "price": "{price}", "proration_behavior": "none"},
        {"item": "id"},
    ),
)

SYNC: Final = (
    Row("items, read", BOTH, "get", "/v1/subscription_items", {**PAGE, "subscription": "{subscription}"}),
    Row("item, read", BOTH, "get", "/v1/subscription_items/{item}"),
    Row("subscription, read", BOTH, "get", "/v1/subscriptions/{subscription}"),
)

REPORT: Final = (
    Row(
        "usage record",
        OLD,
        "post",
        "/v1/subscription_items/{item}/usage_records",
        {"quantity": 5, "timestamp": "{before}", "action": "set"},
    ),
    Row("usage record summaries", OLD, "get", "/v1/subscription_items/{item}/usage_record_summaries", PAGE),
    Row(
        "meter event",
        NEW,
        "post",
        "/v1/billing/meter_events",
        {
            "event_name": "{event_name}",
            "payload": {"stripe_customer_id": "{customer}", "value": "5"},
            "identifier": "tm1_{salt}",
            "timestamp": "{before}",
        },
    ),
    Row(
        "meter event summaries",
        NEW,
        "get",
        "/v1/billing/meters/{meter}/event_summaries",
        {**PAGE, "customer": "{customer}", "start_time": "{before}", "end_time": "{hour}"},
    ),
    Row(
        "meter event summaries, hour by hour",
        NEW,
        "get",
        "/v1/billing/meters/{meter}/event_summaries",
        {**PAGE, "customer": "{customer}", "start_time": "{before}", "end_time": "{hour}", "value_grouping_window": "hour"},
    ),
    Row(
        "meter event, canceled",
        NEW,
        "post",
        "/v1/billing/meter_event_adjustments",
        {"event_name": "{event_name}", "type": "cancel", "cancel": {"identifier": "tm1_{salt}"}},
    ),
)

EXPLAIN: Final = (
    Row("invoices, read", BOTH, "get", "/v1/invoices", PAGE, {"invoice": "data.0.id"}),
    Row("invoice, read", BOTH, "get", "/v1/invoices/{invoice}"),
    Row("lines of an invoice, read", BOTH, "get", "/v1/invoices/{invoice}/lines", PAGE),
)

_BILLS: Final = {"tidemark_adjustment": "adj_{salt}", "tidemark_remedy": "adj_{salt}/1", "tidemark_units": "7", "tidemark_invoice": "{invoice}"}
ADJUST: Final = (
    Row(
        "invoice item that bills an adjustment",
        NEW,
        "post",
        "/v1/invoiceitems",
        {
            "customer": "{customer}",
            "amount": 11,
            "currency": "usd",
            "description": "requests: 7 units",
            "period": {"start": "{before}", "end": "{hour}"},
            "metadata": _BILLS,
        },
    ),
    Row("invoice items of a customer, read", NEW, "get", "/v1/invoiceitems", {**PAGE, "customer": "{customer}"}),
    Row(
        "a final invoice with that item on it (not ours: it sets the stage)",
        NEW,
        "post",
        "/v1/invoices",
        {"customer": "{customer}", "pending_invoice_items_behavior": "include", "collection_method": "send_invoice", "days_until_due": 30},
        {"credited": "id"},
    ),
    Row("its finalisation (not ours)", NEW, "post", "/v1/invoices/{credited}/finalize"),
    Row("its lines, read", NEW, "get", "/v1/invoices/{credited}/lines", PAGE, {"line": "data.0.id"}),
    Row("credit notes of an invoice, read", NEW, "get", "/v1/credit_notes", {**PAGE, "invoice": "{credited}"}),
    Row(
        "credit note on an open invoice",
        NEW,
        "post",
        "/v1/credit_notes",
        {
            "invoice": "{credited}",
            "memo": "requests: -3 units",
            "lines": [{"type": "invoice_line_item", "invoice_line_item": "{line}", "amount": 4}],
            "metadata": _BILLS,
        },
        {"credit_note": "id"},
    ),
    Row("its payment (not ours)", NEW, "post", "/v1/invoices/{credited}/pay", {"paid_out_of_band": True}),
    Row(
        "credit note on a paid invoice",
        NEW,
        "post",
        "/v1/credit_notes",
        {
            "invoice": "{credited}",
            "memo": "requests: -5 units",
            "lines": [{"type": "invoice_line_item", "invoice_line_item": "{line}", "amount": 7}],
            "credit_amount": 7,
            "metadata": _BILLS,
        },
    ),
    Row("lines of a credit note, read", NEW, "get", "/v1/credit_notes/{credit_note}/lines", PAGE),
)

WEBHOOKS: Final = (
    Row("customer, read", BOTH, "get", "/v1/customers/{customer}"),
    Row("subscriptions of a customer, read", BOTH, "get", "/v1/subscriptions", {**PAGE, "customer": "{customer}"}),
    Row(
        "subscriptions of a customer that ended, read",
        BOTH,
        "get",
        "/v1/subscriptions",
        {**PAGE, "customer": "{customer}", "status": "canceled", "current_period_end": {"gte": "{since}"}},
    ),
)
"""Beside invoices and subscriptions. The thin event of a meter's errors is read at /v2/core/events/{id}, which no OpenAPI description at hand
and no stripe-mock has: the sandbox alone judges it (test_webhook_receiver.py)."""

GATE: Final = (
    Row("webhook endpoints, read", NEW, "get", "/v1/webhook_endpoints", PAGE),
    Row("drafts, read", OLD, "get", "/v1/invoices", {**PAGE, "status": "draft"}),
    Row("drafts of a subscription, read", OLD, "get", "/v1/invoices", {**PAGE, "status": "draft", "subscription": "{subscription}"}),
    Row("a draft (not ours)", OLD, "post", "/v1/invoices", {"customer": "{customer}", "auto_advance": "true"}, {"draft": "id"}),
    Row("further drafts, read", OLD, "get", "/v1/invoices", {**PAGE, "status": "draft", "starting_after": "{draft}"}),
    Row("draft that is held", OLD, "post", "/v1/invoices/{draft}", {"auto_advance": "false", "metadata": {"tidemark_gate": "held"}}),
    Row("draft that is let go", OLD, "post", "/v1/invoices/{draft}", {"auto_advance": "true", "metadata": {"tidemark_gate": ""}}),
)
"""The invoice gate (sinks/stripe/gate_ports.py), and what `check` asks for it."""

ROWS: Final = (*SETUP, *SYNC, *REPORT, *EXPLAIN, *ADJUST, *WEBHOOKS, *GATE)
