"""Usage records on the sandbox: cells, aggregates, periods, refusals, against a naive model."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from infra.sandbox.knobs import Knobs
from tests.contract.sandbox_driver import Driver

DAY_S = 86_400
RECORDS = st.lists(
    st.tuples(st.sampled_from(["set", "increment"]), st.integers(1, 9), st.integers(0, 2**61), st.sampled_from([None, *range(6)])), max_size=40
)


@pytest.fixture
def sandbox(tmp_path: Path) -> Iterator[Driver]:
    """A fresh sandbox."""
    with Driver(tmp_path) as driver:
        yield driver


@settings(max_examples=60, deadline=None)
@given(RECORDS, st.sampled_from(["sum", "max", "last_during_period", "last_ever"]))
def test_any_sequence_equals_the_naive_model(records: list[tuple[str, int, int, int | None]], aggregate: str) -> None:
    """After any sequence of set and increment, repeated keys included, every cell and the period's total equal a dictionary's."""
    with tempfile.TemporaryDirectory() as directory, Driver(Path(directory)) as sandbox:
        _, item = sandbox.subscribed(sandbox.metered_price(aggregate))
        base = sandbox.now - 3600
        model: dict[int, int] = {}
        used: dict[str, tuple[str, int, int]] = {}
        for action, offset, quantity, name in records:
            key = None if name is None else f"key-{name}"
            first = key is None or key not in used
            same = key is not None and used.get(key) == (action, offset, quantity)
            reply = sandbox.use(item, key=key, quantity=quantity, timestamp=base + offset, action=action)
            overflows = action == "increment" and model.get(base + offset, 0) + quantity >= 2**63
            if key is not None:
                used.setdefault(key, (action, offset, quantity))
            if first and not overflows:
                assert reply.status == 200
                model[base + offset] = quantity + (model.get(base + offset, 0) if action == "increment" else 0)
            elif not first:
                assert (reply.headers.get("Idempotent-Replayed") == "true") == same
                assert same or reply.error["type"] == "idempotency_error"
        assert sandbox.cells(item) == model
        newest = model[max(model)] if model else 0
        expected = {"sum": sum(model.values()), "max": max(model.values(), default=0)}.get(aggregate, newest)
        assert sandbox.totals(item) == [expected]


def test_set_overwrites_one_cell_and_no_other(sandbox: Driver) -> None:
    """`set` replaces the quantity of its second; another second is another cell, so the two add up: the trap of fresh timestamps."""
    _, item = sandbox.subscribed(sandbox.metered_price())
    base = sandbox.now - 100
    for second, quantity in ((base, 5), (base, 7), (base + 1, 7)):
        assert sandbox.use(item, quantity=quantity, timestamp=second, action="set").status == 200
    assert sandbox.cells(item) == {base: 7, base + 1: 7}
    assert sandbox.totals(item) == [14]


def test_the_defaults_are_increment_and_now(sandbox: Driver) -> None:
    """Without action and timestamp a record is added at the present second."""
    _, item = sandbox.subscribed(sandbox.metered_price())
    before = sandbox.now
    first = sandbox.use(item, quantity=2).json
    second = sandbox.use(item, quantity=3, timestamp=first["timestamp"]).json
    assert before <= first["timestamp"] <= sandbox.now
    assert second["quantity"] == 3
    assert sandbox.cells(item) == {first["timestamp"]: 5}


def test_zero_undoes_a_cell(sandbox: Driver) -> None:
    """`set` to 0 is how usage is taken back."""
    _, item = sandbox.subscribed(sandbox.metered_price())
    at = sandbox.now - 10
    sandbox.use(item, quantity=9, timestamp=at)
    assert sandbox.use(item, quantity=0, timestamp=at, action="set").status == 200
    assert sandbox.totals(item) == [0]


def test_sums_beyond_64_bits_are_exact(sandbox: Driver) -> None:
    """A period's total may exceed what any cell can hold and is still exact."""
    _, item = sandbox.subscribed(sandbox.metered_price())
    base = sandbox.now - 100
    for n in range(5):
        assert sandbox.use(item, quantity=2**63 - 1 - n, timestamp=base + n, action="set").status == 200
    assert sandbox.totals(item) == [sum(2**63 - 1 - n for n in range(5))]


def test_periods_roll_with_the_clock_and_keep_their_usage(sandbox: Driver) -> None:
    """When the clock passes an edge, the old period's usage stays with it and the new one begins at 0; last_ever carries over."""
    prices = {aggregate: sandbox.metered_price(aggregate, interval="day") for aggregate in ("sum", "max", "last_ever")}
    items = {aggregate: sandbox.subscribed(price, backdated_s=3600)[1] for aggregate, price in prices.items()}
    start = sandbox.now
    for day in range(3):
        for item in items.values():
            for quantity in (5 + day, 2 + day):
                at = sandbox.now - 20 + quantity
                assert sandbox.use(item, quantity=quantity, timestamp=at, action="set").status == 200
        sandbox.engine.clock.set(start + (day + 1) * DAY_S + 3600)
    assert sandbox.totals(items["sum"]) == [0, 11, 9, 7]
    assert sandbox.totals(items["max"]) == [0, 7, 6, 5]
    assert sandbox.totals(items["last_ever"]) == [7, 7, 6, 5]


def test_the_grace_of_sum_bills_the_old_period(sandbox: Driver) -> None:
    """In a period's first minutes the last minutes of the old one are taken with `sum`, counted there, and refused with `max`."""
    by_aggregate = {}
    for aggregate in ("sum", "max"):
        subscription, item = sandbox.subscribed(sandbox.metered_price(aggregate, interval="day"), backdated_s=0)
        by_aggregate[aggregate] = (item, sandbox.get(f"/v1/subscriptions/{subscription}").json["current_period_end"])
    item, edge = by_aggregate["sum"]
    sandbox.engine.clock.set(edge + 100)
    assert sandbox.use(item, quantity=4, timestamp=edge - 100, action="set").status == 200
    assert sandbox.use(item, quantity=6, timestamp=edge + 50, action="set").status == 200
    assert sandbox.totals(item) == [6, 4]
    refused = sandbox.use(by_aggregate["max"][0], quantity=4, timestamp=edge - 100, action="set")
    assert (refused.status, refused.error["param"]) == (400, "timestamp")
    sandbox.engine.clock.set(edge + 301)
    assert sandbox.use(item, quantity=5, timestamp=edge - 100, action="set").status == 400


def test_subscribing_and_using_in_one_second_is_refused(sandbox: Driver) -> None:
    """Usage stamped with the very second of the subscription's start is refused: 'must be after'."""
    _, item = sandbox.subscribed(sandbox.metered_price(), backdated_s=0)
    created = sandbox.get(f"/v1/subscription_items/{item}").json["created"]
    assert sandbox.use(item, quantity=1, timestamp=created).error["param"] == "timestamp"
    assert sandbox.use(item, quantity=1, timestamp=created + 1).status == 200


def test_what_cannot_be_used_is_refused_by_name(sandbox: Driver) -> None:
    """Unknown, licensed, on a meter, canceled, with thresholds: each is refused, and no cell appears."""
    licensed_price = sandbox.made("/v1/prices", {"currency": "usd", "unit_amount": 1, "product_data[name]": "seat", "recurring[interval]": "month"})[
        "id"
    ]
    _, licensed = sandbox.subscribed(licensed_price)
    _, metered = sandbox.subscribed(sandbox.metered_price(**{"recurring[meter]": sandbox.meter()}))
    ended_subscription, ended = sandbox.subscribed(sandbox.metered_price())
    sandbox.call("DELETE", f"/v1/subscriptions/{ended_subscription}")
    _, guarded = sandbox.subscribed(sandbox.metered_price(), **{"items[0][billing_thresholds][usage_gte]": 10})
    at = sandbox.now - 60
    unknown = sandbox.use("si_none", quantity=1, timestamp=at)
    assert (unknown.status, unknown.error["code"], unknown.error["message"]) == (
        404,
        "resource_missing",
        "No such subscription_item: 'si_none'",
    )
    on_meter = sandbox.use(metered, quantity=1, timestamp=at)
    assert (on_meter.status, on_meter.error["param"], on_meter.headers["Stripe-Should-Retry"]) == (400, "subscription_item", "false")
    assert on_meter.error["message"] == (
        f"Cannot create a usage record for `{metered}` because it is not on the legacy metered billing system. Call /v1/billing/meter_events instead."
    )
    for item, param in ((licensed, "subscription_item"), (ended, "subscription_item"), (guarded, "action")):
        refused = sandbox.use(item, quantity=1, timestamp=at, action="set")
        assert (refused.status, refused.error["param"]) == (400, param)
    assert sandbox.use(guarded, quantity=1, timestamp=at, action="increment").status == 200
    assert {item: sandbox.cells(item) for item in (licensed, metered, ended)} == {licensed: {}, metered: {}, ended: {}}


def test_summaries_page_in_both_directions(sandbox: Driver) -> None:
    """Ten summaries by default, at most a hundred, after and before one of them, without a gap or a repetition."""
    _, item = sandbox.subscribed(sandbox.metered_price(interval="day"), backdated_s=0)
    url = f"/v1/subscription_items/{item}/usage_record_summaries"
    sandbox.engine.clock.set(sandbox.now + 24 * DAY_S + 10)
    everything = sandbox.get(url, {"limit": 100}).json["data"]
    assert len(everything) == 25
    starts = [summary["period"]["start"] for summary in everything]
    assert starts == sorted(starts, reverse=True)
    seen: list[dict[str, object]] = []
    after: dict[str, object] = {}
    while True:
        page = sandbox.get(url, after).json
        seen += page["data"]
        if not page["has_more"]:
            break
        after = {"starting_after": seen[-1]["id"]}
    assert seen == everything
    back = sandbox.get(url, {"ending_before": everything[12]["id"], "limit": 5}).json
    assert (back["data"], back["has_more"]) == (everything[7:12], True)
    assert sandbox.get(url, {"ending_before": everything[3]["id"], "limit": 5}).json["data"] == everything[:3]
    assert sandbox.get(url, {"starting_after": "sis_none"}).error["code"] == "resource_missing"


def test_zero_tolerance_is_a_knob(tmp_path: Path) -> None:
    """With both tolerances at 0 a second too early or too late is refused."""
    with Driver(tmp_path, knobs=Knobs(calls_per_second=1e9, grace_s=0, future_s=0)) as sandbox:
        _, item = sandbox.subscribed(sandbox.metered_price())
        assert sandbox.use(item, quantity=1, timestamp=sandbox.now + 30).status == 400
        assert sandbox.use(item, quantity=1, timestamp=sandbox.now - 1).status == 200
