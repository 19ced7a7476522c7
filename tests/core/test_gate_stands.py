"""Where a draft's usage stands, by the delivery machine itself: counted or not, each state of a cell, windows without a cell, test clocks."""

from __future__ import annotations

from typing import Any

from sinks.gate import Stand, is_ready
from sinks.gate_stands import NOT_COUNTED
from tests.core.report_world import ANCHOR_S, START_S, World, binding, item_of, total_of
from tests.core.test_report_meters import meter_item
from topics.bindings import Item
from topics.clocks import ClockVersion
from topics.closed import Closed
from topics.invoices import Invoice, InvoiceRecord
from topics.meters import BEGINNING_S, Meter, MeterVersion
from topics.periods import period_at
from topics.quantity import ONE

PERIOD = period_at(ANCHOR_S, "month", 1, START_S)
GRACE_MS = 300_000
CLOSES_MS = PERIOD.end_s * 1000 + GRACE_MS
HOUR_S = START_S - START_S % 3600 - 3600


def world_with(item: Item, *, counted: bool = True) -> World:
    """A worker on customer `acme`, whose meter `calls` has a grace of five minutes."""
    world = World(1)
    meter = Meter(slug="calls", event_type="x", value="n", grace_ms=GRACE_MS)
    world.definitions.append(MeterVersion(meter=meter, valid_from_s=BEGINNING_S, offset=0, digest="d"))
    world.definitions.append(binding("acme", item))
    if item.mode == "meters":
        world.stripe.meters.windows[item.event_name] = item.aggregation
    if counted:
        world.definitions.append(word(CLOSES_MS))
    world.start()
    return world


def word(until_ms: int) -> Closed:
    """The meter's word."""
    return Closed(partition=0, generation=1, until_ms=until_ms, offset=7)


def stands(world: World, item: str = "si_1", counted_ms: int = CLOSES_MS) -> list[Stand]:
    """Of the whole period."""
    assert world.worker is not None
    return world.worker.machine.stands(item, PERIOD.start_s, PERIOD.end_s, counted_ms)


def used(world: World, units: int, through: int, start_s: int = HOUR_S, customer: str = "acme") -> None:
    """A total of one hour, handled as far as it goes."""
    world.source.append(total_of(customer, start_s, units * ONE, through))
    world.feed()


def test_a_period_is_complete_once_its_meter_has_closed_it() -> None:
    """A moment before the end of the meter's grace something may still be missing, also of a customer who has used nothing."""
    world = world_with(item_of("si_1"))
    assert stands(world, counted_ms=CLOSES_MS - 1) == [NOT_COUNTED]
    assert stands(world) == []
    assert stands(world, "si_of_nobody") == []


def test_a_usage_record_is_there_once_it_is_delivered() -> None:
    """From the total to the answer the draft waits, and again with each newer total."""
    world = world_with(item_of("si_1"))
    used(world, 5, 1)
    assert not any(map(is_ready, stands(world)))
    world.settle()
    assert stands(world) == [Stand("delivered", is_current=True, is_read_back=False)]
    used(world, 6, 2)
    assert not any(map(is_ready, stands(world)))
    world.settle()
    assert all(map(is_ready, stands(world)))


def test_a_meter_event_is_there_once_it_was_read_back() -> None:
    """Stripe accepts first and counts afterwards; only what the meter was seen to hold is on the invoice for certain."""
    for aggregation in ("hour", "day", "sum"):
        world = world_with(meter_item("acme", aggregation))
        used(world, 5, 1)
        world.settle()
        assert stands(world, "si_acme") == [Stand("delivered", is_current=True, is_read_back=True)]
        world.pass_time(20 * 60_000)
        world.settle(lambda world=world: all(map(is_ready, stands(world, "si_acme"))))  # type: ignore[misc]
        assert [stand.state for stand in stands(world, "si_acme")] == ["confirmed"]


def test_an_adjustment_holds_nothing() -> None:
    """What comes after the invoice is final, and what usage records do not take any more, no waiting brings onto it."""
    world = world_with(item_of("si_1"))
    used(world, 5, 1)
    world.settle()
    fields: dict[str, Any] = {"period_start_s": PERIOD.start_s, "period_end_s": PERIOD.end_s, "seen_at_s": 1}
    world.define(Invoice(customer="acme", said=InvoiceRecord(invoice="in_1", subscription="sub_1", status="open", **fields), offset=9))
    used(world, 9, 2)
    world.settle()
    assert [stand.state for stand in stands(world)] == ["adjustment"]
    assert all(map(is_ready, stands(world)))


def test_other_periods_and_other_items_are_not_asked_about() -> None:
    """The draft is of one period of one item."""
    world = world_with(item_of("si_1"))
    used(world, 5, 1, start_s=PERIOD.start_s - 7200)
    used(world, 5, 2, start_s=PERIOD.end_s - PERIOD.end_s % 3600 + 7200)
    assert stands(world) == []


def test_a_window_that_may_still_get_a_cell_is_waited_for() -> None:
    """A window of the period that lies parked is missing on the draft until somebody puts its binding right."""
    world = world_with(item_of("si_1"))
    used(world, 5, 1)
    world.settle()
    world.define(binding("zen", item_of("si_1")))
    used(world, 3, 2, customer="zen")
    world.settle()
    assert [stand.state for stand in stands(world) if not is_ready(stand)] == ["parked"]
    world.define(binding("zen", item_of("si_2"), offset=1))
    world.settle()
    assert all(map(is_ready, [*stands(world, "si_1"), *stands(world, "si_2")]))


def test_a_window_that_no_item_ever_bills_holds_nothing() -> None:
    """Usage from before the item is billed is parked for good: no waiting brings it onto a draft."""
    world = world_with(item_of("si_1", starts_at_s=HOUR_S + 3600))
    used(world, 5, 1)
    world.settle()
    assert stands(world) == []


def test_a_test_clocks_customer_is_complete_by_its_clock() -> None:
    """Once its clock has spoken the wall clock says nothing: the clock must have passed end and grace, and two of the meter's words come after."""
    world = world_with(item_of("si_1", clock="clock_1"))
    for now_s, words, complete in ((PERIOD.end_s, 3, False), (CLOSES_MS // 1000, 1, False), (CLOSES_MS // 1000 + 1, 2, True)):
        world.define(shown(now_s))
        for number in range(words):
            world.define(word(number))
        assert (stands(world) == []) is complete
    assert world.worker is not None
    assert world.worker.machine.now_of("acme", 5) == (CLOSES_MS // 1000 + 1) * 1000
    assert world.worker.machine.now_of("zen", 5) == 5


def shown(now_s: int) -> ClockVersion:
    """What the customer's clock shows."""
    return ClockVersion(
        customer="acme", clock="clock_1", now_s=now_s, future_ms=300_000, final_until_us=0, ahead_until_us=now_s, log_final_s=0, offset=now_s
    )
