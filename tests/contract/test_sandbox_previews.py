"""Previews of a subscription's coming invoice, by the URL of either API era."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from infra.sandbox.knobs import NEWEST_VERSION
from tests.contract.billing_bench import DAY, FEB_29, HOUR, START, Bench, licensed
from tests.contract.sandbox_driver import Driver


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    """A bench on a fresh sandbox."""
    with Driver(tmp_path) as driver:
        yield Bench(driver)


def test_a_preview_is_the_coming_invoice(bench: Bench) -> None:
    """What a preview shows just before the edge is what the invoice of the edge has: lines, periods, total; and it changes nothing."""
    subscription, item = bench.subscribe(bench.driver.metered_price(), **{"items[1][price]": licensed(bench.driver)})
    bench.post("/v1/invoiceitems", customer=bench.customer, amount=-10)
    bench.advance(FEB_29 - 60)
    bench.driver.use(item, quantity=41)
    preview = bench.driver.get("/v1/invoices/upcoming", {"subscription": subscription}).json
    assert (preview["billing_reason"], preview["status"], "id" in preview) == ("upcoming", "draft", False)
    assert len(bench.invoices()) == 1
    bench.advance(FEB_29 + HOUR)
    real = bench.newest()
    for field in ("total", "period_start", "period_end", "subscription", "currency", "created"):
        assert preview[field] == real[field], field
    shown = [[(line["amount"], line["quantity"], line["period"]) for line in each["lines"]["data"]] for each in (preview, real)]
    assert shown[0] == shown[1]
    assert [line["amount"] for line in real["lines"]["data"]] == [41, 3000, -10]


def test_each_era_has_its_url(bench: Bench) -> None:
    """GET upcoming ends with basil and POST create_preview begins before it; both find a customer's next edge, or say that there is none."""
    assert bench.driver.get("/v1/invoices/upcoming", {"customer": bench.customer}).error["code"] == "invoice_upcoming_none"
    bench.subscribe(bench.driver.metered_price())
    subscription, _ = bench.subscribe(bench.driver.metered_price(interval="week"))
    old = bench.driver.get("/v1/invoices/upcoming", {"customer": bench.customer}).json
    assert (old["subscription"], old["period_end"]) == (subscription, START + 7 * DAY)
    assert bench.driver.get("/v1/invoices/upcoming", {"customer": bench.customer}, stripe_version=NEWEST_VERSION).status == 404
    new = bench.driver.post("/v1/invoices/create_preview", {"customer": bench.customer}, stripe_version=NEWEST_VERSION).json
    assert new["parent"]["subscription_details"]["subscription"] == subscription
    lines = bench.driver.get("/v1/invoices/upcoming/lines", {"subscription": subscription}).json
    assert [line["id"][:3] for line in lines["data"]] == ["il_"]
    assert bench.driver.post("/v1/invoices/create_preview", {}).error["code"] == "parameter_missing"


def test_a_preview_of_an_ending_subscription_has_no_next_period(bench: Bench) -> None:
    """With cancel_at_period_end the coming invoice bills what was used and nothing in advance."""
    subscription, item = bench.subscribe(bench.driver.metered_price(), **{"items[1][price]": licensed(bench.driver)})
    bench.post(f"/v1/subscriptions/{subscription}", cancel_at_period_end="true")
    bench.advance(START + DAY)
    bench.driver.use(item, quantity=6)
    preview = bench.driver.get("/v1/invoices/upcoming", {"subscription": subscription}).json
    assert [(line["quantity"], line["amount"]) for line in preview["lines"]["data"]] == [(6, 6)]
