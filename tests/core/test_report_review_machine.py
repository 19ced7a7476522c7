"""Single interleavings of the delivery machine that once went wrong, each with the amount that would have been billed elsewhere, twice or never."""

from __future__ import annotations

import pytest

from sinks.calls import CALL_WITHIN_MS, QUIET_MS, UNKNOWN_AFTER_MS, Call, ReadBack
from sinks.lanes import Lanes
from sinks.outcomes import Answer, Delivered, RetryAfter, TooLate
from sinks.readback import Summary
from sinks.receipts import Deliveries
from tests.core.report_world import ANCHOR_S, START_S, Worker, World, binding, item_of, total_of
from topics.quantity import ONE
from topics.receipt import CellReceipt, Receipt, WindowReceipt, cell_key, parked_key

HOUR_S = START_S - 3600
WHOLE = Summary(0, 4_000_000_000, 0)


def ready(world: World) -> Worker:
    """A worker that has read everything and written its first intents."""
    worker = world.start()
    world.feed()
    write(world, worker)
    return worker


def write(world: World, worker: Worker) -> list[Receipt]:
    """The worker's next transaction."""
    found = worker.machine.next_write(world.now_ms)
    if found is None:
        return []
    world.commit(worker, found.records)
    worker.machine.written(found, world.now_ms)
    return [receipt for _, receipt in found.records]


def cell_of(world: World, second: int = HOUR_S, item: str = "si_1") -> CellReceipt:
    """The last receipt of a cell."""
    receipt = world.last[cell_key("stripe", "default", f"{item}|{second}")]
    assert isinstance(receipt, CellReceipt)
    return receipt


@pytest.mark.parametrize("restart", [False, True])
def test_a_gap_between_two_items_stays_unbound(restart: bool) -> None:
    """Usage of an hour in which a customer had no item goes to neither the item before nor the one after, also when all is read anew."""
    world = World(1)
    world.start()
    world.define(binding("acme", item_of("si_old"), 0))
    world.define(binding("acme", None, 1, valid_from_s=HOUR_S))
    world.source.append(total_of("acme", HOUR_S, 7 * ONE, 5))
    world.settle()
    world.define(binding("acme", item_of("si_new"), 2, valid_from_s=START_S))
    if restart:
        world.kill()
    world.settle()
    assert world.worker is not None and world.worker.machine.tally.counts()["unbound"] == 1
    assert world.standing() == {}


def test_a_parking_ends_only_with_a_record_that_holds_the_window() -> None:
    """A window that joins a cell with an open intent stays parked in the receipts until the next intent sums it, so no crash loses it."""
    world = World(1)
    world.definitions += [
        binding("acme", item_of("si_1"), 0),
        binding("acme", None, 1, valid_from_s=ANCHOR_S + 1),
    ]
    world.source += [total_of("acme", ANCHOR_S, 3 * ONE, 5, size_s=1), total_of("acme", ANCHOR_S + 1, 4 * ONE, 6, size_s=9)]
    worker = ready(world)
    world.committed = worker.machine.committable
    assert world.committed == 2, "one is an intent, the other parked unbound"
    calls = worker.machine.next_calls(world.now_ms, 16)
    world.define(binding("acme", item_of("si_1"), 2, valid_from_s=ANCHOR_S + 1))
    assert isinstance(calls[0], Call)
    intent = calls[0].intent
    worker.machine.answered(calls[0], Delivered(http_status=200), world.now_ms)
    world.stripe.post(intent.path, intent.body, intent.idempotency_key, world.now_ms)
    write(world, worker)
    world.kill()
    world.settle()
    assert world.standing() == {("si_1", ANCHOR_S + 1): 7}
    ended = world.last[parked_key(f"acme|calls|{ANCHOR_S + 1}|{ANCHOR_S + 10}")]
    assert isinstance(ended, WindowReceipt) and ended.state == "bound"


@pytest.mark.parametrize("thawed_after_ms", [1, 20_000, CALL_WITHIN_MS - 1])
def test_nothing_is_read_back_while_a_predecessor_may_still_send(thawed_after_ms: int) -> None:
    """A worker that asserted an intent just before its key's end, was suspended and wakes within its 60 s, cannot land on top of a correction."""
    world = World(1)
    world.definitions.append(binding("acme", item_of("si_1")))
    world.source.append(total_of("acme", HOUR_S, 5 * ONE, 1))
    ready(world)
    world.kill()
    world.pass_time(UNKNOWN_AFTER_MS - 2_000)
    sleeper = ready(world)  # asserts the intent, and is suspended with its call in hand
    calls = sleeper.machine.next_calls(world.now_ms, 16)
    assert isinstance(calls[0], Call)
    world.suspend()
    world.source.append(total_of("acme", HOUR_S, 9 * ONE, 2))
    world.start()
    until_ms = world.now_ms + thawed_after_ms
    world.feed()
    while world.now_ms < until_ms:
        for _ in range(40):
            world.step(world.worker)  # type: ignore[arg-type]
        world.pass_time(max(1, thawed_after_ms // 20))
    if world.now_ms <= calls[0].not_after_ms:
        intent = calls[0].intent
        world.stripe.post(intent.path, intent.body, intent.idempotency_key, world.now_ms)
    world.settle()
    assert world.standing() == {("si_1", HOUR_S): 9}


def test_no_call_starts_under_a_key_of_23_hours() -> None:
    """However young the commit is, the call's latest start is the end of its key's day; the reading back comes a quiet while after it."""
    world = World(1)
    world.definitions.append(binding("acme", item_of("si_1")))
    world.source.append(total_of("acme", HOUR_S, 5 * ONE, 1))
    ready(world)
    began_ms = cell_of(world).intent_at_ms
    world.kill()
    world.now_ms = began_ms + UNKNOWN_AFTER_MS - 1_000
    worker = ready(world)
    calls = worker.machine.next_calls(world.now_ms, 16)
    assert isinstance(calls[0], Call) and calls[0].not_after_ms == began_ms + UNKNOWN_AFTER_MS
    worker.machine.answered(calls[0], RetryAfter(reason="no_answer", down=True), world.now_ms)
    for now_ms in range(began_ms + UNKNOWN_AFTER_MS, began_ms + UNKNOWN_AFTER_MS + QUIET_MS, 10_000):
        world.now_ms = now_ms
        write(world, worker)
        assert worker.machine.next_calls(now_ms, 16) == []
    world.now_ms = began_ms + UNKNOWN_AFTER_MS + QUIET_MS
    assert isinstance(worker.machine.next_calls(world.now_ms, 16)[0], ReadBack)


def test_a_call_starts_within_a_minute_of_its_commit() -> None:
    """The latest start of a call is 60 s after the transaction that wrote its intent began; after that it is written again first (law 13)."""
    world = World(1)
    world.definitions.append(binding("acme", item_of("si_1")))
    world.source.append(total_of("acme", HOUR_S, 5 * ONE, 1))
    worker = world.start()
    world.feed()
    found, began_ms = worker.machine.next_write(world.now_ms), world.now_ms
    assert found is not None
    world.pass_time(3_000)
    worker.machine.written(found, began_ms)
    call = worker.machine.next_calls(world.now_ms, 1)[0]
    assert isinstance(call, Call) and call.not_after_ms == began_ms + CALL_WITHIN_MS
    worker.machine.answered(call, TooLate(), world.now_ms)
    assert worker.machine.next_calls(world.now_ms, 1) == []
    assert [receipt.idempotency_key for receipt in write(world, worker) if isinstance(receipt, CellReceipt)] == [call.intent.idempotency_key]
    assert isinstance(worker.machine.next_calls(world.now_ms, 1)[0], Call)


def test_a_request_that_hangs_lands_before_the_reading_back() -> None:
    """A request sent at the end of its key's day that executes ten minutes later is seen by the reading back, and the correction lands after it."""
    world = World(1)
    world.definitions.append(binding("acme", item_of("si_1")))
    world.source.append(total_of("acme", HOUR_S, 5 * ONE, 1))
    ready(world)
    world.kill()
    world.now_ms += UNKNOWN_AFTER_MS - 1_000
    worker = ready(world)
    call = worker.machine.next_calls(world.now_ms, 1)[0]
    assert isinstance(call, Call)
    world.wire.append((world.now_ms + 600_000, call, [Answer(None)]))
    worker.machine.answered(call, RetryAfter(reason="no_answer", down=True), world.now_ms)
    world.source.append(total_of("acme", HOUR_S, 9 * ONE, 2))
    world.settle()
    world.pass_time(600_000)
    assert world.standing() == {("si_1", HOUR_S): 9}


def test_a_correction_of_a_parked_window_is_committed_with_its_record() -> None:
    """The offset of a later total of a window without an item is done once the receipts hold that total, not before."""
    world = World(1)
    world.source.append(total_of("acme", HOUR_S, 5 * ONE, 1))
    worker = ready(world)
    assert worker.machine.committable == 1
    world.source.append(total_of("acme", HOUR_S, 9 * ONE, 2))
    world.feed()
    assert worker.machine.committable == 1
    write(world, worker)
    assert worker.machine.committable == 2


def test_a_reading_back_overrules_no_answer() -> None:
    """An answer that came and is not written yet is what the receipts will say, whatever the total allows to conclude meanwhile."""
    world = World(1)
    world.definitions.append(binding("acme", item_of("si_1")))
    for hours in (1, 2):
        world.source.append(total_of("acme", START_S - 3600 * hours, 5 * ONE, hours))
    worker = ready(world)
    first = worker.machine.next_calls(world.now_ms, 16)[0]
    assert isinstance(first, Call)
    world.now_ms += UNKNOWN_AFTER_MS + QUIET_MS
    worker.machine.answered(first, Delivered(http_status=200), world.now_ms)
    other = worker.machine.next_calls(world.now_ms, 16)[0]
    assert isinstance(other, ReadBack)
    worker.machine.read_back(other, [WHOLE._replace(total=5)], world.now_ms)
    write(world, worker)
    assert (cell_of(world, first.intent.timestamp_s).state, cell_of(world, first.intent.timestamp_s).http_status) == ("delivered", 200)


def test_an_item_that_is_gone_when_read_back_is_held() -> None:
    """Where the provider has no total for the item any more nothing can be concluded: the cell is held, seen, and asked for no more."""
    world = World(1)
    world.definitions.append(binding("acme", item_of("si_1")))
    world.source.append(total_of("acme", HOUR_S, 5 * ONE, 1))
    worker = ready(world)
    world.now_ms += UNKNOWN_AFTER_MS + QUIET_MS
    call = worker.machine.next_calls(world.now_ms, 16)[0]
    assert isinstance(call, ReadBack)
    worker.machine.read_back(call, [], world.now_ms)
    write(world, worker)
    assert cell_of(world).state == "unknown"
    assert worker.machine.tally.counts()["parked"] == 1
    assert worker.machine.next_calls(world.now_ms + 86_400_000, 16) == []


@pytest.mark.parametrize("seed", range(8))
def test_one_item_that_never_answers_stops_nobody(seed: int) -> None:
    """A single item whose calls all time out opens the breaker while the others are quiet; their windows are delivered all the same."""
    world = World(seed)
    for customer, item in (("acme", "si_bad"), ("zen", "si_1")):
        world.definitions.append(binding(customer, item_of(item)))
    world.source += [total_of("acme", START_S - 3600 * hours, 5 * ONE, hours) for hours in range(1, 22)]
    world.start()
    world.feed()
    late = False
    for now_ms in range(world.now_ms, world.now_ms + 3_600_000, 500):
        world.now_ms = now_ms
        serve(world)
        if now_ms > START_S * 1000 + 1_200_000 and not late:
            late = True
            assert world.worker is not None and world.worker.machine.breaker.is_open
            world.source.append(total_of("zen", HOUR_S, 8 * ONE, 100))
            world.feed()
    assert world.standing() == {("si_1", HOUR_S): 8}


def test_probes_go_round_the_items() -> None:
    """While the provider counts as down, an item with many open intents and the nearest finality is not the only one that is asked."""
    world, lanes = World(1), Lanes()
    for customer, item, count in (("acme", "si_bad", 5), ("zen", "si_1", 1)):
        world.definitions.append(binding(customer, item_of(item)))
        world.source += [total_of(customer, START_S - 3600 * (9 - number), ONE, number) for number in range(count)]
    for cell in ready(world).machine._cells.values():
        cell.waits_for_call = False
        lanes.push_call(cell)
    asked = []
    for _ in range(4):
        cell_asked = lanes.pop_call(in_turn=True)
        assert cell_asked is not None
        asked.append(cell_asked.place.item)
        lanes.call_done(cell_asked.place.lane)
        lanes.push_call(cell_asked)
    assert sorted(asked) == ["si_1", "si_1", "si_bad", "si_bad"]


def serve(world: World) -> None:
    """One turn in which `si_bad` has no answer and all others have theirs."""
    worker = world.worker
    assert worker is not None
    write(world, worker)
    for call in worker.machine.next_calls(world.now_ms, 4):
        assert isinstance(call, Call)
        if call.intent.item == "si_bad":
            worker.machine.answered(call, RetryAfter(reason="no_answer", down=True), world.now_ms)
        else:
            world.stripe.post(call.intent.path, call.intent.body, call.intent.idempotency_key, world.now_ms)
            worker.machine.answered(call, Delivered(http_status=200), world.now_ms)


def test_a_closed_period_is_parked_and_asked_once() -> None:
    """A cell whose period ended while its intent waited is refused, becomes an adjustment, counts as parked, and is never called again (C14)."""
    world = World(1)
    world.definitions.append(binding("acme", item_of("si_1")))
    message = "timestamps must be after the subscription's last invoice period"
    world.stripe.refuse["si_1"] = (400, {"param": "timestamp", "message": message, "type": "invalid_request_error"})
    world.source.append(total_of("acme", HOUR_S, 5 * ONE, 1))
    world.settle()
    world.source.append(total_of("acme", HOUR_S, 6 * ONE, 2))
    world.settle()
    world.kill()
    world.pass_time(3 * 86_400_000)
    world.settle()
    receipt = cell_of(world)
    assert (receipt.state, receipt.outcome, receipt.quantity, world.stripe.posts) == ("adjustment", "open", "6", 1)
    assert receipt.adjustment is not None and (receipt.adjustment.units, receipt.adjustment.cause) == ("6", "period_closed")
    assert world.worker is not None and world.worker.machine.tally.counts()["parked"] == 1


@pytest.mark.parametrize(("status", "error"), [(401, {"message": "Invalid API Key"}), (403, {"message": "no permission"})])
def test_a_wrong_key_parks_nothing_and_heals(status: int, error: dict[str, str]) -> None:
    """While our key is refused, and for longer than keys live, windows wait; with a right one all are delivered, exact."""
    world = World(2)
    for number in range(6):
        world.definitions.append(binding(f"c{number}", item_of(f"si_{number}")))
        world.source.append(total_of(f"c{number}", HOUR_S, (1 + number) * ONE, number))
        world.stripe.refuse[f"si_{number}"] = (status, error)
    world.start()
    for _ in range(20):
        with pytest.raises(AssertionError, match="not done"):
            world.run(limit=300)
        world.pass_time(2 * 3_600_000)
    assert world.worker is not None and world.worker.machine.tally.counts()["parked"] == 0
    world.stripe.refuse.clear()
    world.settle()
    assert world.standing() == {(f"si_{number}", HOUR_S): 1 + number for number in range(6)}


def test_thousands_of_parked_windows_become_cells_at_once() -> None:
    """A binding that arrives after 3,000 windows makes each of them a cell, once, and each parking ends."""
    world = World(1)
    world.source += [total_of("acme", ANCHOR_S + 20 * number, ONE, number, size_s=20) for number in range(3_000)]
    worker = world.start()
    world.feed()
    while write(world, worker):
        pass
    assert worker.machine.tally.counts()["unbound"] == 3_000
    world.define(binding("acme", item_of("si_1")))
    while write(world, worker) or worker.machine.tally.counts()["undelivered"]:
        for call in worker.machine.next_calls(world.now_ms, 16):
            assert isinstance(call, Call)
            worker.machine.answered(call, Delivered(http_status=200), world.now_ms)
    assert worker.machine.tally.counts() == {"delivered": 3_000, "undelivered": 0, "parked": 0, "unbound": 0}
    again = Deliveries(0, "default", 0)
    again.recover(world.compacted(), world.now_ms)
    assert again.tally.counts() == worker.machine.tally.counts()
