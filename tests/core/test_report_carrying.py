"""Law 16, `next_period`: an adjustment's units at a second of a later period that is nobody else's, once, whoever dies when."""

from __future__ import annotations

import random

import pytest

from sinks.carrying import MARGIN_S, Carry, NotYet, carry_of
from sinks.cells import Place, cell_of
from tests.core.remedy_world import PERIOD, SECTIONS, RemedyWorld, invoice
from tests.core.report_world import ANCHOR_S, START_S, binding, item_of, total_of
from topics.adjustments import Adjustment, Settlement, SettleRecord
from topics.definitions import Definitions
from topics.meters import BEGINNING_S, Meter, MeterVersion
from topics.quantity import ONE
from topics.receipt import CellReceipt, WindowReceipt, receipt_key

DAY_S = 86_400
CELL = ("si_1", START_S - 3600)
CLOSED = (400, {"param": "timestamp", "message": "timestamps must be after the subscription's last invoice period", "type": "invalid_request_error"})


def grid(window_s: int = 3600, slug: str = "calls", valid_from_s: int = BEGINNING_S, offset: int = 0) -> MeterVersion:
    """The meter in force."""
    meter = Meter(slug=slug, event_type="api.request", window_s=window_s)
    return MeterVersion(meter=meter, valid_from_s=valid_from_s, offset=offset, digest="d")


def world_of(seed: int = 1) -> RemedyWorld:
    """20 units of one hour delivered and invoiced; it is a day into the next period."""
    world = RemedyWorld(seed)
    world.definitions += [grid(), binding("acme", item_of("si_1", late="next_period", price="price_1"))]
    emit(world, 20)
    world.settle()
    world.define(invoice())
    world.pass_time((PERIOD.end_s + DAY_S) * 1000 - world.now_ms)
    return world


def emit(world: RemedyWorld, units: int, start_s: int = START_S - 3600) -> None:
    """A higher revision of a window's total."""
    world.source.append(total_of("acme", start_s, units * ONE, len(world.source) + 1))


def settle(world: RemedyWorld) -> None:
    """All faults heal, and the worker works until every adjustment is settled."""
    world.settle(world.is_billed)


def said(world: RemedyWorld) -> Adjustment:
    """The invoiced hour's adjustment."""
    return next(one.adjustment for one in world.receipts() if one.adjustment is not None and one.timestamp_s == CELL[1])


def carried(world: RemedyWorld) -> dict[int, int]:
    """Second → units of what stands in the next period."""
    return {second: units for (_, second), units in world.standing().items() if second > PERIOD.end_s}


def test_late_units_stand_in_the_next_period() -> None:
    """+7 units are a usage record of 7 at a second of the period that runs, no window's own; the receipt says where, and no invoice item is made."""
    world = world_of()
    emit(world, 27)
    settle(world)
    ((second, units),) = carried(world).items()
    assert units == 7 and second % 3600 and second * 1000 <= world.now_ms
    assert world.standing()[CELL] == 20 and world.stripe.made == []
    assert (said(world).settled, said(world).units, [one.second for one in said(world).carried]) == ("7", "0", [second])
    assert said(world).how.startswith("usage record of 7 at 2023-")


def test_each_growth_has_a_second_of_its_own() -> None:
    """+1, then +2 more are two usage records at two seconds."""
    world = world_of()
    for units in (21, 23):
        emit(world, units)
        settle(world)
    assert sorted(carried(world).values()) == [1, 2] and world.stripe.made == []


@pytest.mark.parametrize("at", range(0, 40, 2))
def test_what_was_carried_is_taken_back_where_it_stands(at: int) -> None:
    """+1, +2 and then 5 less: while the period that took the 3 runs they are taken back there (its tiers would have priced them), whoever dies when;
    only what is left is a negative invoice item, since usage cannot be negative; what comes then is carried anew, at a second of its own."""
    world = world_of(at)
    for units in (21, 23):
        emit(world, units)
        settle(world)
    seconds = set(carried(world))
    emit(world, 18)
    world.feed()
    for _ in range(at):
        assert world.worker is not None
        world.step(world.worker)
    world.kill()
    settle(world)
    assert (carried(world), said(world).settled, said(world).units) == ({}, "-2", "0")
    assert [(made.path, made.units, made.amount) for made in world.stripe.made] == [(SECTIONS[0], "-2", -3)]
    emit(world, 22)
    settle(world)
    assert list(carried(world).values()) == [4] and not seconds & set(carried(world))


def test_what_a_period_that_is_over_took_is_given_back_by_an_invoice_item() -> None:
    """Once the period that took the units is over, no usage record changes it: an invoice item gives them back."""
    world = world_of()
    emit(world, 27)
    settle(world)
    world.pass_time(32 * DAY_S * 1000)
    emit(world, 25)
    settle(world)
    assert list(carried(world).values()) == [7] and [made.units for made in world.stripe.made] == ["-2"]


def test_the_windows_of_that_period_change_nothing_of_it() -> None:
    """Totals of every hour of the period, reported and corrected, stand beside it: no window is reported at its second."""
    world = world_of()
    emit(world, 27)
    settle(world)
    (second,) = carried(world)
    for revision in (1, 2):
        for hour in range(25):
            emit(world, hour + revision, PERIOD.end_s + -PERIOD.end_s % 3600 + 3600 * hour)
        settle(world)
    assert world.standing() == world.expected({"acme": "si_1"}) | {CELL: 20, ("si_1", second): 7}


def test_a_window_at_its_second_would_be_parked() -> None:
    """Should a window begin at that very second (a cut that nobody knew of), it is parked and seen, and the units stay."""
    world = world_of()
    emit(world, 27)
    settle(world)
    (second,) = carried(world)
    emit(world, 100, second)
    world.work()
    parked = [one for one in world.last.values() if isinstance(one, WindowReceipt)]
    assert [(one.reason, one.start_s) for one in parked] == [("cell_taken", second)]
    world.kill()
    world.work()
    assert carried(world) == {second: 7}


def test_it_waits_for_the_next_period() -> None:
    """While the period of the final cell still runs (its invoice came early) nothing is sent; once the next one runs it is."""
    world = RemedyWorld(1)
    world.definitions += [grid(), binding("acme", item_of("si_1", late="next_period", price="price_1"))]
    emit(world, 20)
    world.settle()
    world.define(invoice())
    emit(world, 27)
    world.work()
    assert (said(world).units, carried(world)) == ("7", {})
    world.pass_time((PERIOD.end_s + DAY_S) * 1000 - world.now_ms)
    settle(world)
    assert list(carried(world).values()) == [7]


@pytest.mark.parametrize("item", [item_of("si_2", price="price_1"), item_of("si_1", price="price_9"), None], ids=("item", "price", "none"))
def test_where_the_item_is_another_one_it_is_an_invoice_item(item: object) -> None:
    """An item that was replaced, has another price or is bound no more takes no units of before: an invoice item does."""
    world = world_of()
    world.define(binding("acme", item, 5, valid_from_s=PERIOD.end_s + 3600))  # type: ignore[arg-type]
    emit(world, 27)
    settle(world)
    assert carried(world) == {} and [made.units for made in world.stripe.made] == ["7"]


def test_parts_of_a_unit_are_no_usage() -> None:
    """What is left of an adjustment after an operator settled half a unit is no usage record, which is whole: an invoice item bills it."""
    world = RemedyWorld(1)
    world.definitions += [grid(), binding("acme", item_of("si_1", late="next_period", price="price_1"))]
    emit(world, 20)
    world.settle()
    world.define(invoice())
    emit(world, 27)
    world.work()
    target = next(receipt_key(one).decode() for one in world.receipts() if one.adjustment is not None)
    world.define(Settlement(customer="acme", said=SettleRecord(target=target, units="0.5", settled="0", how="half"), offset=500))
    world.work()
    world.pass_time((PERIOD.end_s + DAY_S) * 1000 - world.now_ms)
    settle(world)
    assert carried(world) == {} and [made.units for made in world.stripe.made] == ["6.5"]


def test_a_period_that_closed_meanwhile_is_followed_by_the_next() -> None:
    """Refused because its period is over, the units go to the period after it, at another second."""
    world = world_of()
    world.stripe.refuse["si_1"] = CLOSED
    emit(world, 27)
    world.work(40)
    assert said(world).units == "7"
    del world.stripe.refuse["si_1"]
    world.pass_time(32 * DAY_S * 1000)
    settle(world)
    assert list(carried(world).values()) == [7] and said(world).carried[0].period_start_s > PERIOD.end_s


def test_a_refusal_is_held_until_a_release() -> None:
    """Another refusal is held with its words; a release tries it again."""
    world = world_of()
    world.stripe.refuse["si_1"] = (404, {"code": "resource_missing", "message": "No such subscription item", "type": "invalid_request_error"})
    emit(world, 27)
    world.work()
    posts = world.stripe.posts
    world.work()
    receipt = next(one for one in world.receipts() if one.adjustment is not None)
    assert (world.stripe.posts, receipt.sentence) == (posts, "No such subscription item")
    del world.stripe.refuse["si_1"]
    world.release(receipt_key(receipt))
    settle(world)
    assert list(carried(world).values()) == [7]


@pytest.mark.parametrize("at", range(18))
def test_a_crash_at_any_step_reports_once(at: int) -> None:
    """Killed after any number of steps between plan and settlement: 7 units stand in the next period, once."""
    world = world_of(at)
    emit(world, 27)
    world.feed()
    for _ in range(at):
        assert world.worker is not None
        world.step(world.worker)
    world.kill()
    settle(world)
    assert list(carried(world).values()) == [7] and (said(world).settled, said(world).units) == ("7", "0")


@pytest.mark.parametrize("at", range(2, 18, 2))
def test_a_crash_and_two_days_report_once(at: int) -> None:
    """The same with a successor two days later, when Stripe has forgotten the key: it is set again at the second that it had."""
    world = world_of(at)
    world.lost_replies = 2.0 if at % 4 else 0.0
    emit(world, 27)
    world.feed()
    for _ in range(at):
        assert world.worker is not None
        world.step(world.worker)
    world.kill()
    world.pass_time(2 * DAY_S * 1000)
    settle(world)
    assert list(carried(world).values()) == [7] and said(world).settled == "7"


def test_a_report_in_doubt_is_read_back_with_it_in_the_sum() -> None:
    """What stands of adjustments is part of the item's total: a report without an answer for a day is found to have landed all the same."""
    world = world_of()
    emit(world, 27)
    settle(world)
    world.lost_replies = 2.0
    emit(world, 5, PERIOD.end_s + 7200)
    world.feed()
    world.work(200)
    world.kill()
    world.pass_time(2 * DAY_S * 1000)
    posts = world.stripe.posts
    settle(world)
    newest = max(world.receipts(), key=lambda one: one.timestamp_s)
    assert (newest.outcome, newest.state, world.stripe.posts) == ("confirmed", "confirmed", posts)


@pytest.mark.parametrize("seed", range(60))
def test_no_window_is_ever_reported_at_a_second_that_was_chosen(seed: int) -> None:
    """Whatever the grid, its changes and the edges of periods: the seconds are of the period that runs, past, all different, and no window's own."""
    chance = random.Random(seed)
    definitions = Definitions()
    sizes = [chance.choice((10, 27, 60, 3600, DAY_S)) for _ in range(2)]
    definitions.apply(grid(sizes[0]))
    definitions.apply(grid(sizes[1], valid_from_s=PERIOD.end_s + chance.randrange(DAY_S) // DAY_S * DAY_S, offset=1))
    item = item_of("si_1", late="next_period", price="price_1", period_anchor_s=ANCHOR_S + chance.randrange(60))
    definitions.apply(binding("acme", item))
    period = item.period_at(START_S)
    now_s = period.end_s + chance.choice((1, 5, 70, 4000, 20 * DAY_S))
    receipt = final_receipt(period.end_s)
    used: set[int] = set()
    for _ in range(30):
        found = carry_of(definitions, receipt, now_s, used)
        if not isinstance(found, Carry):
            assert isinstance(found, NotYet) and now_s < period.end_s + 3700
            break
        assert found.second not in used and period.end_s + 1 < found.second <= now_s
        used.add(found.second)
    for second in used:
        # Windows part time, so only the one that holds the second, and the one before it (a period's first second), could be reported there.
        for at_s in (second, second - 1):
            meter = definitions.meter_at("calls", at_s)
            assert meter is not None
            place = cell_of(definitions.window_of("acme", meter, at_s), item, "default")
            assert isinstance(place, Place) and place.timestamp_s != second


def test_a_period_that_is_about_to_end_takes_no_more() -> None:
    """In the last ten minutes of a period nothing is carried into it; the next one takes it."""
    definitions = Definitions()
    for definition in (grid(), binding("acme", item_of("si_1", price="price_1"))):
        definitions.apply(definition)
    item = item_of("si_1")
    following = item.period_at(PERIOD.end_s + 1)
    receipt = final_receipt(PERIOD.end_s)
    assert carry_of(definitions, receipt, following.end_s - MARGIN_S, ()) == NotYet(following.end_s)
    assert isinstance(carry_of(definitions, receipt, following.end_s - MARGIN_S - 1, ()), Carry)


def final_receipt(period_end_s: int) -> CellReceipt:
    """A final cell's record, as far as this needs it."""
    return CellReceipt(
        provider="stripe", account="default", cell="si_1|1", customer="acme", meter="calls", item="si_1", price="price_1", timestamp_s=START_S,
        period_start_s=ANCHOR_S, period_end_s=period_end_s, windows=(), revision=1, attempt=1, quantity="1", units="1", state="adjustment",
        intent_at_ms=0,
    )  # fmt: skip
