"""Invoices of subscriptions: when they come, what is on them, when they are final; nothing changes a final one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from infra.sandbox.knobs import NEWEST_VERSION, Knobs
from tests.contract.billing_bench import DAY, FEB_29, HOUR, MAR_31, START, Bench, licensed
from tests.contract.sandbox_driver import Driver


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    """A bench on a fresh sandbox."""
    with Driver(tmp_path) as driver:
        yield Bench(driver)


def test_a_period_is_billed_an_hour_after_its_end(bench: Bench) -> None:
    """At the edge a draft with the period's usage, an hour later final and paid; the subscription is in its next period."""
    subscription, item = bench.subscribe(bench.driver.metered_price())
    first = bench.invoices()[0]
    assert (first["billing_reason"], first["status"], first["total"]) == ("subscription_create", "paid", 0)
    bench.advance(START + DAY)
    bench.driver.use(item, quantity=70)
    bench.advance(FEB_29 + HOUR - 1)
    draft = bench.invoices()[1]
    assert (draft["status"], draft["billing_reason"], draft["created"]) == ("draft", "subscription_cycle", FEB_29)
    assert (draft["period_start"], draft["period_end"], draft["total"]) == (START, FEB_29, 70)
    assert (draft["number"], draft["automatically_finalizes_at"]) == (None, FEB_29 + HOUR)
    bench.advance(FEB_29 + HOUR)
    paid = bench.invoices()[1]
    assert (paid["status"], paid["amount_paid"], paid["paid"], paid["amount_remaining"]) == ("paid", 70, True, 0)
    assert paid["status_transitions"]["finalized_at"] == paid["status_transitions"]["paid_at"] == FEB_29 + HOUR
    line = paid["lines"]["data"][0]
    assert (line["type"], line["subscription_item"], line["quantity"], line["amount"]) == ("subscription", item, 70, 70)
    assert line["period"] == {"start": START, "end": FEB_29}
    shown = bench.driver.get(f"/v1/subscriptions/{subscription}").json
    assert (shown["current_period_start"], shown["current_period_end"], shown["latest_invoice"]) == (FEB_29, MAR_31, paid["id"])


def test_what_is_paid_in_advance_is_billed_for_the_new_period(bench: Bench) -> None:
    """A base price is on the first invoice for the first period and on each later one for the period that begins, beside the usage."""
    _, item = bench.subscribe(licensed(bench.driver), **{"items[0][quantity]": 2, "items[1][price]": bench.driver.metered_price()})
    first = bench.invoices()[0]
    assert (first["total"], first["status"]) == (6000, "paid")
    assert [(line["quantity"], line["period"]["start"]) for line in first["lines"]["data"]] == [(2, START), (0, START)]
    bench.advance(FEB_29 + HOUR)
    cycle = bench.invoices()[1]
    lines = {line["subscription_item"]: line for line in cycle["lines"]["data"]}
    assert lines[item]["period"] == {"start": FEB_29, "end": MAR_31}
    assert (cycle["total"], len(lines)) == (6000, 2)


def test_final_invoices_never_change(bench: Bench) -> None:
    """Usage that comes after an invoice is final is on no invoice of that period, and the invoice stays as it was."""
    _, item = bench.subscribe(bench.driver.metered_price())
    bench.advance(START + DAY)
    bench.driver.use(item, quantity=5)
    bench.advance(FEB_29 + HOUR)
    before = bench.invoices()[1]
    assert bench.driver.use(item, quantity=9, timestamp=FEB_29 - 10).status == 400
    bench.driver.store.set_cell(item, START + DAY, 1000)
    assert bench.invoices()[1] == before


def test_usage_of_the_grace_is_billed_once(bench: Bench) -> None:
    """Usage of the last minutes that comes in the first minutes of the new period is on the draft; is that final, in the new period."""
    _, item = bench.subscribe(bench.driver.metered_price())
    bench.advance(FEB_29 + 60)
    assert bench.driver.use(item, quantity=3, timestamp=FEB_29 - 30).status == 200
    draft = bench.invoices()[1]
    assert draft["total"] == 3
    bench.driver.made(f"/v1/invoices/{draft['id']}/finalize", {})
    for quantity, action in ((4, "increment"), (10, "set")):
        assert bench.driver.use(item, quantity=quantity, timestamp=FEB_29 - 30, action=action).status == 200
    bench.driver.use(item, quantity=1)
    assert bench.driver.totals(item) == [8, 3]
    bench.advance(MAR_31 + HOUR)
    assert [invoice["total"] for invoice in bench.invoices()] == [0, 3, 8]


def test_many_periods_are_billed_each_once_in_order(bench: Bench) -> None:
    """However far a clock is advanced, every period has its invoice, stamped with its own edge."""
    bench.subscribe(bench.driver.metered_price(interval="day"))
    bench.subscribe(licensed(bench.driver, **{"recurring[interval]": "day"}))
    for day in range(2, 15, 2):
        bench.advance(START + day * DAY)
    invoices = bench.invoices()
    assert [invoice["created"] for invoice in invoices] == sorted([START, START, *(START + day * DAY for day in range(1, 15) for _ in range(2))])
    assert {invoice["status"] for invoice in invoices[:-2]} == {"paid"}
    assert len({invoice["number"] for invoice in invoices if invoice["number"]}) == len(invoices) - 2


def test_the_sandboxs_own_clock_bills_too(tmp_path: Path) -> None:
    """Without a test clock periods end as the sandbox's clock passes them, and twelve months in one step are twelve invoices."""
    with Driver(tmp_path) as driver:
        subscription, item = driver.subscribed(driver.metered_price())
        driver.use(item, quantity=11)
        driver.engine.clock.set(driver.engine.clock.now_s() + 366 * DAY)
        driver.engine.keep()
        invoices = driver.get("/v1/invoices", {"subscription": subscription, "limit": 100}).json["data"][::-1]
        assert [invoice["total"] for invoice in invoices] == [0, 11, *[0] * 11]
        assert {invoice["status"] for invoice in invoices} == {"paid"}


def test_a_held_draft_stays_until_it_is_released(bench: Bench) -> None:
    """With auto_advance=false a draft waits past its hour; set to true again it is final at once; a draft waits its hour."""
    bench.subscribe(bench.driver.metered_price())
    bench.advance(FEB_29 + 60)
    draft = bench.invoices()[1]["id"]
    held = bench.driver.made(f"/v1/invoices/{draft}", {"auto_advance": "false", "metadata[gate]": "held"})
    assert (held["auto_advance"], held["automatically_finalizes_at"], held["metadata"]) == (False, None, {"gate": "held"})
    bench.advance(FEB_29 + 30 * HOUR)
    assert bench.invoices()[1]["status"] == "draft"
    assert bench.driver.made(f"/v1/invoices/{draft}", {"auto_advance": "true"})["status"] == "draft"
    assert bench.invoices()[1]["status"] == "paid"
    assert bench.invoices()[1]["status_transitions"]["finalized_at"] == FEB_29 + 30 * HOUR


def test_the_grace_is_a_setting(tmp_path: Path) -> None:
    """With 72 hours of grace a draft is final after 72 hours and not before."""
    knobs = Knobs(calls_per_second=1e9, finalization_grace_s=72 * HOUR)
    with Driver(tmp_path, knobs=knobs) as driver:
        bench = Bench(driver)
        bench.subscribe(driver.metered_price())
        bench.advance(FEB_29 + 72 * HOUR - 1)
        assert bench.invoices()[1]["status"] == "draft"
        bench.advance(FEB_29 + 72 * HOUR)
        assert bench.invoices()[1]["status"] == "paid"


def test_invoices_are_called_by_hand(bench: Bench) -> None:
    """finalize, pay, void, mark_uncollectible and delete each take what the workflow allows and refuse the rest."""
    bench.subscribe(bench.driver.metered_price())
    bench.advance(FEB_29 + 60)
    cycle = f"/v1/invoices/{bench.invoices()[1]['id']}"
    assert bench.driver.call("DELETE", cycle).status == 400
    assert bench.driver.post(f"{cycle}/void").status == 400
    assert bench.driver.made(f"{cycle}/finalize", {})["status"] == "paid"
    assert bench.driver.post(f"{cycle}/finalize").status == 400
    assert bench.driver.post(f"{cycle}/pay").status == 400
    manual = bench.driver.made("/v1/invoices", {"customer": bench.customer})
    assert (manual["status"], manual["billing_reason"], manual["auto_advance"]) == ("draft", "manual", False)
    assert bench.driver.call("DELETE", f"/v1/invoices/{manual['id']}").json["deleted"] is True
    assert bench.driver.get(f"/v1/invoices/{manual['id']}").status == 404


def test_both_eras_have_their_shapes(bench: Bench) -> None:
    """Before basil a line names price and item at its top, from then on under pricing and parent; amounts and quantities are the same."""
    subscription, item = bench.subscribe(bench.driver.metered_price())
    bench.advance(START + DAY)
    bench.driver.use(item, quantity=12)
    bench.advance(FEB_29 + HOUR)
    old, new = bench.invoices()[1], bench.invoices(stripe_version=NEWEST_VERSION)[1]
    assert (old["subscription"], new["parent"]["subscription_details"]["subscription"]) == (subscription, subscription)
    assert {"paid", "subscription", "tax"} & set(new) == set()
    line, modern = old["lines"]["data"][0], new["lines"]["data"][0]
    assert (line["amount"], line["quantity"]) == (modern["amount"], modern["quantity"]) == (12, 12)
    details = modern["parent"]["subscription_item_details"]
    assert (details["subscription_item"], modern["parent"]["type"]) == (item, "subscription_item_details")
    assert (modern["pricing"]["price_details"]["price"], modern["quantity_decimal"]) == (line["price"]["id"], "12")
    assert bench.driver.get(f"/v1/invoices/{old['id']}/lines").json["data"] == old["lines"]["data"]


def test_time_says_what_it_does(bench: Bench) -> None:
    """A month's events come in order, each once."""
    bench.subscribe(bench.driver.metered_price())
    bench.advance(FEB_29 + HOUR)
    create = ["invoice.created", "invoice.finalized", "invoice.paid", "invoice.payment_succeeded", "customer.subscription.created"]
    cycle = ["invoice.created", "customer.subscription.updated", "invoice.finalized", "invoice.paid", "invoice.payment_succeeded"]
    clock = "test_helpers.test_clock"
    assert bench.events() == [f"{clock}.created", *create, f"{clock}.advancing", "invoice.upcoming", *cycle, f"{clock}.ready"]


def test_a_draft_that_is_released_early_waits_its_hour(bench: Bench) -> None:
    """Held and released within its grace, a draft is final when the grace has passed, not before."""
    bench.subscribe(bench.driver.metered_price())
    bench.advance(FEB_29 + 60)
    for advance in ("false", "true"):
        bench.post(f"/v1/invoices/{bench.newest()['id']}", auto_advance=advance)
    bench.advance(FEB_29 + HOUR - 1)
    assert bench.newest()["status"] == "draft"
    bench.advance(FEB_29 + HOUR)
    assert bench.newest()["status"] == "paid"
