"""Restatements that cannot be meant, or are older than what they speak of: nothing comes of them, and every record can be read by all."""

from __future__ import annotations

import random

import msgspec
import pytest

from infra.control import restate_event
from sinks.remedy_calls import Quote
from tests.core.meterlog import Disk, Log, customers, fresh, meters_record
from tests.core.report_world import START_S, World, total_of
from tests.core.test_report_adjustments import billed_world, invoice
from tests.core.test_report_meters import held, meters_world
from tests.core.test_report_receipts import HOUR_S, KEY, cell
from tests.core.test_report_remedies import world_of as billing_world
from tests.core.test_report_restated import STRAY_S, delivered, metered, restate, work
from topics.meters import Meter
from topics.quantity import ONE
from topics.receipt import CellReceipt, cell_key, decode_receipt, receipt_key
from topics.restating import Restatement, RestateRecord


def readable(world: World) -> None:
    """Everything that the report wrote can be read by its successor, and by the archive."""
    for _, value in world.log:
        decode_receipt(value, "test")


@pytest.mark.parametrize("stands", ["-5", "1.5", "12345678901234567890123"])
@pytest.mark.parametrize("final", [False, True])
def test_what_no_usage_record_can_hold_is_no_word_on_it(stands: str, final: bool) -> None:
    """A cell of whole units cannot be found to hold less than none, parts of a unit, or more than the provider's numbers: nothing is written."""
    world = billed_world() if final else delivered()
    if final:
        world.define(invoice())
    work(world)
    records = len(world.log)
    restate(world, stands)
    work(world)
    assert len(world.log) == records
    readable(world)


@pytest.mark.parametrize("beside", ["1.5", "12345678901234567890123"])
def test_what_no_record_can_leave_out_is_no_word_on_it(beside: str) -> None:
    """Parts of a unit cannot stand beside a cell of whole ones; the worker goes on."""
    world = delivered()
    records = len(world.log)
    restate(world, "7", beside=beside)
    work(world)
    assert len(world.log) == records


@pytest.mark.parametrize("stands", ["007", "5.0", "5.000000000000", "-0"])
def test_a_number_means_the_same_however_it_is_written(stands: str) -> None:
    """Zeros and signs that say nothing make no other word: a final cell that holds what it should is no adjustment."""
    world = billed_world()
    world.define(invoice())
    work(world)
    restate(world, stands)
    work(world)
    readable(world)
    found = cell(world).adjustment
    difference = {"007": "-2", "-0": "5"}.get(stands)
    assert (None if found is None else found.units) == difference
    assert cell(world).standing is not None and cell(world).standing.units in {"7", "5", "0"}  # type: ignore[union-attr]


@pytest.mark.parametrize("beside", ["0.0", "00", "-0"])
def test_nothing_beside_a_meters_hour_is_nothing(beside: str) -> None:
    """However nothing is written, nothing stands beside an hour of a meter."""
    world, key = metered("hour")
    restate(world, "3", key=key, beside=beside)
    work(world)
    after = world.last[key]
    assert isinstance(after, CellReceipt) and (after.revision, after.beside) == (2, "0")


def test_a_stray_hour_of_a_meter_has_nothing_beside_it() -> None:
    """A meter's hour holds one number, also where no receipt says so yet."""
    world = meters_world(1, {"acme": "hour"})
    world.source.append(total_of("acme", HOUR_S, 7 * ONE, 1, size_s=900))
    world.settle()
    (key,) = (key for key, value in world.last.items() if isinstance(value, CellReceipt))
    other_s = HOUR_S - 7200
    name = key.decode().replace(str(HOUR_S // 3600 * 3600), str(other_s // 3600 * 3600)).encode()
    assert name != key
    records = len(world.log)
    restate(world, "3", key=name, beside="1", meter="calls", start_s=other_s)
    work(world)
    assert len(world.log) == records
    restate(world, "3", key=name, meter="calls", start_s=other_s)
    work(world)
    assert isinstance(world.last[name], CellReceipt)


def test_what_was_read_before_an_answer_says_nothing_after_it() -> None:
    """A sum held nothing while the event was on its way: the word on that, read again by every successor, never has it sent twice."""
    world, key = metered("sum")
    receipt = world.last[key]
    assert isinstance(receipt, CellReceipt) and receipt.reported_at_ms is not None
    restate(world, "0", key=key, read_at_ms=receipt.reported_at_ms - 1)
    for _ in range(2):
        work(world)
        world.kill()
        world.start()
    assert sum(held(world, {"acme": "sum"}).values()) == 7
    restate(world, "0", key=key, read_at_ms=receipt.reported_at_ms + 1)
    work(world)
    after = world.last[key]
    assert isinstance(after, CellReceipt) and after.revision == 2


def test_another_customers_word_says_nothing_of_a_cell() -> None:
    """A restatement is its customer's: under another one's name it changes nothing."""
    world = delivered()
    records = len(world.log)
    said = RestateRecord(target=KEY.decode(), revision=1, attempt=1, stands="0")
    world.define(Restatement(customer="somebody", said=said, offset=1000))
    stray = RestateRecord(
        target=cell_key("stripe", "default", f"si_1|{STRAY_S}").decode(), revision=0, attempt=0, stands="7", meter="calls", start_s=STRAY_S
    )
    world.define(Restatement(customer="somebody", said=stray, offset=1001))
    work(world)
    assert len(world.log) == records


def test_the_log_refuses_parts_of_a_unit_beside_a_cell() -> None:
    """What can never be meant is told to who says it, as `bad_control`."""
    customer = customers(1)[0]
    said = RestateRecord(target=KEY.decode(), revision=3, attempt=1, stands="7", beside="1.5", reason="read by hand", who="ops")
    log = Log()
    log.add(*meters_record((Meter(slug="calls", event_type="e"),)), 1)
    for record in (said, msgspec.structs.replace(said, beside="2", read_at_ms=-1), msgspec.structs.replace(said, beside="2", read_at_ms=5)):
        event = restate_event(customer, record)
        log.add(event.key, event.value, 2)
    partition = fresh(Disk(), random.Random(0))
    for batch in log.batches(0, random.Random(0)):
        partition.apply(batch)
    assert partition.counters.rejected == 2


def test_what_is_found_comes_before_the_policy() -> None:
    """What an operator found to stand is not billed elsewhere as well, where its record waits behind others: it is written first."""
    world = billing_world("invoice_item")
    world.source.append(total_of("acme", START_S - 3600, 27 * ONE, 2))
    world.feed()
    assert world.worker is not None
    machine = world.worker.machine
    while (write := machine.next_write(world.now_ms)) is not None:
        world.commit(world.worker, write.records)
        machine.written(write, world.now_ms)
    (adjusted,) = (receipt for receipt in world.receipts() if receipt.adjustment is not None)
    restate(world, "27", key=receipt_key(adjusted))
    for call in machine.remedies.next_calls(world.now_ms, 9):
        assert isinstance(call, Quote)
        machine.remedies.quoted(call, world.quote(call), world.now_ms)
    machine.remedies.next_calls(world.now_ms, 9)
    world.work()
    (adjusted,) = (receipt for receipt in world.receipts() if receipt.adjustment is not None)
    assert adjusted.adjustment is not None and (adjusted.adjustment.units, adjusted.adjustment.settled) == ("0", "0")
    assert world.stripe.made == []
