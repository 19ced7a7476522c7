"""What our code really sends to Stripe is in the table of requests: a new call without its row is a failing test."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from infra import stripe_catalog
from infra.settings import load_settings
from infra.settings_stripe import terms_of
from infra.stripe_compare import compare_meters
from infra.stripe_preflight import preflight
from infra.webhooks.provider import Provider
from sinks.remedy_calls import CreditLine, LookUp, Quote, Quoted
from sinks.stripe import client
from sinks.stripe.drafts import HOLD, RELEASE
from sinks.stripe.gate_ports import StripeDrafts
from sinks.stripe.invoice_line import find
from sinks.stripe.remedy_request import remedy_of
from sinks.stripe.request import METER_EVENTS_PATH, meter_event_body
from sinks.stripe.transport import Connections
from tests.contract.stripe_bench import bench
from tests.contract.stripe_request_rows import ROWS
from tests.contract.stripe_requests import Sent, covers, names_of
from topics.adjustments import Adjustment
from topics.errors import TidemarkError
from topics.receipt import CellReceipt, MeterTarget, WindowPart
from topics.windows import Window, window_key

CONFIGURATION = """
[stripe]
gate = "hold"
base_amount = 1900
[[meters]]
slug = "calls"
event_type = "api.request"
unit_amount = "0.04"
[[meters]]
slug = "calls_metered"
event_type = "api.request"
stripe_mode = "meters"
[[meters]]
slug = "deltas"
event_type = "api.request"
stripe_mode = "meters"
stripe_aggregation = "sum"
[[customers]]
id = "acme"
email = "billing@acme.example"
[[customers]]
id = "clocked"
test_clock = "CLOCK"
"""


class Recording(Connections):
    """The transport, with an ear."""

    heard: list[Sent]

    def request(
        self, method: str, url: str, headers: Mapping[str, str] | None, post_data: Any = None, *, _usage: list[str] | None = None
    ) -> tuple[str, int, Any]:
        """Writes down what leaves, then sends it."""
        parts = urlsplit(url)
        version = {name.lower(): value for name, value in (headers or {}).items()}["stripe-version"]
        self.heard.append(Sent(version, method.lower(), parts.path, names_of(post_data or parts.query)))
        return super().request(method, url, headers, post_data)


async def test_everything_that_is_sent_stands_in_the_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All that our verbs and workers send is in the table, which stripe-mock and Stripe's description judge."""
    heard = list[Sent]()
    monkeypatch.setattr(Recording, "heard", heard, raising=False)
    monkeypatch.setattr(client, "Connections", Recording)
    async with bench(tmp_path) as stripe:
        clock = await stripe.call(stripe.modern.post, "/v1/test_helpers/test_clocks", frozen_time=stripe.now_s)
        path = tmp_path / "tidemark.toml"
        path.write_text(CONFIGURATION.replace("CLOCK", clock["id"]))
        environment = {"STRIPE_API_KEY": stripe.sandbox.key, "TIDEMARK_STRIPE__API_BASE": stripe.sandbox.url}
        settings = load_settings(path, environment)
        heard.clear()
        await stripe.call(stripe_catalog.setup, settings, stripe.now_s - 20 * 86_400)
        await stripe.call(stripe_catalog.setup, settings)
        items = (await stripe.call(stripe_catalog.read_items, settings))["acme"]
        await stripe.call(preflight, settings)
        await stripe.call(compare_meters, settings, "calls", "calls_metered")
        hour_s = stripe.now_s // 3600 * 3600
        await stripe.call(stripe.access.event_summaries, "calls_metered", items[0].stripe_customer, "hour", hour_s - 3600, hour_s)
        legacy = next(item for item in items if item.mode == "usage_records")
        text = f'[[customers]]\nid = "c"\n[[customers.items]]\nmeter = "calls"\nstripe_subscription_item = "{legacy.item}"\n'
        path.write_text(CONFIGURATION.partition("[[customers]]")[0] + text)
        await stripe.call(preflight, load_settings(path, environment))
        await stripe.report(5, "k1", item=legacy.item)
        target = MeterTarget(event_name="calls_metered", customer=legacy.stripe_customer, aggregation="hour")
        body = meter_event_body(target, "5", "i1", hour_s - 3600)
        await stripe.call(stripe.access.report, METER_EVENTS_PATH, body, "k2", lambda: True)
        await stripe.call(stripe.access.summaries, legacy.item, stripe.now_s)
        provider = Provider(stripe.eras, terms_of(settings), {})
        await stripe.call(provider.candidates, [legacy.stripe_customer], 0)
        assert await stripe.call(provider.customer_name, legacy.stripe_customer) == "acme"
        invoice = (await stripe.call(lambda: list(stripe.access.pages("/v1/invoices"))))[0]["id"]
        for ask, name in ((provider.invoice, invoice), (provider.subscription, legacy.subscription), (provider.clock, clock["id"])):
            assert await stripe.call(ask, name) is not None
        await stripe.call(_bill_elsewhere, stripe.access, legacy.item, invoice)
        await stripe.call(_gate, stripe.access, invoice, legacy.subscription)
        with contextlib.suppress(TidemarkError):  # an invoice without usage has no line to explain; what is asked is asked all the same
            await stripe.call(find, stripe.access, invoice)
    missing = {sent for sent in heard if not any(covers(row, sent) for row in ROWS)}
    assert not missing, "\n".join(f"{sent.version} {sent.method} {sent.path} {sorted(sent.names)}" for sent in missing)
    assert len(heard) > 40


def cell_receipt(*, item: str, invoice: str, units: str) -> CellReceipt:
    """A cell whose adjustment is to be credited."""
    window = window_key(Window("acme", "calls", 3600, 7200))
    said = Adjustment(id="adj_1", units=units, standing="5", cause="after_finalization", policy="credit_note", invoice=invoice, since_ms=0)
    part = WindowPart(window=window, generation=1, through_offset=1, quantity="2")
    return CellReceipt(
        provider="stripe", account="default", cell=f"{item}|3600", customer="acme", meter="calls", item=item, timestamp_s=3600, period_start_s=0,
        period_end_s=86_400, windows=(part,), revision=2, attempt=1, quantity="2", units="2", state="adjustment", intent_at_ms=0, adjustment=said,
    )  # fmt: skip


def _gate(access: client.StripeAccess, invoice: str, subscription: str) -> None:
    """What the invoice gate asks."""
    drafts = StripeDrafts(access)
    for after, named in (("", ""), ("", subscription), (invoice, "")):
        drafts.page(after, named)
    assert drafts.invoice(invoice) is not None
    drafts.lines(invoice)
    for wanted in (HOLD, RELEASE):
        drafts.change(invoice, wanted)


def _bill_elsewhere(access: client.StripeAccess, item: str, invoice: str) -> None:
    """An adjustment's quote, its invoice item, its credit note, and the looking for both; refusals are as good as answers here."""
    receipt = cell_receipt(item=item, invoice=invoice, units="-3")
    for price, subscription, credited in (("", "", ""), ("", "", invoice)):
        quoted = access.quote(Quote(b"", item, price, subscription, "", credited, receipt.timestamp_s))
        assert isinstance(quoted, Quoted)
        for lines in ((), (CreditLine("il_1", 10), CreditLine("il_2", 2))):
            remedy = remedy_of(receipt, quoted._replace(lines=lines), -11, 0)
            access.report(remedy.path, remedy.body, remedy.idempotency_key, lambda: True)
            assert access.look_up(LookUp(b"", receipt, remedy)) == "" or not lines
