"""The delivery machine, case by case: what is written, what is called, what is parked, what an operator's release does (law 13)."""

from __future__ import annotations

import pytest

from sinks.calls import AHEAD_MS, UNKNOWN_AFTER_MS, Call
from sinks.lanes import OPEN_IN_LANE
from tests.core.report_world import ANCHOR_S, START_S, World, binding, item_of, total_of
from topics.quantity import ONE
from topics.receipt import CellReceipt, WindowReceipt, cell_key, parked_key

HOUR_S = START_S - 3600
CELL = f"si_1|{HOUR_S}"
KEY = cell_key("stripe", "default", CELL)


def bound_world(seed: int = 1, **item: str) -> World:
    """Customer `acme` bound to `si_1`."""
    world = World(seed)
    world.definitions.append(binding("acme", item_of("si_1", **item)))
    return world


def cell(world: World) -> CellReceipt:
    """The last receipt of the one cell."""
    receipt = world.last[KEY]
    assert isinstance(receipt, CellReceipt)
    return receipt


def counts(world: World) -> dict[str, int]:
    """What status shows."""
    assert world.worker is not None
    return {state: number for state, number in world.worker.machine.tally.counts().items() if number}


def emit(world: World, units: int, through: int, start_s: int = HOUR_S, customer: str = "acme") -> None:
    """One total of one hour."""
    world.source.append(total_of(customer, start_s, units * ONE, through))


def states(world: World) -> list[str]:
    """The states the cell's receipts went through."""
    from topics.receipt import decode_receipt

    return [r.state for key, value in world.log if key == KEY and isinstance(r := decode_receipt(value, "log"), CellReceipt)]


def test_an_intent_comes_before_its_call_and_the_answer_after() -> None:
    """A window is written as an intent, called, and written with its answer; then it counts as delivered."""
    world = bound_world()
    emit(world, 7, 5)
    world.settle()
    assert states(world) == ["intent", "delivered"]
    done = cell(world)
    assert (done.units, done.revision, done.attempt, done.http_status) == ("7", 1, 1, 200)
    assert done.standing is not None and done.standing.units == "7"
    assert world.standing() == {("si_1", HOUR_S): 7}
    assert counts(world) == {"delivered": 1}


def test_revisions_without_an_intent_are_skipped() -> None:
    """Of many totals that arrive together only the last is sent, and all their offsets are committed."""
    world = bound_world()
    for through in range(20):
        emit(world, through, through)
    world.settle()
    assert world.stripe.posts == 1
    assert (world.standing(), world.committed) == ({("si_1", HOUR_S): 19}, 20)


def test_an_older_revision_changes_nothing() -> None:
    """A total that is read again, or comes late, neither lowers the cell nor makes a call."""
    world = bound_world()
    emit(world, 9, 9)
    world.settle()
    emit(world, 3, 3)
    emit(world, 9, 9)
    world.settle()
    assert (world.stripe.posts, world.standing()) == (1, {("si_1", HOUR_S): 9})


def test_windows_of_one_second_are_summed() -> None:
    """The window that starts with the period and the one a second later share a cell, which holds their sum through each revision (H30)."""
    world = bound_world()
    for through, units in enumerate((1, 2, 4)):
        world.source.append(total_of("acme", ANCHOR_S, units * ONE, through, size_s=1))
        world.source.append(total_of("acme", ANCHOR_S + 1, 10 * units * ONE, 100 + through, size_s=9))
        world.settle()
    assert world.standing() == {("si_1", ANCHOR_S + 1): 44}
    assert counts(world) == {"delivered": 2}


def test_an_unbound_window_waits_and_becomes_a_cell() -> None:
    """Usage without an item is parked whole and committed; when its binding arrives it is delivered, and the parked record ends with it."""
    world = World(1)
    emit(world, 7, 5)
    world.settle()
    key = parked_key(f"acme|calls|{HOUR_S}|{START_S}")
    parked = world.last[key]
    assert isinstance(parked, WindowReceipt) and (parked.state, parked.reason, parked.quantity) == ("parked", "unbound", "7")
    assert (counts(world), world.committed) == ({"unbound": 1}, 1)
    world.define(binding("acme", item_of("si_1")))
    world.settle()
    ended = world.last[key]
    assert isinstance(ended, WindowReceipt) and (ended.state, ended.cell) == ("bound", CELL)
    assert (counts(world), world.standing()) == ({"delivered": 1}, {("si_1", HOUR_S): 7})


@pytest.mark.parametrize("restart", [False, True])
def test_a_later_total_of_an_unbound_window_is_the_one_delivered(restart: bool) -> None:
    """Corrections of a parked window are parked too, before and after a restart."""
    world = World(1)
    emit(world, 7, 5)
    world.settle()
    emit(world, 8, 6)
    if restart:
        world.kill()
    world.settle()
    world.define(binding("acme", item_of("si_1")))
    world.settle()
    assert world.standing() == {("si_1", HOUR_S): 8}


def test_a_window_before_its_period_is_parked() -> None:
    """Usage from before the item is billed is shown as parked, not sent and not forgotten."""
    world = bound_world()
    emit(world, 7, 5, start_s=ANCHOR_S - 3600)
    world.settle()
    assert (counts(world), world.stripe.posts) == ({"parked": 1}, 0)


def test_a_second_customer_on_an_item_is_parked() -> None:
    """Two customers on one item cannot be told apart: the second one's window is parked by name, the first one's cell stays."""
    world = bound_world()
    world.definitions.append(binding("zen", item_of("si_1")))
    emit(world, 7, 5)
    emit(world, 9, 6, customer="zen")
    world.settle()
    assert (counts(world), world.standing()) == ({"delivered": 1, "parked": 1}, {("si_1", HOUR_S): 7})


def test_a_fraction_is_parked_until_it_is_whole() -> None:
    """A total that is no whole number of units is parked with its amount; a later whole one is sent, with what stood before in between."""
    world = bound_world()
    emit(world, 7, 5)
    world.settle()
    world.source.append(total_of("acme", HOUR_S, 15 * ONE // 2, 6))
    world.settle()
    parked = cell(world)
    assert (parked.state, parked.reason, parked.quantity, parked.units) == ("parked", "fraction", "7.5", "")
    assert parked.standing is not None and parked.standing.units == "7"
    assert (counts(world), world.committed) == ({"parked": 1}, 2)
    emit(world, 8, 7)
    world.settle()
    assert (counts(world), world.standing()) == ({"delivered": 1}, {("si_1", HOUR_S): 8})


def test_a_refusal_parks_one_cell_and_a_release_tries_it_again() -> None:
    """A refused cell holds newer totals without calling, blocks nobody else, and is sent with its newest total once it is released (C11)."""
    world = bound_world()
    world.definitions.append(binding("zen", item_of("si_2")))
    world.stripe.refuse["si_1"] = (404, {"code": "resource_missing", "message": "No such subscription_item: 'si_1'"})
    emit(world, 7, 5)
    emit(world, 9, 6, customer="zen")
    world.settle()
    assert (cell(world).state, cell(world).reason) == ("refused", "no_such_item")
    assert counts(world) == {"delivered": 1, "parked": 1}
    posts = world.stripe.posts
    emit(world, 8, 7)
    world.settle()
    assert (world.stripe.posts, cell(world).quantity, world.committed) == (posts, "8", 3)
    world.stripe.refuse.clear()
    world.release(KEY)
    world.settle()
    assert (counts(world), world.standing()) == ({"delivered": 2}, {("si_1", HOUR_S): 8, ("si_2", HOUR_S): 9})


def test_a_release_acts_once() -> None:
    """After a restart the release is read again and must not release the refusal that came after it."""
    world = bound_world()
    world.stripe.refuse["si_1"] = (404, {"code": "resource_missing", "message": "no"})
    emit(world, 7, 5)
    world.settle()
    world.release(KEY)
    world.settle()
    posts = world.stripe.posts
    assert cell(world).state == "refused" and posts == 2
    world.kill()
    world.settle()
    assert world.stripe.posts == posts


def test_a_saved_failure_is_overcome_within_a_minute() -> None:
    """A key under which Stripe saved a 500 is left for the next attempt, and the cell is delivered within a minute (H24, C5)."""
    world = bound_world()
    first: dict[str, str] = {}
    world.stripe.sticky = lambda key: first.setdefault("key", key) == key
    emit(world, 7, 5)
    world.start()
    began_ms = world.now_ms
    world.run()
    assert world.now_ms - began_ms < 60_000
    assert (cell(world).attempt, world.standing(), world.stripe.errors) == (2, {("si_1", HOUR_S): 7}, [])
    assert "failed" in states(world)


def test_a_cell_far_ahead_waits_for_its_second() -> None:
    """A cell whose second lies ahead (a window closed by hand) is called at once, or where it is too far ahead once it is near enough."""
    for ahead_s, waited_ms in ((299, 0), (600, 600_000 - AHEAD_MS)):
        world = bound_world()
        began_ms = world.now_ms
        emit(world, 7, 5, start_s=START_S + ahead_s)
        world.settle()
        assert world.standing() == {("si_1", START_S + ahead_s): 7}
        assert waited_ms <= world.now_ms - began_ms < waited_ms + 60_000


def test_one_call_at_a_time_touches_an_item() -> None:
    """However many cells of an item wait, one of its calls is out at a time and few of its intents are open."""
    world = bound_world()
    for number in range(200):
        emit(world, 1 + number, number, start_s=HOUR_S - 3600 * (number % 20))
    worker = world.start()
    world.feed()
    write = worker.machine.next_write(world.now_ms)
    assert write is not None and len(write.records) == OPEN_IN_LANE
    worker.machine.written(write, world.now_ms)
    assert len(worker.machine.next_calls(world.now_ms, 16)) == 1
    assert worker.machine.next_calls(world.now_ms, 16) == []


def test_the_nearest_finality_goes_first() -> None:
    """Of cells that wait, the one whose period ends first is called first."""
    world = World(1)
    for number, anchor_s in enumerate((ANCHOR_S, ANCHOR_S - 20 * 86_400, ANCHOR_S - 10 * 86_400)):
        world.definitions.append(binding(f"c{number}", item_of(f"si_{number}", period_anchor_s=anchor_s)))
        emit(world, 1, number, customer=f"c{number}")
    worker = world.start()
    world.feed()
    write = worker.machine.next_write(world.now_ms)
    assert write is not None
    worker.machine.written(write, world.now_ms)
    called = [call.intent.item for call in worker.machine.next_calls(world.now_ms, 16) if isinstance(call, Call)]
    assert called == ["si_1", "si_2", "si_0"]


def test_an_outage_leaves_few_intents_open() -> None:
    """While the provider is down no more intents are written, so few cells can be unknown after it; afterwards all are delivered (C6)."""
    world = World(1)
    for number in range(300):
        world.definitions.append(binding(f"c{number}", item_of(f"si_{number}")))
        emit(world, 1, number, customer=f"c{number}")
    world.stripe.is_down = True
    world.start()
    with pytest.raises(AssertionError, match="not done"):
        world.run(limit=3_000)
    assert sum(isinstance(receipt, CellReceipt) and receipt.state == "intent" for receipt in world.last.values()) <= 128
    posts = world.stripe.posts
    assert posts < 200
    world.settle()
    assert len(world.standing()) == 300


@pytest.mark.parametrize("landed", [True, False])
def test_after_23_hours_the_total_is_read_back(landed: bool) -> None:
    """A call without an answer for 23 hours is never repeated under its key: the item's total says whether it landed (C7)."""
    world = bound_world()
    emit(world, 3, 1, start_s=HOUR_S - 3600)
    world.settle()
    emit(world, 7, 5)
    worker = world.start()
    world.feed()
    write = worker.machine.next_write(world.now_ms)
    assert write is not None
    world.commit(worker, write.records)
    intent = cell(world)
    if landed:
        world.stripe.post(intent.path, intent.body, intent.idempotency_key, world.now_ms)
    world.kill()
    world.pass_time(UNKNOWN_AFTER_MS + 7_200_000)
    posts = world.stripe.posts
    world.settle()
    assert (cell(world).state, world.stripe.posts - posts) == (("confirmed", 0) if landed else ("delivered", 1))
    assert cell(world).idempotency_key != intent.idempotency_key or landed
    assert world.standing() == {("si_1", HOUR_S): 7, ("si_1", HOUR_S - 3600): 3}


def test_a_total_that_nothing_explains_is_held() -> None:
    """Where somebody else writes to the item, the read-back guesses nothing: the cell is held, visible, until it is released (I5)."""
    world = bound_world()
    emit(world, 7, 5)
    worker = world.start()
    world.feed()
    write = worker.machine.next_write(world.now_ms)
    assert write is not None
    world.commit(worker, write.records)
    world.kill()
    world.stripe.cells["si_1", 1] = 1_000
    world.pass_time(UNKNOWN_AFTER_MS + 1)
    world.settle()
    assert (cell(world).state, counts(world), world.stripe.posts) == ("unknown", {"parked": 1}, 0)
    world.release(KEY)
    world.settle()
    assert (cell(world).state, world.stripe.cells["si_1", HOUR_S]) == ("delivered", 7)
