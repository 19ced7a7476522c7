"""What meter events add up to on the sandbox, when they count, and how they are taken back."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest

from infra.sandbox.meter_usage import metered_total
from tests.contract.meter_bench import DAY_S, HOUR_S, cancel, hour_of, new_customer, summaries, total, tuned
from tests.contract.sandbox_driver import Driver, Reply


@pytest.fixture
def sandbox(tmp_path: Path) -> Iterator[Driver]:
    """A fresh sandbox."""
    with Driver(tmp_path) as driver:
        yield driver


@pytest.fixture
def customer(sandbox: Driver) -> str:
    """A customer."""
    return new_customer(sandbox)


# ── what counts ──────────────────────────────────────────────────────────────────────────────────────────────────────
def test_raw_events_add_up(sandbox: Driver, customer: str) -> None:
    """Events of one second add up, decimals and negative ones too, exactly, and apart from other customers and meters."""
    meter, other = sandbox.meter(), sandbox.meter("other")
    at = hour_of(sandbox)
    for value in ("0.1", "0.2", "0.000000000001", "-5", "123456789012345"):
        assert sandbox.emit(customer, value, timestamp=at).status == 200
    sandbox.emit(new_customer(sandbox), 1000, timestamp=at)
    sandbox.emit(customer, 1000, event_name="other", timestamp=at)
    assert metered_total(sandbox.store, meter, customer, at, at + 1) == Decimal("123456789012340.300000000001")
    assert metered_total(sandbox.store, meter, customer, at + 1, at + 2) == metered_total(sandbox.store, meter, customer, 0, at) == 0
    assert metered_total(sandbox.store, other, customer, 0, sandbox.now) == 1000


def test_a_negative_total_shows_as_it_is(sandbox: Driver, customer: str) -> None:
    """Corrections may bring a total below zero, and the summary says so."""
    meter = sandbox.meter()
    at = hour_of(sandbox)
    sandbox.emit(customer, 2, timestamp=at)
    sandbox.emit(customer, "-4.5", timestamp=at)
    assert total(sandbox, meter, customer, at, at + HOUR_S) == -2.5


@pytest.mark.parametrize("window", ["hour", "day"])
def test_the_event_received_last_stands_in_its_window(sandbox: Driver, customer: str, window: str) -> None:
    """In a UTC hour or day the newest arrival replaces the one before, also with an older timestamp; the next window is another."""
    meter = sandbox.meter(event_time_window=window)
    length_s = {"hour": HOUR_S, "day": DAY_S}[window]
    start = sandbox.now // length_s * length_s - 2 * length_s
    sandbox.emit(customer, 10, timestamp=start + length_s - 1)
    sandbox.emit(customer, 7, timestamp=start)
    sandbox.emit(customer, 5, timestamp=start + length_s)
    assert total(sandbox, meter, customer, start, start + length_s) == 7
    assert total(sandbox, meter, customer, start, start + 2 * length_s) == 12
    assert metered_total(sandbox.store, meter, customer, start, start + 1) == 7
    assert metered_total(sandbox.store, meter, customer, start + 1, start + length_s) == 0


def test_count_and_last(sandbox: Driver, customer: str) -> None:
    """`count` needs no value and counts events; `last` takes the one with the greatest timestamp."""
    counting = sandbox.meter("c", **{"default_aggregation[formula]": "count"})
    last = sandbox.meter("l", **{"default_aggregation[formula]": "last"})
    at = hour_of(sandbox)
    for n, value in enumerate((5, 9, 7)):
        sandbox.emit(customer, None, **{"payload[value]": None}, event_name="c", timestamp=at + n)
        sandbox.emit(customer, value, event_name="l", timestamp=at + (0, 120, 60)[n])
    assert total(sandbox, counting, customer, at, at + HOUR_S) == 3
    assert total(sandbox, last, customer, at, at + HOUR_S) == 9
    assert total(sandbox, last, customer, at, at + 120) == 7


def test_own_payload_keys(sandbox: Driver, customer: str) -> None:
    """A meter reads customer and value under the keys that it was given, and lets other keys pass."""
    mapping = {"customer_mapping[type]": "by_id", "customer_mapping[event_payload_key]": "who", "value_settings[event_payload_key]": "size"}
    meter = sandbox.meter(**mapping)
    at = hour_of(sandbox)
    sandbox.emit("cus_other", 99, timestamp=at, **{"payload[who]": customer, "payload[size]": "4", "payload[region]": "eu"})
    assert total(sandbox, meter, customer, at, at + HOUR_S) == 4


def test_events_count_after_the_delay(tmp_path: Path) -> None:
    """With a delay an event is answered 200 and shows up in summaries and totals only later, on the sandbox's clock, over a restart too."""
    knobs = tuned(meter_delay_s=60.0)
    with Driver(tmp_path, knobs=knobs) as sandbox:
        customer, meter = new_customer(sandbox), sandbox.meter()
        at = hour_of(sandbox)
        assert sandbox.emit(customer, 5, timestamp=at).status == 200
        assert total(sandbox, meter, customer, at, at + HOUR_S) == 0
    with Driver(tmp_path, knobs=knobs) as sandbox:
        sandbox.engine.clock.set(sandbox.now + 50)
        assert total(sandbox, meter, customer, at, at + HOUR_S) == 0
        sandbox.engine.clock.set(sandbox.now + 12)
        assert metered_total(sandbox.store, meter, customer, at, at + HOUR_S) == 0
        sandbox.engine.keep()
        assert metered_total(sandbox.store, meter, customer, at, at + HOUR_S) == 5
        assert total(sandbox, meter, customer, at, at + HOUR_S) == 5


# ── cancellation ─────────────────────────────────────────────────────────────────────────────────────────────────────
def test_a_canceled_event_counts_no_more(sandbox: Driver, customer: str) -> None:
    """Cancellation takes one event back, once however often it is asked for; its identifier stays taken."""
    meter = sandbox.meter()
    at = hour_of(sandbox)
    sandbox.emit(customer, 5, identifier="a", timestamp=at)
    sandbox.emit(customer, 7, identifier="b", timestamp=at)
    for _ in range(2):
        done = cancel(sandbox, "a")
        assert (done.status, done.json["status"], done.json["cancel"]) == (200, "complete", {"identifier": "a"})
    assert total(sandbox, meter, customer, at, at + HOUR_S) == 7
    assert sandbox.emit(customer, 5, identifier="a", timestamp=at).status == 400


def test_canceling_in_a_window_brings_the_one_before_back(sandbox: Driver, customer: str) -> None:
    """A canceled event is as if it had never been received."""
    meter = sandbox.meter(event_time_window="hour")
    at = hour_of(sandbox)
    sandbox.emit(customer, 5, identifier="a", timestamp=at)
    sandbox.emit(customer, 7, identifier="b", timestamp=at)
    cancel(sandbox, "b")
    assert total(sandbox, meter, customer, at, at + HOUR_S) == 5


def test_only_events_of_the_last_day_can_be_canceled(sandbox: Driver, customer: str) -> None:
    """A day after its receipt an event stands for ever; an unknown identifier or another event name cancels nothing."""
    meter = sandbox.meter()
    sandbox.meter("other")
    at = hour_of(sandbox)
    sandbox.emit(customer, 5, identifier="a", timestamp=at)
    assert cancel(sandbox, "b").status == cancel(sandbox, "a", "other").status == 400
    missing = sandbox.post("/v1/billing/meter_event_adjustments", {"event_name": "calls", "type": "cancel"})
    assert missing.error["param"] == "cancel[identifier]"
    sandbox.engine.clock.set(sandbox.now + DAY_S + 5)
    assert (cancel(sandbox, "a").status, total(sandbox, meter, customer, at, at + HOUR_S)) == (400, 5)


def test_a_cancellation_is_pending_during_the_delay(tmp_path: Path) -> None:
    """With a delay the event still counts until the cancellation is due, and one that was not counted yet never counts after."""
    with Driver(tmp_path, knobs=tuned(meter_delay_s=60.0)) as sandbox:
        customer, meter = new_customer(sandbox), sandbox.meter()
        at = hour_of(sandbox)
        sandbox.emit(customer, 5, identifier="a", timestamp=at)
        sandbox.engine.clock.set(sandbox.now + 61)
        sandbox.emit(customer, 7, identifier="b", timestamp=at)
        assert {cancel(sandbox, each).json["status"] for each in "ab"} == {"pending"}
        assert total(sandbox, meter, customer, at, at + HOUR_S) == 5
        sandbox.engine.clock.set(sandbox.now + 61)
        assert total(sandbox, meter, customer, at, at + HOUR_S) == 0
        assert cancel(sandbox, "a").json["status"] == "complete"


def test_a_cancellation_takes_the_newest_of_two_equal_identifiers(sandbox: Driver, customer: str) -> None:
    """Where an identifier was used again after its time, the cancellation concerns the event received last."""
    meter = sandbox.meter()
    sandbox.emit(customer, 5, identifier="a")
    sandbox.engine.clock.set(sandbox.now + DAY_S + 5)
    sandbox.emit(customer, 7, identifier="a")
    assert cancel(sandbox, "a").status == 200
    assert metered_total(sandbox.store, meter, customer, 0, sandbox.now + 1) == 5


# ── summaries ────────────────────────────────────────────────────────────────────────────────────────────────────────
def test_summaries_are_grouped_by_hours_and_days(sandbox: Driver, customer: str) -> None:
    """Each UTC hour or day has its own summary with its own ends, newest first, those without events with 0; all add up to the whole."""
    meter = sandbox.meter()
    day = sandbox.now // DAY_S * DAY_S - 2 * DAY_S
    for second, value in ((day, 1), (day + HOUR_S - 1, 2), (day + HOUR_S, 4), (day + DAY_S, 8), (day + 2 * DAY_S, 16)):
        sandbox.emit(customer, value, timestamp=second)
    hours = summaries(sandbox, meter, customer, day, day + DAY_S, value_grouping_window="hour", limit=100).json["data"]
    assert [each["start_time"] for each in hours] == [day + n * HOUR_S for n in range(23, -1, -1)]
    assert [each["end_time"] - each["start_time"] for each in hours] == [HOUR_S] * 24
    assert [each["aggregated_value"] for each in hours] == [0] * 22 + [4, 3]
    days = summaries(sandbox, meter, customer, day, day + 2 * DAY_S, value_grouping_window="day").json["data"]
    assert [each["aggregated_value"] for each in days] == [8, 7]
    assert total(sandbox, meter, customer, day, day + 2 * DAY_S) == 15
    assert total(sandbox, meter, customer, day + 60, day + 2 * DAY_S + 60) == 30
    ids = {summaries(sandbox, meter, customer, day, day + n * DAY_S).json["data"][0]["id"] for n in (1, 2)}
    assert len(ids) == 2


def test_summaries_page(sandbox: Driver, customer: str) -> None:
    """Ten by default and at most a hundred, after and before one of them, without a gap or a repetition."""
    meter = sandbox.meter()
    day = sandbox.now // DAY_S * DAY_S - 2 * DAY_S

    def hours(**more: object) -> Reply:
        return summaries(sandbox, meter, customer, day, day + DAY_S, value_grouping_window="hour", **more)

    everything = hours(limit=100).json["data"]
    assert len({each["id"] for each in everything}) == 24
    seen: list[dict[str, object]] = []
    page = hours().json
    while page["has_more"]:
        assert len(page["data"]) == 10
        seen += page["data"]
        page = hours(starting_after=seen[-1]["id"]).json
    assert [*seen, *page["data"]] == everything
    back = hours(ending_before=everything[12]["id"], limit=5).json
    assert (back["data"], back["has_more"]) == (everything[7:12], True)
    assert hours(starting_after="mtrusg_none").error["code"] == "resource_missing"
    assert hours(limit=101).status == 400


@pytest.mark.parametrize(
    ("start", "end", "window", "param"),
    [
        (1, 120, None, "start_time"),
        (0, 61, None, "end_time"),
        (60, 7200, "hour", "start_time"),
        (0, 60, "hour", "end_time"),
        (HOUR_S, DAY_S, "day", "start_time"),
        (120, 120, None, "start_time"),
        (120, 60, None, "start_time"),
    ],
)
def test_summaries_want_aligned_ends_in_order(sandbox: Driver, customer: str, start: int, end: int, window: str | None, param: str) -> None:
    """An end off its minute, hour or day, and a range that is none, are 400 with the parameter."""
    more = {} if window is None else {"value_grouping_window": window}
    refused = summaries(sandbox, sandbox.meter(), customer, start, end, **more)
    assert (refused.status, refused.error["param"]) == (400, param)


def test_summaries_of_what_does_not_exist(sandbox: Driver, customer: str) -> None:
    """An unknown meter is 404, an unknown customer 400."""
    assert summaries(sandbox, "mtr_none", customer, 0, 60).status == 404
    assert summaries(sandbox, sandbox.meter(), "cus_none", 0, 60).error["param"] == "customer"


def test_the_shape_of_summaries_is_a_knob(tmp_path: Path) -> None:
    """By knobs hours without events are left out, and the oldest comes first."""
    with Driver(tmp_path, knobs=tuned(summaries_empty=False, summaries_newest_first=False)) as sandbox:
        customer, meter = new_customer(sandbox), sandbox.meter()
        day = sandbox.now // DAY_S * DAY_S - 2 * DAY_S
        for hour in (5, 3):
            sandbox.emit(customer, hour, timestamp=day + hour * HOUR_S)
        grouped = summaries(sandbox, meter, customer, day, day + DAY_S, value_grouping_window="hour").json["data"]
        assert [each["aggregated_value"] for each in grouped] == [3, 5]


def test_a_canceled_event_survives_a_restart_as_canceled(tmp_path: Path) -> None:
    """What was counted and what was taken back stand after the sandbox was opened again."""
    with Driver(tmp_path) as sandbox:
        customer, meter = new_customer(sandbox), sandbox.meter()
        at = hour_of(sandbox)
        sandbox.emit(customer, 5, identifier="a", timestamp=at)
        sandbox.emit(customer, 7, identifier="b", timestamp=at)
        cancel(sandbox, "b")
    with Driver(tmp_path) as sandbox:
        assert metered_total(sandbox.store, meter, customer, at, at + 1) == 5
        assert sandbox.emit(customer, 7, identifier="b", timestamp=at).status == 400
