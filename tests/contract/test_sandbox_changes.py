"""Hazard H32 on the sandbox: price switch, new and removed items, cancel, pause, trial end in mid-period; what is billed and what is not."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from infra.sandbox.knobs import NEWEST_VERSION, Knobs
from tests.contract.billing_bench import DAY, FEB_29, HOUR, MAR_31, START, Bench, licensed
from tests.contract.sandbox_driver import Driver

FLEXIBLE = {"billing_mode[type]": "flexible"}


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    """A bench on a fresh sandbox."""
    with Driver(tmp_path) as driver:
        yield Bench(driver)


def on_meter(bench: Bench, **more: str) -> tuple[str, str]:
    """(price, other price) on one meter: a cent and two cents."""
    meter = bench.driver.meter(**more)
    made = {"recurring[meter]": meter}
    return bench.driver.metered_price(**made), bench.driver.metered_price(unit_amount="2", **made)


def used(bench: Bench, units: int, at: int) -> None:
    """A meter event at an instant of the clock."""
    assert bench.driver.emit(bench.customer, units, timestamp=at).status == 200


@pytest.mark.parametrize("mode", ["classic", "flexible"])
def test_usage_before_a_price_switch(bench: Bench, mode: str) -> None:
    """In classic mode usage before the switch is on no line; in flexible mode what was reported by then is an invoice item at the old price."""
    old, new = on_meter(bench)
    subscription = bench.driver.post(
        "/v1/subscriptions", {"customer": bench.customer, "items[0][price]": old, "billing_mode[type]": mode}, stripe_version=NEWEST_VERSION
    ).json
    bench.advance(START + DAY)
    used(bench, 10, START + DAY)
    bench.advance(START + 2 * DAY)
    item = subscription["items"]["data"][0]["id"]
    bench.post(f"/v1/subscription_items/{item}", price=new)
    used(bench, 100, START + 2 * DAY - 1)
    used(bench, 7, START + 2 * DAY)
    bench.advance(FEB_29 + HOUR)
    expected = [(7, 14)] if mode == "classic" else [(7, 14), (10, 10)]
    assert bench.lines() == expected


def test_flexible_usage_is_not_billed_without_prorations(bench: Bench) -> None:
    """In flexible mode proration_behavior=none drops the usage before the switch, as Stripe documents."""
    old, new = on_meter(bench)
    made = bench.driver.post("/v1/subscriptions", {"customer": bench.customer, "items[0][price]": old}, stripe_version=NEWEST_VERSION).json
    assert made["billing_mode"]["type"] == "flexible"
    bench.advance(START + DAY)
    used(bench, 10, START + DAY - 1)
    bench.post(f"/v1/subscription_items/{made['items']['data'][0]['id']}", price=new, proration_behavior="none")
    bench.advance(FEB_29 + HOUR)
    assert bench.lines() == [(0, 0)]


@pytest.mark.parametrize("keeps", [False, True])
def test_usage_records_before_a_price_switch(tmp_path: Path, keeps: bool) -> None:
    """Legacy usage before a switch is billed by nobody, or at the new price by the knob; the records after it always are."""
    with Driver(tmp_path, knobs=Knobs(calls_per_second=1e9, legacy_switch_keeps_usage=keeps)) as driver:
        bench = Bench(driver)
        _, item = bench.subscribe(driver.metered_price())
        bench.advance(START + DAY)
        driver.use(item, quantity=10)
        bench.advance(START + 2 * DAY)
        bench.post(f"/v1/subscription_items/{item}", price=driver.metered_price(unit_amount="3"))
        bench.advance(START + 3 * DAY)
        driver.use(item, quantity=5)
        bench.advance(FEB_29 + HOUR)
        assert bench.lines() == ([(15, 45)] if keeps else [(5, 15)])
        bench.advance(MAR_31 + HOUR)
        assert bench.lines() == [(0, 0)]


def test_an_added_meter_item_counts_from_then_on(bench: Bench) -> None:
    """A meter's price that comes in mid-period bills only what is used from then on; a removed one bills nothing in classic mode."""
    first, second = on_meter(bench)
    subscription, item = bench.subscribe(licensed(bench.driver))
    bench.advance(START + DAY)
    used(bench, 10, START + DAY)
    bench.advance(START + 2 * DAY)
    added = bench.post("/v1/subscription_items", subscription=subscription, price=first)["id"]
    used(bench, 4, START + 2 * DAY)
    bench.advance(FEB_29 + HOUR)
    assert sorted(bench.lines()) == [(1, 3000), (4, 4)]
    assert bench.driver.call("DELETE", f"/v1/subscription_items/{added}", {}).status == 200
    bench.post("/v1/subscription_items", subscription=subscription, price=second)
    bench.advance(MAR_31 + HOUR)
    assert sorted(bench.lines()) == [(0, 0), (1, 3000)]
    assert item is not None


def test_quantity_is_prorated_by_the_second(bench: Bench) -> None:
    """A base price's new quantity in mid-period is a credit and a charge for the rest, pending for the next invoice."""
    _, item = bench.subscribe(licensed(bench.driver, unit_amount=2900))
    bench.advance(START + 10 * DAY)
    bench.post(f"/v1/subscription_items/{item}", quantity=3)
    assert len(bench.invoices()) == 1
    bench.advance(FEB_29 + HOUR)
    assert sorted(line["amount"] for line in bench.newest()["lines"]["data"]) == [-1900, 5700, 8700]
    assert [line["proration"] for line in bench.newest()["lines"]["data"]] == [False, True, True]


@pytest.mark.parametrize(("behavior", "invoices", "total"), [("none", 1, None), ("always_invoice", 2, 3800)])
def test_prorations_can_be_left_out_or_billed_at_once(bench: Bench, behavior: str, invoices: int, total: int | None) -> None:
    """`none` bills the new quantity from the next period on, `always_invoice` bills the difference on an invoice of its own, at once."""
    _, item = bench.subscribe(licensed(bench.driver, unit_amount=2900))
    bench.advance(START + 10 * DAY)
    bench.post(f"/v1/subscription_items/{item}", quantity=3, proration_behavior=behavior)
    assert len(bench.invoices()) == invoices
    if total is not None:
        assert (bench.newest()["total"], bench.newest()["status"], bench.newest()["billing_reason"]) == (total, "paid", "subscription_update")
    bench.advance(FEB_29 + HOUR)
    assert bench.newest()["total"] == 8700


@pytest.mark.parametrize(("params", "lines"), [({}, None), ({"invoice_now": "true"}, [(1, -2900), (6, 6)]), ({"prorate": "true"}, None)])
def test_cancel_at_once(bench: Bench, params: dict[str, str], lines: list[tuple[int, int]] | None) -> None:
    """Canceled at once, usage is dropped unless invoice_now bills it; with prorate unused time is a credit, pending or on that invoice."""
    prorate = {"prorate": "true"} if "invoice_now" in params else {}
    subscription, _ = bench.subscribe(licensed(bench.driver, unit_amount=2900), **{"items[1][price]": bench.driver.metered_price()})
    item = bench.driver.get("/v1/subscription_items", {"subscription": subscription}).json["data"][1]["id"]
    bench.advance(START + 60)
    bench.driver.use(item, quantity=6, timestamp=START + 1)
    ended = bench.driver.call("DELETE", f"/v1/subscriptions/{subscription}", {**params, **prorate}).json
    assert (ended["status"], ended["ended_at"]) == ("canceled", START + 60)
    assert len(bench.invoices()) == (1 if lines is None else 2)
    if lines is not None:
        assert sorted(bench.lines()) == sorted(lines)
        bench.advance(START + 60 + HOUR)
        assert bench.newest()["status"] == "paid"
    pending = list(bench.driver.store.scan("invoiceitem", parent=bench.customer, ref="pending"))
    assert [each["amount"] for each in pending] == ([-2900] if params == {"prorate": "true"} else [])
    assert "customer.subscription.deleted" in bench.events()


def test_cancel_at_the_periods_end_bills_the_period(bench: Bench) -> None:
    """At the end the subscription is over, its last invoice has the period's usage, and no further invoice comes."""
    subscription, item = bench.subscribe(bench.driver.metered_price())
    bench.advance(START + DAY)
    bench.driver.use(item, quantity=9)
    bench.post(f"/v1/subscriptions/{subscription}", cancel_at_period_end="true")
    bench.advance(FEB_29 + HOUR)
    assert (bench.status(subscription), bench.lines(), bench.newest()["status"]) == ("canceled", [(9, 9)], "paid")
    bench.advance(MAR_31 + HOUR)
    assert len(bench.invoices()) == 2


def test_cancel_at_an_instant(bench: Bench) -> None:
    """cancel_at in mid-period bills what was used by then; taken back, the subscription goes on."""
    subscription, item = bench.subscribe(bench.driver.metered_price())
    other, _ = bench.subscribe(bench.driver.metered_price())
    for each in (subscription, other):
        bench.post(f"/v1/subscriptions/{each}", cancel_at=START + 5 * DAY)
    bench.post(f"/v1/subscriptions/{other}", cancel_at="")
    bench.advance(START + DAY)
    bench.driver.use(item, quantity=2)
    bench.advance(START + 5 * DAY + HOUR)
    assert (bench.status(subscription), bench.status(other)) == ("canceled", "active")
    assert (bench.newest()["period_end"], bench.lines()) == (START + 5 * DAY, [(2, 2)])


def test_a_trial_is_free_and_sets_the_anchor(bench: Bench) -> None:
    """Until its end nothing is owed and three days before it is announced; from then on the trial's end is the anchor."""
    params = {"trial_period_days": 14, "items[1][price]": licensed(bench.driver)}
    subscription, item = bench.subscribe(bench.driver.metered_price(), **params)
    assert (bench.status(subscription), bench.newest()["total"], bench.newest()["status"]) == ("trialing", 0, "paid")
    bench.advance(START + DAY)
    bench.driver.use(item, quantity=8)
    assert "customer.subscription.trial_will_end" not in bench.events()
    bench.advance(START + 11 * DAY)
    assert bench.events().count("customer.subscription.trial_will_end") == 1
    bench.advance(START + 14 * DAY + HOUR)
    assert (bench.status(subscription), sorted(bench.lines())) == ("active", [(1, 3000), (8, 0)])
    shown = bench.driver.get(f"/v1/subscriptions/{subscription}").json
    assert (shown["current_period_start"], shown["billing_cycle_anchor"]) == (START + 14 * DAY, START + 14 * DAY)
    bench.driver.use(item, quantity=5)
    bench.advance(shown["current_period_end"] + HOUR)
    assert sorted(bench.lines()) == [(1, 3000), (5, 5)]


def test_a_trial_ends_by_hand(bench: Bench) -> None:
    """trial_end=now ends a trial: a new cycle begins, paid at once; usage of the trial stays free."""
    subscription, item = bench.subscribe(bench.driver.metered_price(), **{"trial_period_days": 14, "items[1][price]": licensed(bench.driver)})
    bench.advance(START + DAY)
    bench.driver.use(item, quantity=8)
    bench.post(f"/v1/subscriptions/{subscription}", trial_end="now")
    assert (bench.status(subscription), sorted(bench.lines()), bench.newest()["status"]) == ("active", [(1, 3000), (8, 0)], "paid")
    bench.driver.use(item, quantity=4, timestamp=START + DAY + 1)
    assert bench.driver.totals(item)[0] == 4


@pytest.mark.parametrize(("behavior", "status"), [("pause", "paused"), ("cancel", "canceled"), ("create_invoice", "active")])
def test_a_trial_without_payment_method_ends_as_asked(bench: Bench, behavior: str, status: str) -> None:
    """With nothing to pay by, the trial's end pauses, cancels or bills, as trial_settings say; a paused subscription can be resumed."""
    settings = {"trial_settings[end_behavior][missing_payment_method]": behavior}
    subscription, _ = bench.subscribe(licensed(bench.driver), trial_period_days=1, **settings)
    bench.advance(START + DAY + HOUR)
    assert bench.status(subscription) == status
    if status == "paused":
        bench.advance(START + 40 * DAY)
        assert len(bench.invoices()) == 1
        assert bench.post(f"/v1/subscriptions/{subscription}/resume")["status"] == "active"
        assert (bench.newest()["total"], bench.newest()["created"]) == (3000, START + 40 * DAY)
        assert "customer.subscription.resumed" in bench.events()


@pytest.mark.parametrize(("behavior", "status"), [("keep_as_draft", "draft"), ("void", "void"), ("mark_uncollectible", "uncollectible")])
def test_paused_collection(bench: Bench, behavior: str, status: str) -> None:
    """While collection is paused a period's invoice is kept, voided or given up; the subscription stays active, and after resumes_at pays."""
    subscription, _ = bench.subscribe(licensed(bench.driver))
    bench.post(f"/v1/subscriptions/{subscription}", **{"pause_collection[behavior]": behavior, "pause_collection[resumes_at]": FEB_29 + DAY})
    bench.advance(FEB_29 + HOUR)
    assert (bench.newest()["status"], bench.status(subscription)) == (status, "active")
    bench.advance(MAR_31 + HOUR)
    assert bench.newest()["status"] == "paid"


def test_a_new_cycle_bills_the_old_period(bench: Bench) -> None:
    """billing_cycle_anchor=now ends the period: its usage is billed, unused time credited, the new period paid; every second counts once."""
    subscription, _ = bench.subscribe(licensed(bench.driver, unit_amount=2900), **{"items[1][price]": bench.driver.metered_price()})
    item = bench.driver.get("/v1/subscription_items", {"subscription": subscription}).json["data"][1]["id"]
    bench.advance(START + 10 * DAY)
    bench.driver.use(item, quantity=6)
    changed = bench.post(f"/v1/subscriptions/{subscription}", billing_cycle_anchor="now")
    assert changed["current_period_start"] == changed["billing_cycle_anchor"] == START + 10 * DAY
    assert sorted(bench.lines()) == [(1, -1900), (1, 2900), (6, 6)]
    bench.driver.use(item, quantity=5, timestamp=START + 10 * DAY + 1)
    assert bench.driver.totals(item) == [5, 6]
    bench.advance(START + 10 * DAY + 29 * DAY + HOUR)
    assert sorted(bench.lines()) == [(1, 2900), (5, 5)]


def test_another_interval_begins_a_new_cycle(bench: Bench) -> None:
    """A yearly price in place of a monthly one is billed at once, less what was paid for the rest of the month."""
    subscription, item = bench.subscribe(licensed(bench.driver, unit_amount=2900))
    bench.advance(START + 10 * DAY)
    bench.post(
        f"/v1/subscriptions/{subscription}",
        **{"items[0][id]": item, "items[0][price]": licensed(bench.driver, unit_amount=30_000, **{"recurring[interval]": "year"})},
    )
    assert sorted(bench.lines()) == [(1, -1900), (1, 30_000)]


def test_items_are_replaced_in_one_update(bench: Bench) -> None:
    """An update that deletes one item and adds another makes both changes or none."""
    subscription, item = bench.subscribe(bench.driver.metered_price())
    other = bench.driver.metered_price()
    swap = {"items[0][id]": item, "items[0][deleted]": "true", "items[1][price]": other}
    assert bench.driver.post(f"/v1/subscriptions/{subscription}", swap).error["param"] == "items[0][clear_usage]"
    assert bench.driver.get(f"/v1/subscription_items/{item}").status == 200
    shown = bench.post(f"/v1/subscriptions/{subscription}", **swap, **{"items[0][clear_usage]": "true"})
    assert [each["price"]["id"] for each in shown["items"]["data"]] == [other]
    last = {"items[0][id]": shown["items"]["data"][0]["id"], "items[0][deleted]": "true", "items[0][clear_usage]": "true"}
    assert bench.driver.post(f"/v1/subscriptions/{subscription}", last).status == 400


def test_billing_modes(bench: Bench) -> None:
    """Flexible by default from clover on, classic before, migrated once; neither with legacy prices nor for older versions."""
    meter, _ = on_meter(bench)
    classic, _ = bench.subscribe(meter)
    params = {"customer": bench.customer, "items[0][price]": meter}
    assert bench.driver.post("/v1/subscriptions", {**params, **FLEXIBLE}).error["param"] == "billing_mode"
    for version, mode in (("2025-08-27.basil", "classic"), ("2025-09-30.clover", "flexible")):
        made = bench.driver.post("/v1/subscriptions", params, stripe_version=version).json
        assert made["billing_mode"]["type"] == mode
        assert (made["latest_invoice"] is None) == (mode == "flexible")
    migrate = {"billing_mode[type]": "flexible"}
    moved = bench.driver.post(f"/v1/subscriptions/{classic}/migrate", migrate, stripe_version=NEWEST_VERSION).json
    assert moved["billing_mode"] == {"type": "flexible", "updated_at": START}
    bench.driver.call("DELETE", f"/v1/subscriptions/{classic}", {})
    legacy, _ = bench.subscribe(bench.driver.metered_price())
    assert bench.driver.post(f"/v1/subscriptions/{legacy}/migrate", migrate, stripe_version=NEWEST_VERSION).status == 400


def test_a_switch_leaves_earlier_periods_alone(bench: Bench) -> None:
    """After a price switch the summaries of earlier periods, and a draft that is not final yet, still have their usage."""
    subscription, item = bench.subscribe(bench.driver.metered_price())
    bench.advance(START + DAY)
    bench.driver.use(item, quantity=10)
    bench.advance(FEB_29 + 60)
    bench.post(f"/v1/subscription_items/{item}", price=bench.driver.metered_price(unit_amount="3"))
    bench.driver.use(item, quantity=2)
    assert (bench.lines(), bench.driver.totals(item)) == ([(10, 10)], [2, 10])
    bench.post("/v1/subscription_items", subscription=subscription, price=licensed(bench.driver))
    bench.driver.call("DELETE", f"/v1/subscription_items/{item}", {"clear_usage": "true"})
    bench.advance(FEB_29 + HOUR)
    assert bench.lines() == [(10, 10)]


def test_a_paused_subscription_can_be_changed(bench: Bench) -> None:
    """Long after its trial a paused subscription still takes another price, without a proration."""
    settings = {"trial_settings[end_behavior][missing_payment_method]": "pause"}
    subscription, item = bench.subscribe(licensed(bench.driver), trial_period_days=1, **settings)
    bench.advance(START + 40 * DAY)
    bench.post(f"/v1/subscription_items/{item}", price=licensed(bench.driver, unit_amount=100))
    bench.post(f"/v1/subscriptions/{subscription}/resume")
    assert bench.lines() == [(1, 100)]


def test_the_legacy_knob_leaves_meters_alone(tmp_path: Path) -> None:
    """That usage records survive a switch does not make a meter's earlier usage billable."""
    with Driver(tmp_path, knobs=Knobs(calls_per_second=1e9, meter_calls_per_second=1e9, legacy_switch_keeps_usage=True)) as driver:
        bench = Bench(driver)
        old, new = on_meter(bench)
        _, item = bench.subscribe(old)
        used(bench, 10, START)
        bench.advance(START + DAY)
        bench.post(f"/v1/subscription_items/{item}", price=new)
        bench.advance(FEB_29 + HOUR)
        assert bench.lines() == [(0, 0)]


@pytest.mark.parametrize(
    ("params", "total", "first_end"),
    [
        ({"billing_cycle_anchor": START + 10 * DAY}, 1000, START + 10 * DAY),
        ({"billing_cycle_anchor": START + 10 * DAY, "proration_behavior": "none"}, 0, START + 10 * DAY),
        ({"backdate_start_date": START - 29 * DAY}, 6200, FEB_29),
        ({"backdate_start_date": START - 29 * DAY, "proration_behavior": "none"}, 3100, FEB_29),
    ],
)
def test_a_first_period_of_another_length(bench: Bench, params: dict[str, object], total: int, first_end: int) -> None:
    """Up to an anchor, or since a backdated start, the first period is paid by the second; without prorations only a whole one is."""
    subscription, _ = bench.subscribe(licensed(bench.driver, unit_amount=3100), **params)
    assert (bench.newest()["total"], bench.newest()["status"]) == (total, "paid")
    assert bench.driver.get(f"/v1/subscriptions/{subscription}").json["current_period_end"] == first_end
    bench.advance(first_end + HOUR)
    assert bench.newest()["total"] == 3100
