"""What an operator found a cell to hold: it is set again by its next intent, or adjusted where it is final, once, and only on what was seen."""

from __future__ import annotations

import random
from typing import Any

import msgspec
import pytest

from infra.control import restate_event
from tests.core.meterlog import Disk, Log, customers, fresh, meters_record
from tests.core.report_world import World, binding, item_of, total_of
from tests.core.test_report_adjustments import billed_world, invoice, late
from tests.core.test_report_meters import held, meters_world
from tests.core.test_report_receipts import HOUR_S, KEY, bound_world, cell, counts, emit
from topics.codec import encode
from topics.definitions import decode_definition, definition_key
from topics.meters import Meter
from topics.quantity import ONE
from topics.receipt import CellReceipt, cell_key, decode_receipt
from topics.restating import Restatement, RestateRecord

STRAY_S = HOUR_S + 17


def restate(world: World, stands: str, *, beside: str = "0", key: bytes = KEY, **more: Any) -> None:
    """An operator's word on a cell as it is now."""
    seen = world.last.get(key)
    named = (seen.revision, seen.attempt) if isinstance(seen, CellReceipt) else (0, 0)
    fields: dict[str, Any] = {"target": key.decode(), "revision": named[0], "attempt": named[1], "stands": stands, "beside": beside} | more
    world.define(Restatement(customer="acme", said=RestateRecord(**fields), offset=1000 + len(world.definitions)))


def delivered(units: int = 7, **item: Any) -> World:
    """Customer `acme`, so many units of one hour delivered."""
    world = bound_world(**item)
    emit(world, units, 1)
    world.settle()
    return world


def work(world: World) -> None:
    """The worker does what it has to do, and at least everything that a restatement brings."""
    assert world.worker is not None
    for _ in range(60):
        world.step(world.worker)


def test_a_cell_that_lost_its_report_is_set_again() -> None:
    """The record is gone at the provider: the next intent says the same units under a higher revision and another key, and they stand."""
    world = delivered()
    before = cell(world)
    del world.stripe.cells["si_1", HOUR_S]
    restate(world, "0")
    work(world)
    after = cell(world)
    assert (world.standing(), after.state, after.units) == ({("si_1", HOUR_S): 7}, "delivered", "7")
    assert (after.revision, after.attempt) == (before.revision + 1, 1)
    assert after.idempotency_key != before.idempotency_key


def test_a_word_on_an_older_receipt_changes_nothing() -> None:
    """What was read before the cell's newest report says nothing of what stands now: no record, no call."""
    world = delivered()
    emit(world, 9, 2)
    world.settle()
    posts, records = world.stripe.posts, len(world.log)
    restate(world, "0", revision=1)
    restate(world, "0", attempt=2)
    work(world)
    assert (world.stripe.posts, len(world.log), world.standing()) == (posts, records, {("si_1", HOUR_S): 9})


def test_it_acts_once_whoever_dies() -> None:
    """Read again by every successor, a restatement that was carried out brings no further call."""
    world = delivered()
    restate(world, "3")
    work(world)
    posts = world.stripe.posts
    for _ in range(3):
        world.kill()
        world.start()
        work(world)
    assert (world.stripe.posts, cell(world).revision) == (posts, 2)


def test_a_total_that_comes_meanwhile_goes_with_it() -> None:
    """A newer total and a restatement make one intent, of the newer total."""
    world = delivered()
    emit(world, 11, 2)
    world.feed()
    restate(world, "0")
    world.settle()
    assert (world.standing(), cell(world).revision, world.stripe.posts) == ({("si_1", HOUR_S): 11}, 2, 2)


def test_units_beside_a_cell_are_left_out_of_its_report() -> None:
    """5 units stand at a second that is nobody's: of 7 the report says 2, of a later 12 it says 7, and the period holds what was used."""
    world = delivered()
    world.stripe.cells["si_1", STRAY_S] = 5
    restate(world, "12", beside="5")
    work(world)
    assert world.standing() == {("si_1", HOUR_S): 2, ("si_1", STRAY_S): 5}
    assert (cell(world).units, cell(world).standing.units, cell(world).beside) == ("7", "7", "5")  # type: ignore[union-attr]
    emit(world, 12, 2)
    world.settle()
    assert world.standing() == {("si_1", HOUR_S): 7, ("si_1", STRAY_S): 5}
    world.kill()
    world.start()
    emit(world, 13, 3)
    world.settle()
    assert world.standing() == {("si_1", HOUR_S): 8, ("si_1", STRAY_S): 5}


def test_more_beside_a_cell_than_it_has_is_shown() -> None:
    """No record says less than 0: the cell waits for a person, with a sentence, and nobody is called."""
    world = delivered()
    posts = world.stripe.posts
    restate(world, "15", beside="8")
    work(world)
    assert (cell(world).state, cell(world).reason, world.stripe.posts) == ("parked", "negative", posts)
    assert "8 units stand at another second" in cell(world).sentence and counts(world) == {"parked": 1}


def test_a_stray_second_is_set_to_nothing() -> None:
    """A second that no window of ours has gets a cell of its own, which is set to 0; a window that comes there later is reported as always."""
    world = delivered()
    world.stripe.cells["si_1", STRAY_S] = 7
    key = cell_key("stripe", "default", f"si_1|{STRAY_S}")
    restate(world, "7", key=key, meter="calls", start_s=STRAY_S)
    work(world)
    assert world.standing() == {("si_1", HOUR_S): 7}
    stray = world.last[key]
    assert isinstance(stray, CellReceipt) and (stray.units, stray.windows, stray.state) == ("0", (), "delivered")
    emit(world, 4, 2, start_s=STRAY_S)
    world.settle()
    assert world.standing() == {("si_1", HOUR_S): 7, ("si_1", STRAY_S): 4}


def test_a_stray_second_that_is_another_cell_makes_none() -> None:
    """A target that the item's own rule does not name is not made up."""
    world = delivered()
    records = len(world.log)
    restate(world, "7", key=cell_key("stripe", "default", f"si_9|{STRAY_S}"), meter="calls", start_s=STRAY_S)
    restate(world, "7", key=cell_key("stripe", "default", f"si_1|{STRAY_S}"), meter="other", start_s=STRAY_S)
    world.define(invoice())
    work(world)
    assert len(world.log) == records


@pytest.mark.parametrize(("stands", "units"), [("2", "3"), ("9", "-4"), ("5", None)])
def test_a_final_cell_is_adjusted(stands: str, units: str | None) -> None:
    """Of a final cell nobody is called: what it lacks, or has too much, is an adjustment, and none where it holds what it should."""
    world = billed_world()
    world.define(invoice())
    posts = world.stripe.posts
    restate(world, stands)
    work(world)
    found = cell(world).adjustment
    assert world.stripe.posts == posts
    assert (None if found is None else found.units) == units
    late(world, 6, 2)
    found = cell(world).adjustment
    assert found is not None and found.units == str(6 - int(stands))


def metered(aggregation: str) -> tuple[World, bytes]:
    """Customer `acme`, 7 units of one window at a meter; the key of its cell."""
    world = meters_world(1, {"acme": aggregation})
    world.source.append(total_of("acme", HOUR_S, 7 * ONE, 1, size_s=900))
    world.settle()
    (key,) = (key for key, value in world.last.items() if isinstance(value, CellReceipt))
    return world, key


@pytest.mark.parametrize("aggregation", ["hour", "day"])
def test_a_meters_hour_is_set_again_by_a_new_event(aggregation: str) -> None:
    """An hour (or day) of a meter that holds something else is set by an event with an identifier of its own."""
    world, key = metered(aggregation)
    before = world.last[key]
    restate(world, "3", key=key)
    work(world)
    after = world.last[key]
    assert isinstance(before, CellReceipt) and isinstance(after, CellReceipt)
    assert after.identifier != before.identifier and (after.units, after.revision) == ("7", 2)
    assert sum(held(world, {"acme": aggregation}).values()) == 7


def test_a_sum_is_sent_the_difference_to_what_was_found() -> None:
    """A meter that adds up and was found to hold 3 of 7 gets an event of 4."""
    world, key = metered("sum")
    restate(world, "3", key=key)
    work(world)
    after = world.last[key]
    assert isinstance(after, CellReceipt) and "payload[value]=4&" in after.body


@pytest.mark.parametrize("seed", range(30))
def test_it_converges_whoever_dies_at_whatever_await(seed: int) -> None:
    """Cells lost, changed and doubled, restated while workers die, hang and are replaced: in the end the period holds exactly what was used."""
    chance = random.Random(seed)
    world = World(seed)
    world.definitions.append(binding("acme", item_of("si_1")))
    hours = [HOUR_S - 3600 * number for number in range(4)]
    for at, start_s in enumerate(hours):
        emit(world, 5 + at, at + 1, start_s)
    world.settle()
    wanted = world.expected({"acme": "si_1"})
    for start_s in hours:
        held = chance.choice((0, 3, 100))
        world.stripe.cells["si_1", start_s] = held
        restate(world, str(held), key=cell_key("stripe", "default", f"si_1|{start_s}"))
    world.lost_replies, world.slow = 0.3, 0.2
    for _ in range(400):
        worker = world.worker or world.start()
        world.step(worker)
        if chance.random() < 0.05:
            chance.choice((world.kill, world.suspend, world.wake))()
        world.pass_time(chance.choice((1, 20, 2_000, 70_000)))
    world.asleep.clear()
    world.settle()
    work(world)
    assert world.standing() == wanted
    assert world.double_intents == [] and world.stripe.errors == []


def test_the_log_carries_it_to_the_report() -> None:
    """A restatement on the customer's home is published as it is, round its codec; one that makes no sense, or lies elsewhere, is refused."""
    customer = customers(1)[0]
    said = RestateRecord(target=KEY.decode(), revision=3, attempt=1, stands="7", beside="2", reason="read by hand", who="ops")
    bad = [
        msgspec.structs.replace(said, stands="seven"),
        msgspec.structs.replace(said, beside="-1"),
        msgspec.structs.replace(said, revision=-1),
        msgspec.structs.replace(said, start_s=5),
        msgspec.structs.replace(said, revision=0, attempt=0),
    ]
    log = Log()
    log.add(*meters_record((Meter(slug="calls", event_type="e"),)), 1)
    for record in (said, *bad):
        event = restate_event(customer, record)
        log.add(event.key, event.value, 2)
    log.add(b"somebody", restate_event(customer, said).value, 3)
    partition = fresh(Disk(), random.Random(0))
    for batch in log.batches(0, random.Random(0)):
        partition.apply(batch)
    found = [one for one in partition.state.facts.definitions if isinstance(one, Restatement)]
    assert [(one.customer, one.said, one.offset) for one in found] == [(customer, said, 1)]
    assert partition.counters.rejected == len(bad) + 1
    assert decode_definition(encode(found[0]), "test") == found[0]
    assert definition_key(found[0]) == encode(["restatement", KEY.decode(), 1])


def test_a_receipt_that_was_written_before_says_that_nothing_is_beside() -> None:
    """Receipts of earlier programs are read as they were."""
    world = delivered()
    plain = msgspec.json.decode(encode(cell(world)))
    old = msgspec.json.encode({name: value for name, value in plain.items() if name not in {"beside", "crc"}} | {"v": 1})
    assert b"beside" not in old and decode_receipt(old, "test").beside == "0"  # type: ignore[union-attr]
