"""What time does, it does once and in order: cut at every step, told twice, or found in an older directory."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from infra.sandbox import passing
from infra.sandbox.knobs import Knobs
from infra.sandbox.store import Store
from tests.contract.billing_bench import DAY, FEB_29, HOUR, START, Bench, licensed
from tests.contract.sandbox_driver import Driver


class Killed(BaseException):
    """The process died here."""


def busy(driver: Driver) -> Bench:
    """A customer with usage, a trial, a failing payment and an end ahead."""
    bench = Bench(driver)
    _, item = bench.subscribe(driver.metered_price(), **{"items[1][price]": licensed(driver), "items[1][quantity]": 2})
    trial, _ = bench.subscribe(licensed(driver), trial_period_days=10)
    bench.post(f"/v1/subscriptions/{trial}", default_payment_method="pm_card_chargeCustomerFail")
    bench.post("/v1/invoiceitems", customer=bench.customer, amount=123)
    bench.advance(START + DAY)
    driver.use(item, quantity=17)
    return bench


def story(bench: Bench) -> list[Any]:
    """Everything that happened, without ids."""
    invoices = [(each["created"], each["status"], each["number"][-4:] if each["number"] else None, each["total"]) for each in bench.invoices()]
    lines = [bench.lines(n) for n in range(len(invoices))]
    return [invoices, lines, bench.events(), bench.driver.get(f"/v1/customers/{bench.customer}").json["next_invoice_sequence"]]


def die_at(monkeypatch: pytest.MonkeyPatch, at: int) -> None:
    """Kills the process at the n-th object that it writes after the call that starts the advance, in the middle of a step."""
    writes, put = [0], Store.put

    def die(store: Store, body: Any, **places: Any) -> None:
        put(store, body, **places)
        writes[0] += 1
        if writes[0] == at + 1:
            raise Killed

    monkeypatch.setattr(Store, "put", die)


@pytest.mark.parametrize("at", range(1, 22, 2))
def test_a_kill_in_any_step_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at: int) -> None:
    """Killed in any step of an advance and started again, the sandbox tells the same story as without the kill."""
    with Driver(tmp_path / "whole") as driver:
        whole = busy(driver)
        whole.advance(FEB_29 + 8 * DAY)
        expected = story(whole)
    with Driver(tmp_path / "cut") as driver:
        bench = busy(driver)
        with monkeypatch.context() as patch, pytest.raises(Killed):
            die_at(patch, at)
            bench.advance(FEB_29 + 8 * DAY)
    with Driver(tmp_path / "cut") as driver:
        bench.driver = driver
        assert driver.get(f"/v1/test_helpers/test_clocks/{bench.clock}").json["status"] == "ready"
        assert story(bench) == expected


def test_an_advance_in_small_steps_is_the_same(tmp_path: Path) -> None:
    """A month in one step and a month by the hour end in the same invoices."""
    stories = []
    for name, step in (("one", 37 * DAY), ("many", 5 * HOUR)):
        with Driver(tmp_path / name) as driver:
            bench = busy(driver)
            for to in range(START + DAY + step, START + 38 * DAY + 1, step):
                bench.advance(to)
            bench.advance(START + 38 * DAY + HOUR)
            told = story(bench)
            stories.append([*told[:2], [each for each in told[2] if "test_clock" not in each], told[3]])
    assert stories[0] == stories[1]


def test_an_older_directory_is_billed_from_now_on(tmp_path: Path) -> None:
    """A subscription that an older program stored keeps its period and its end, and its next edge has an invoice."""
    ours = {"status", "billing_mode", "_period", "_past", "_told", "_announced", "_resuming", "_cycle_invoice"}
    with Driver(tmp_path) as driver:
        subscription, item = driver.subscribed(driver.metered_price())
        driver.use(item, quantity=5)
        before = driver.get(f"/v1/subscriptions/{subscription}").json
        body = driver.store.get("subscription", subscription) or {}
        driver.store.put({name: value for name, value in body.items() if name not in ours}, parent=body["customer"])
        driver.store.run("DELETE FROM due")
        driver.store.run("DELETE FROM facts WHERE name = 'billing'")
    with Driver(tmp_path) as driver:
        after = driver.get(f"/v1/subscriptions/{subscription}").json
        assert after == before
        driver.engine.clock.set(after["current_period_end"] + HOUR)
        assert driver.get(f"/v1/subscriptions/{subscription}").json["latest_invoice"] != before["latest_invoice"]
        assert driver.get("/v1/invoices", {"subscription": subscription}).json["data"][0]["total"] == 5


def test_a_thing_is_due_once(tmp_path: Path) -> None:
    """Settling again at the same instant does nothing."""
    with Driver(tmp_path) as driver:
        bench = busy(driver)
        bench.advance(FEB_29 + HOUR)
        before = story(bench)
        assert passing.settle(driver.store, driver.engine.knobs, driver.engine.clock.now_s()) == 0
        assert story(bench) == before
        assert isinstance(driver.store, Store)


def test_without_a_grace_invoices_are_final_at_the_edge(tmp_path: Path) -> None:
    """A thing that is due at once in an advance happens at its own instant, not at the advance's beginning or end."""
    with Driver(tmp_path, knobs=Knobs(calls_per_second=1e9, finalization_grace_s=0)) as driver:
        bench = Bench(driver)
        bench.subscribe(driver.metered_price())
        bench.advance(FEB_29 + DAY)
        assert bench.newest()["status_transitions"]["finalized_at"] == FEB_29


def test_an_invoice_comes_before_a_period_at_one_instant(tmp_path: Path) -> None:
    """Where yesterday's invoice becomes final at the instant of today's edge, it does so before the edge makes the next one."""
    with Driver(tmp_path, knobs=Knobs(calls_per_second=1e9, finalization_grace_s=DAY)) as driver:
        bench = Bench(driver)
        bench.subscribe(driver.metered_price(interval="day"))
        bench.advance(START + 2 * DAY)
        told = [each for each in bench.events() if each in {"invoice.created", "invoice.finalized"}]
        assert told == ["invoice.created", "invoice.finalized", "invoice.created", "invoice.finalized", "invoice.created"]
