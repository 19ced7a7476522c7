"""Cells, values and names of meter events: where a window is reported at a meter, as which number, or why it is not (laws 12, 14, 17)."""

from __future__ import annotations

import random
from fractions import Fraction
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sinks.cells import Place, Unplaced, cell_of
from sinks.clickhouse.record_rows import definition_row
from sinks.keys import meter_identifier
from sinks.meter_events import MOST_AGE_S
from sinks.units import MOST_DIGITS, Unsendable, ledger_units, meter_units, minus, plus
from streams.control import fold_control
from tests.core.meterlog import Disk, fresh
from tests.core.report_world import ANCHOR_S, START_S
from tests.core.test_report_meters import HOUR_S, emit, held, meter_item, meters_world, receipts, total, wanted
from topics.codec import encode
from topics.definitions import decode_definition, definition_key
from topics.event import Event
from topics.meter_errors import METER_ERROR_TYPE, MeterError, MeterErrorRecord
from topics.quantity import ONE, format_scaled
from topics.receipt import CellReceipt, decode_receipt
from topics.windows import Window

FIRST_S = ANCHOR_S - ANCHOR_S % 86_400 + 86_400


def place(start_s: int, end_s: int, aggregation: str, meter: str = "calls", **more: Any) -> Place | Unplaced:
    """The cell of a window of customer `a`."""
    return cell_of(Window("a", meter, start_s, end_s), meter_item("a", aggregation, **more), "default")


@pytest.mark.parametrize(("aggregation", "same"), [("hour", True), ("day", True), ("sum", False)])
def test_windows_of_an_hour_share_its_cell_unless_the_meter_adds_up(aggregation: str, same: bool) -> None:
    """Two quarters of an hour are one cell where the newest event counts, at its start, and two cells where all count."""
    one, two = (place(FIRST_S + 900 * number, FIRST_S + 900 * (number + 1), aggregation) for number in (0, 1))
    assert isinstance(one, Place) and isinstance(two, Place)
    assert (one.name == two.name) is same and one.timestamp_s == FIRST_S
    assert one.lane == two.lane and one.adds_up is not same


@pytest.mark.parametrize(("aggregation", "length_s"), [("hour", HOUR_S), ("day", 86_400)])
def test_a_window_over_the_edge_of_its_hour_has_no_cell(aggregation: str, length_s: int) -> None:
    """A window that fits into the hour or day exactly has a cell, one that is a second longer has none and is told why."""
    assert isinstance(place(FIRST_S, FIRST_S + length_s, aggregation), Place)
    found = place(FIRST_S, FIRST_S + length_s + 1, aggregation)
    assert isinstance(found, Unplaced) and found.reason == "unsupported" and "smaller window" in found.sentence


def test_the_first_hour_is_reported_inside_the_subscription() -> None:
    """A subscription that starts in the middle of an hour has its first hour's second at its start."""
    found = place(ANCHOR_S + 100, ANCHOR_S + 200, "hour", starts_at_s=ANCHOR_S)
    assert isinstance(found, Place) and found.timestamp_s == max(ANCHOR_S, (ANCHOR_S + 100) // HOUR_S * HOUR_S)


names = st.text(st.sampled_from("ab|%/ é"), min_size=1, max_size=4)


@given(names, names, names, names)
def test_no_two_meters_or_customers_share_a_name(event: str, customer: str, other_event: str, other_customer: str) -> None:
    """Whatever stands in the names, cells and lanes of different meters or customers differ."""
    one = place(FIRST_S, FIRST_S + 60, "hour", event_name=event, stripe_customer=customer)
    two = place(FIRST_S, FIRST_S + 60, "hour", event_name=other_event, stripe_customer=other_customer)
    assert isinstance(one, Place) and isinstance(two, Place)
    assert (one.name == two.name) == (one.lane == two.lane) == ((event, customer) == (other_event, other_customer))


scaled = st.integers(-(10**30), 10**30)


@given(scaled, scaled)
def test_differences_are_exact(one: int, other: int) -> None:
    """What is taken away and added again is what was there."""
    assert plus(minus(format_scaled(one), format_scaled(other)), format_scaled(other)) == format_scaled(one)


@given(st.integers(-(10**20), 10**20), st.sampled_from(("1", "0.5", "1000", "0.000001")), st.sampled_from(("refuse", "exact")))
def test_a_meter_is_sent_exactly_that_or_nothing(units: int, scale: str, fractions: str) -> None:
    """A value is the exact product in at most 15 digits, or it is not sent and says why."""
    found = meter_units(format_scaled(units), scale, fractions)
    exact = Fraction(units, ONE) * Fraction(scale)
    if isinstance(found, Unsendable):
        assert found.reason in {"fraction", "too_large", "too_many_digits"} and found.sentence
        assert found.reason != "fraction" or exact.denominator > 1
    else:
        assert Fraction(found) == exact and len(found.strip("-").replace(".", "").lstrip("0")) <= MOST_DIGITS


@given(st.lists(st.integers(0, 5 * ONE), min_size=1, max_size=12), st.integers(0, 11), st.integers(0, 5 * ONE))
def test_the_ledger_always_adds_up(cells: list[int], at: int, corrected: int) -> None:
    """After any order of deliveries and one correction the units of a period are the whole part of its exact usage."""
    exact, units = dict[int, int](), dict[int, int]()

    def deliver(cell: int, value: int) -> None:
        others = sum(e for c, e in exact.items() if c != cell) * ONE, sum(u for c, u in units.items() if c != cell) * ONE
        found = ledger_units(format_scaled(value), "1", others, signed=True)
        assert isinstance(found, str)
        exact[cell], units[cell] = value, int(found)

    for cell, value in enumerate(cells):
        deliver(cell, value)
    deliver(at % len(cells), corrected)
    assert sum(units.values()) == sum(exact.values()) // ONE


def test_an_identifier_names_everything_but_the_attempt() -> None:
    """Identifiers differ by cell, revision and units, and have the 100 characters that Stripe takes."""
    found = {meter_identifier("stripe", "default", cell, revision, units) for cell in "ab" for revision in (1, 2) for units in ("1", "2")}
    assert len(found) == 8 and max(map(len, found)) <= 100


def test_what_is_too_old_is_sent_to_nobody() -> None:
    """A total whose second is more than 35 days old is an adjustment, without a call."""
    world = meters_world(3, {"zen": "sum"}, period_anchor_s=START_S - 90 * 86_400)
    world.source.append(total("zen", MOST_AGE_S // HOUR_S + 1, 5, 1))
    world.settle()
    (receipt,) = receipts(world)
    assert (receipt.state, receipt.reason, world.stripe.posts) == ("adjustment", "age_limit", 0)


def test_a_test_clock_has_an_age_of_its_own() -> None:
    """Of a customer on a test clock only the provider says what is too old: it is asked, and its no is an adjustment."""
    world = meters_world(3, {"zen": "sum"}, period_anchor_s=START_S - 90 * 86_400, clock="clock_1")
    world.source.append(total("zen", MOST_AGE_S // HOUR_S + 2, 5, 1))
    world.settle(lambda: [receipt.state for receipt in receipts(world)] == ["adjustment"])
    (receipt,) = receipts(world)
    assert (receipt.reason, receipt.adjustment and receipt.adjustment.units, world.stripe.posts) == ("age_limit", "5", 1)


def test_too_many_digits_are_parked() -> None:
    """A total that no event can carry is parked with the reason, and the next one that can be sent is."""
    world = meters_world(4, {"zen": "sum"})
    world.source.append(total("zen", 2, 10**15, 1))
    world.settle()
    assert [(receipt.state, receipt.reason) for receipt in receipts(world)] == [("parked", "too_large")]
    world.source.append(total("zen", 2, 10**14, 2))
    world.settle()
    assert held(world, {"zen": "sum"}) == wanted(world, {"zen": "sum"})


def test_receipts_say_the_total_and_requests_the_difference() -> None:
    """A correction downwards is a negative event; its receipt says the absolute total and survives storing."""
    world = meters_world(5, {"zen": "sum"})
    world.source.append(total("zen", 2, 7, 1))
    world.settle()
    world.source.append(total("zen", 2, 4, 2))
    world.settle()
    (receipt,) = receipts(world)
    assert receipt.units == "4" and "payload[value]=-3&" in receipt.body and receipt.standing is not None and receipt.standing.units == "4"
    assert [sent.units for sent in receipt.unconfirmed] == ["7", "-3"]
    again = decode_receipt(encode(receipt), "here")
    assert isinstance(again, CellReceipt) and again == receipt


def test_a_refusal_heard_later_is_a_definition() -> None:
    """An error that a provider reports about accepted events is published under a key of its own and read back as it was."""
    said = MeterErrorRecord(event="evt_1", code="no_meter", sentence="gone", count=2, keys=("k1", "k2"))
    error = MeterError(said=said, offset=7)
    assert decode_definition(encode(error), "here") == error
    assert definition_row(error, encode(error))[:2] == (b"meter_error", b"evt_1")
    assert definition_key(error) == b'["meter_error","stripe","default","evt_1","no_meter"]'


def test_the_fold_publishes_a_refusal_and_refuses_a_broken_one() -> None:
    """A well-formed record becomes the definition that every partition publishes; one without its keys is refused with a sentence."""
    said = MeterErrorRecord(event="evt_1", code="no_meter", count=1, keys=("k1",))
    data = msgspec.to_builtins(said)
    state = fresh(Disk(), random.Random(1)).state
    event = Event("1.0", "1", "tidemark", METER_ERROR_TYPE, "*", data=data)
    assert fold_control(state, event, b"*", 7) == [MeterError(said=said, offset=7)]
    del data["keys"]
    assert "keys" in str(fold_control(state, event, b"*", 7))


def test_modes_live_side_by_side() -> None:
    """An emitter of all three modes in one partition ends with each meter exact, each in its own lane."""
    world = meters_world(6)
    for _ in range(60):
        emit(world)
    world.settle()
    assert held(world) == wanted(world)
