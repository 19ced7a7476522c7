"""Invoice lines of meters' prices: what counts until the invoice is final, and exactly how it is priced."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from infra.sandbox.knobs import NEWEST_VERSION, Knobs
from tests.contract.billing_bench import DAY, FEB_29, HOUR, MAR_31, START, Bench
from tests.contract.sandbox_driver import Driver


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    """A bench on a fresh sandbox."""
    with Driver(tmp_path) as driver:
        yield Bench(driver)


def used(bench: Bench, value: object, at: int) -> None:
    """A meter event."""
    reply = bench.driver.emit(bench.customer, value, timestamp=at)
    assert reply.status == 200, reply.json


def test_usage_of_the_period_lands_while_the_invoice_is_a_draft(bench: Bench) -> None:
    """An event stamped inside the period counts until finalisation; from the edge on it counts in the next period, and later in none."""
    bench.subscribe(bench.driver.metered_price(**{"recurring[meter]": bench.driver.meter()}))
    bench.advance(START + DAY)
    used(bench, 10, START)
    bench.advance(FEB_29 + HOUR - 1)
    used(bench, 5, FEB_29 - 1)
    used(bench, 3, FEB_29)
    assert bench.lines() == [(15, 15)]
    bench.advance(FEB_29 + HOUR)
    used(bench, 100, FEB_29 - 1)
    assert bench.lines() == [(15, 15)]
    bench.advance(FEB_29 + 30 * DAY + HOUR)
    bench.advance(MAR_31 + HOUR)
    assert bench.lines() == [(3, 3)]


def test_a_held_draft_takes_usage_until_it_is_released(bench: Bench) -> None:
    """With auto_advance=false usage of the period still lands after the grace, which is what an invoice gate relies on."""
    bench.subscribe(bench.driver.metered_price(**{"recurring[meter]": bench.driver.meter()}))
    bench.advance(FEB_29 + 60)
    draft = bench.newest()["id"]
    bench.post(f"/v1/invoices/{draft}", auto_advance="false")
    bench.advance(FEB_29 + 30 * HOUR)
    used(bench, 77, FEB_29 - 60)
    bench.post(f"/v1/invoices/{draft}", auto_advance="true")
    assert (bench.newest()["status"], bench.lines()) == ("paid", [(77, 77)])


@pytest.mark.parametrize(
    ("values", "decimal", "quantity", "amount"),
    [(["1.25", "0.25"], "1.5", 1, 2), (["10", "-12"], "0", 0, 0), (["0.000001"], "0.000001", 0, 0), (["3", "-1"], "2", 2, 2)],
)
def test_decimals_and_negative_usage(bench: Bench, values: list[str], decimal: str, quantity: int, amount: int) -> None:
    """The exact total is on the line, its whole part as quantity; a negative one is 0; the amount is rounded once."""
    bench.subscribe(bench.driver.metered_price(**{"recurring[meter]": bench.driver.meter()}))
    for each in values:
        used(bench, each, START)
    bench.advance(FEB_29 + HOUR)
    line = bench.invoices(stripe_version=NEWEST_VERSION)[-1]["lines"]["data"][0]
    assert (line["quantity_decimal"], line["quantity"], line["amount"]) == (decimal, quantity, amount)


def test_a_customer_pays_for_its_own_usage_only(bench: Bench) -> None:
    """Two customers on one meter have each their own line."""
    price = bench.driver.metered_price(**{"recurring[meter]": bench.driver.meter()})
    other = bench.driver.made("/v1/customers", {"test_clock": bench.clock})["id"]
    for customer in (bench.customer, other):
        bench.post("/v1/subscriptions", customer=customer, **{"items[0][price]": price})
    used(bench, 4, START)
    bench.driver.emit(other, 9, timestamp=START)
    bench.advance(FEB_29 + HOUR)
    theirs = bench.driver.get("/v1/invoices", {"customer": other}).json["data"][0]
    assert (bench.newest()["total"], theirs["total"]) == (4, 9)


def test_usage_that_is_not_judged_yet_is_not_billed(tmp_path: Path) -> None:
    """An event that Stripe has answered but not counted when the invoice becomes final is on no invoice of that period."""
    with Driver(tmp_path, knobs=Knobs(calls_per_second=1e9, meter_calls_per_second=1e9, meter_delay_s=600)) as driver:
        bench = Bench(driver)
        bench.subscribe(driver.metered_price(**{"recurring[meter]": driver.meter()}))
        used(bench, 4, START)
        driver.engine.clock.set(driver.engine.clock.now_s() + 601)
        used(bench, 9, START)
        bench.advance(FEB_29 + HOUR)
        assert bench.lines() == [(4, 4)]


def test_tiers_of_a_meter_have_a_line_each(bench: Bench) -> None:
    """A graduated price shows each tier reached on a line of its own, with stable ids, which add up to the usage."""
    params = {
        "currency": "usd", "product_data[name]": "calls", "recurring[interval]": "month", "recurring[usage_type]": "metered",
        "recurring[meter]": bench.driver.meter(), "billing_scheme": "tiered", "tiers_mode": "graduated",
        "tiers[0][up_to]": 10, "tiers[0][unit_amount]": 0, "tiers[1][up_to]": "inf", "tiers[1][unit_amount_decimal]": "0.5", "expand[]": "tiers",
    }  # fmt: skip
    price = bench.driver.made("/v1/prices", params)
    assert [tier["up_to"] for tier in price["tiers"]] == [10, None]
    assert "tiers" not in bench.driver.get(f"/v1/prices/{price['id']}").json
    bench.subscribe(price["id"])
    used(bench, 25, START)
    bench.advance(FEB_29 + 60)
    draft = [line["id"] for line in bench.newest()["lines"]["data"]]
    bench.advance(FEB_29 + HOUR)
    assert bench.lines() == [(10, 0), (15, 8)]
    assert [line["id"] for line in bench.newest()["lines"]["data"]] == draft


def test_usage_is_judged_before_an_invoice_is_final(tmp_path: Path) -> None:
    """However far the sandbox's clock is set in one step, an event counts that was judged before the invoice became final."""
    with Driver(tmp_path, knobs=Knobs(calls_per_second=1e9, meter_calls_per_second=1e9, meter_delay_s=600)) as driver:
        price = driver.metered_price(**{"recurring[meter]": driver.meter()})
        customer = driver.made("/v1/customers", {})["id"]
        subscription = driver.made("/v1/subscriptions", {"customer": customer, "items[0][price]": price})
        driver.engine.clock.set(subscription["current_period_end"] - 60)
        assert driver.emit(customer, 8).status == 200
        driver.engine.clock.set(subscription["current_period_end"] + 10 * DAY)
        invoice = driver.get("/v1/invoices", {"customer": customer}).json["data"][0]
        assert (invoice["status"], invoice["total"]) == ("paid", 8)
