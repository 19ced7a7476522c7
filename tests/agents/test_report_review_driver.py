"""The driver of one partition with a log and a provider that are objects: what is awaited, what is not, and what an error leaves behind."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field

import pytest

from sinks.outcomes import Answer, Refused, RetryAfter
from sinks.readback import Summary
from sinks.remedy_calls import LookUp, Quote, Quoted
from sinks.stripe.app import ReportSettings, ReportWorker
from sinks.stripe.app_calls import happens
from sinks.stripe.app_ports import LostOwnership
from tests.agents.report_bench import Counted, OneFlow, batch_of, item_of, total_of, tp_of, until
from topics.bindings import ItemVersion
from topics.catalog import DEFINITIONS
from topics.definitions import Definition
from topics.errors import MalformedRecord, Unreachable
from topics.meters import BEGINNING_S
from topics.receipt import CellReceipt, Receipt
from topics.window_total import WindowTotal

NOW_S = 1_700_000_000
KEY = "sk_test_canary_5f1d"


@dataclass
class Broker:
    """Receipts and definitions of one partition; `faults` says what the next transactions meet."""

    receipts: dict[bytes, Receipt] = field(default_factory=dict)
    definitions: list[Definition] = field(default_factory=list)
    faults: Callable[[], str] = lambda: ""
    writer: FakeLog | None = None
    written: int = 0
    holds_back: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        """Nothing is held back until a test says so."""
        self.holds_back.set()


class FakeLog:
    """`app_ports.Log` on a Broker."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._read = 0

    @property
    def defined_to(self) -> int:
        """See Log."""
        return self._read

    async def open(self) -> tuple[list[Receipt], list[Definition]]:
        """See Log."""
        await asyncio.sleep(0)
        if self._broker.faults() == "away":
            raise Unreachable("no broker")
        self._broker.writer = self
        self._read = len(self._broker.definitions)
        return list(self._broker.receipts.values()), list(self._broker.definitions)

    async def write(self, records: Iterable[tuple[bytes, Receipt]]) -> None:
        """See Log."""
        fault = self._broker.faults()
        await asyncio.sleep(0)
        if self._broker.writer is not self:
            raise LostOwnership("another worker reports it now")
        if fault == "lost":
            raise Unreachable("not committed")
        self._broker.receipts.update(records)
        self._broker.written += 1
        await asyncio.sleep(0)
        if fault == "unknown":
            raise Unreachable("committed, but nobody heard")

    async def new_definitions(self) -> list[Definition]:
        """See Log."""
        await self._broker.holds_back.wait()
        await asyncio.sleep(0.005)
        found = self._broker.definitions[self._read :]
        self._read += len(found)
        return found

    async def close(self) -> None:
        """See Log."""
        await asyncio.sleep(0)


class FakeProvider:
    """`app_ports.Provider`: cells with `set`, and the bytes of each key."""

    def __init__(self) -> None:
        self.cells: dict[tuple[str, int], int] = {}
        self.keys: dict[str, str] = {}
        self.chance = random.Random(7)
        self.lost = 0.0
        self.explodes = False

    def report(self, path: str, body: str, idempotency_key: str, may_send: Callable[[], bool]) -> Answer:
        """See Provider."""
        if self.explodes:
            raise RuntimeError("a defect")
        if not may_send():
            return Answer(None, sent=False, late=True)
        assert self.keys.setdefault(idempotency_key, path + body) == path + body
        form = dict(pair.split("=") for pair in body.split("&"))
        item, second, units = path.split("/")[3], int(form["timestamp"]), int(form["quantity"])
        self.cells[item, second] = units
        if self.chance.random() < self.lost:
            return Answer(None, error="reset")
        return Answer(200, json.dumps({"object": "usage_record", "quantity": units, "subscription_item": item, "timestamp": second}))

    def quote(self, asked: Quote) -> Quoted | Refused | RetryAfter:
        """Never asked."""
        raise NotImplementedError

    def look_up(self, asked: LookUp) -> str | RetryAfter:
        """Never asked."""
        raise NotImplementedError

    def event_summaries(self, event_name: str, customer: str, grouping: str, start_s: int, end_s: int) -> list[Summary] | RetryAfter:
        """Never asked."""
        raise NotImplementedError

    def summaries(self, item: str, back_to_s: int) -> list[Summary] | RetryAfter:
        """See Provider."""
        raise AssertionError("nothing is old here")

    def close(self) -> None:
        """See Provider."""


@dataclass
class Bench:
    """A broker, a provider, a flow and a worker on partition 0."""

    broker: Broker = field(default_factory=Broker)
    provider: FakeProvider = field(default_factory=FakeProvider)
    flow: OneFlow = field(default_factory=lambda: OneFlow({tp_of(): 1}))
    worker: ReportWorker = field(init=False)

    def __post_init__(self) -> None:
        """The worker, not started."""
        settings = ReportSettings(bootstrap="-", api_base="http://-", api_key=KEY, calls_per_second=5000)
        open_log: Callable[[int], FakeLog] = lambda _partition: FakeLog(self.broker)  # noqa: E731
        self.worker = ReportWorker(settings, flow=self.flow, metrics=Counted(), provider=self.provider, open_log=open_log)

    async def start(self) -> None:
        """Take the partition."""
        await self.worker.start_offsets(frozenset({tp_of()}), 1)

    def define(self, item: str | None, valid_from_s: int) -> None:
        """Publish a version of acme's item."""
        number = len(self.broker.definitions)
        bound = None if item is None else item_of(item, NOW_S - 20 * 86_400)
        self.broker.definitions.append(ItemVersion(customer="acme", meter="calls", item=bound, valid_from_s=valid_from_s, offset=number, digest="d"))
        self.flow.ends[DEFINITIONS, 0] = number + 1

    def counts(self) -> dict[str, int]:
        """What status shows, without what is zero."""
        windows: dict[str, int] = self.worker.status()["windows"]
        return {state: number for state, number in windows.items() if number}


async def test_a_total_waits_for_the_definitions_before_it() -> None:
    """A total of a window that a newer item bills goes to that item, though the worker had not read the item's version when the total came."""
    bench = Bench()
    bench.define("si_old", BEGINNING_S)
    await bench.start()
    bench.broker.holds_back.clear()
    await asyncio.sleep(0.02)
    bench.define("si_new", NOW_S - 600)
    taking = asyncio.create_task(bench.worker.take(batch_of([total_of("acme", NOW_S - 300, 7, 1)], 0, 1)))
    await asyncio.sleep(0.05)
    assert bench.counts() == {} and not taking.done()
    bench.broker.holds_back.set()
    await taking
    await until(lambda: bench.counts() == {"delivered": 1})
    await bench.worker.stop()
    assert bench.provider.cells == {("si_new", NOW_S - 300): 7}


async def test_a_waiting_total_stops_nobody_from_leaving() -> None:
    """A partition that is taken away while a total waits for definitions is let go, and the total is the successor's."""
    bench = Bench()
    await bench.start()
    bench.flow.ends[DEFINITIONS, 0] = 99
    taking = asyncio.create_task(bench.worker.take(batch_of([total_of("acme", NOW_S - 300, 7, 1)], 0, 1)))
    await asyncio.sleep(0.02)
    await bench.worker.on_revoked(frozenset({tp_of()}))
    await asyncio.wait_for(taking, 5)
    assert bench.flow.marked.get(tp_of(), 0) == 0 and bench.broker.receipts == {}
    await bench.worker.stop()


async def test_a_broker_that_does_not_say_where_definitions_end_is_asked_again() -> None:
    """While the end of `usage.definitions` cannot be asked, totals wait; nothing is guessed and nothing halts."""
    bench = Bench()
    bench.define("si_1", BEGINNING_S)
    await bench.start()
    asked, real = 0, bench.flow.last_stable_offset

    async def away(tp: tuple[str, int]) -> int:
        nonlocal asked
        asked += 1
        if asked < 3:
            raise Unreachable("no broker")
        return await real(tp)

    bench.flow.last_stable_offset = away  # type: ignore[method-assign]
    await bench.worker.take(batch_of([total_of("acme", NOW_S - 300, 7, 1)], 0, 1))
    await until(lambda: bench.counts() == {"delivered": 1})
    assert asked == 3 and bench.worker.halted is None
    await bench.worker.stop()


async def test_a_wait_does_not_miss_its_cancellation() -> None:
    """A loop that is told to end just as what it waits for happens does end (asyncio.wait_for of Python 3.11 goes on)."""
    event = asyncio.Event()
    again = asyncio.create_task(happens(event, 30))
    await asyncio.sleep(0.01)
    event.set()
    again.cancel()
    with pytest.raises(asyncio.CancelledError):
        await again


@pytest.mark.parametrize("seed", range(6))
async def test_transactions_of_unknown_outcome_end_exact(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Transactions that fail, or succeed unheard, under lost replies and while totals come, end with all totals delivered and all offsets done."""
    monkeypatch.setattr("sinks.stripe.app_driver.FIRST_PAUSE_S", 0.01)
    bench, chance = Bench(), random.Random(seed)
    bench.provider.lost = 0.2
    bench.define("si_1", BEGINNING_S)
    bench.broker.faults = lambda: chance.choice(("", "", "lost", "unknown", "away"))
    await bench.start()
    source: list[WindowTotal] = []
    for _ in range(8):
        more = [total_of("acme", NOW_S - 60 * chance.randrange(1, 12), chance.randrange(99), len(source) + at) for at in range(8)]
        await bench.worker.take(batch_of(more, len(source), 1))
        source += more
        await asyncio.sleep(0.02)
    bench.broker.faults, bench.provider.lost = (lambda: ""), 0.0
    await until(lambda: bench.counts().keys() == {"delivered"} and bench.flow.marked.get(tp_of()) == len(source))
    await bench.worker.stop()
    latest = {total.window.start_s: int(total.quantity) for total in source}
    assert bench.provider.cells == {("si_1", start_s): units for start_s, units in latest.items()}
    cells = [receipt for receipt in bench.broker.receipts.values() if isinstance(receipt, CellReceipt)]
    assert {receipt.timestamp_s: int(receipt.units) for receipt in cells} == latest


async def test_an_offset_is_marked_after_its_transaction() -> None:
    """While the transaction that holds a total is under way, or was refused, the source is not committed past that total (law 5)."""
    bench = Bench()
    bench.define("si_1", BEGINNING_S)
    await bench.start()
    bench.broker.faults = lambda: "lost"
    await bench.worker.take(batch_of([total_of("acme", NOW_S - 300, 7, 1)], 0, 1))
    await asyncio.sleep(0.3)
    assert bench.flow.marked.get(tp_of(), 0) == 0 and bench.provider.cells == {}
    bench.broker.faults = lambda: ""
    await until(lambda: bench.flow.marked.get(tp_of()) == 1)
    await bench.worker.stop()


async def test_a_call_that_waited_too_long_for_its_turn_is_not_made() -> None:
    """A clock that jumps between the picking of a call and its socket (a suspended process) makes it wait for a new commit: the key is the same."""
    bench = Bench()
    bench.define("si_1", BEGINNING_S)
    clock, real = NOW_S * 1000, bench.provider.report
    sent: list[tuple[str, bool]] = []

    def report(path: str, body: str, idempotency_key: str, may_send: Callable[[], bool]) -> Answer:
        nonlocal clock
        clock += 0 if sent else 61_000
        sent.append((idempotency_key, may_send()))
        return real(path, body, idempotency_key, may_send)

    bench.provider.report = report  # type: ignore[method-assign]
    for clocked in (bench.worker, bench.worker._caller):
        clocked._now_ms = lambda: clock
    await bench.start()
    await bench.worker.take(batch_of([total_of("acme", NOW_S - 300, 7, 1)], 0, 1))
    await until(lambda: bench.counts() == {"delivered": 1})
    await bench.worker.stop()
    assert [made for _, made in sent] == [False, True] and sent[0][0] == sent[1][0]


async def test_a_worker_that_was_fenced_waits_and_makes_no_call(monkeypatch: pytest.MonkeyPatch) -> None:
    """Once another worker has opened the partition's log nothing more is called from here; if the partition is still ours later, all is read anew."""
    monkeypatch.setattr("sinks.stripe.app_driver.LOST_PAUSE_S", 0.2)
    bench = Bench()
    bench.define("si_1", BEGINNING_S)
    await bench.start()
    other = FakeLog(bench.broker)
    await other.open()
    await bench.worker.take(batch_of([total_of("acme", NOW_S - 300, 7, 1)], 0, 1))
    await asyncio.sleep(0.1)
    assert bench.provider.cells == {} and bench.broker.written == 0
    assert "another worker" in bench.worker.status()["waiting"]
    await until(lambda: bench.counts() == {"delivered": 1})
    await bench.worker.stop()


async def test_no_call_starts_for_a_partition_that_has_moved() -> None:
    """As soon as the group says that the partition is another's, intents that are written already are left to the other."""
    bench = Bench()
    bench.define("si_1", BEGINNING_S)
    await bench.start()
    await bench.worker.take(batch_of([total_of("acme", NOW_S - 300, 7, 1)], 0, 1))
    bench.flow.epochs[tp_of()] = 2
    await until(lambda: bench.broker.written == 1)
    await asyncio.sleep(0.05)
    assert bench.provider.cells == {} and bench.flow.marked.get(tp_of(), 0) == 0
    await bench.worker.stop()


async def test_a_loop_that_swallows_its_cancellation_holds_nothing_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a library eats the cancellation of the loop that reads definitions, the partition is still built anew after an error of Kafka's."""
    monkeypatch.setattr("sinks.stripe.app_driver.FIRST_PAUSE_S", 0.01)
    bench = Bench()
    bench.define("si_1", BEGINNING_S)

    async def deaf(_log: FakeLog) -> list[Definition]:
        with suppress(asyncio.CancelledError):
            await asyncio.sleep(0.01)
        return []

    monkeypatch.setattr(FakeLog, "new_definitions", deaf)
    faults = iter(("", "lost"))
    bench.broker.faults = lambda: next(faults, "")
    await bench.start()
    await bench.worker.take(batch_of([total_of("acme", NOW_S - 300, 7, 1)], 0, 1))
    await until(lambda: bench.counts() == {"delivered": 1}, 5)
    assert bench.worker.halted is None
    await bench.worker.stop()


async def test_a_defect_stops_the_partition_and_says_no_secret(caplog: pytest.LogCaptureFixture) -> None:
    """What nobody foresaw halts the partition: no further call is made, no offset passes it, and nothing that is said holds the key."""
    bench = Bench()
    bench.define("si_1", BEGINNING_S)
    bench.provider.explodes = True
    await bench.start()
    await bench.worker.take(batch_of([total_of("acme", NOW_S - 300, 7, 1)], 0, 1))
    await until(lambda: bench.worker.halted is not None)
    bench.provider.explodes = False
    await bench.worker.take(batch_of([total_of("acme", NOW_S - 600, 7, 2)], 1, 1))
    await asyncio.sleep(0.05)
    assert bench.provider.cells == {} and bench.flow.marked.get(tp_of(), 0) <= 1
    await bench.worker.stop()
    assert KEY not in caplog.text + str(bench.worker.halted) + repr(bench.worker._settings)


async def test_a_halted_partition_stops_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """A record that cannot be read halts its partition; the next partition's totals are delivered."""
    other = tp_of(1)
    bench = Bench(flow=OneFlow({tp_of(): 1, other: 1}))
    bench.define("si_1", BEGINNING_S)
    brokers = {0: bench.broker, 1: Broker(definitions=bench.broker.definitions)}
    monkeypatch.setattr(bench.worker, "_open_log", lambda partition: FakeLog(brokers[partition]))
    await bench.worker.start_offsets(frozenset({tp_of(), other}), 1)
    bad = batch_of([total_of("acme", NOW_S - 300, 7, 1)], 0, 1)
    bad.values[0] = b"{}"  # type: ignore[index]
    await bench.worker.take(bad)
    await bench.worker.take(batch_of([total_of("acme", NOW_S - 300, 7, 1)], 0, 1, partition=1))
    await until(lambda: bench.counts() == {"delivered": 1})
    assert bench.worker.halted is not None and bench.flow.marked == {other: 1}
    await bench.worker.stop()


async def test_an_unreadable_definition_halts_a_waiting_total() -> None:
    """Where the definitions cannot be read on, the total before which they stand is not guessed at: the partition halts, and taking it ends."""
    bench = Bench()
    await bench.start()

    async def broken(_log: FakeLog) -> list[Definition]:
        raise MalformedRecord("usage.definitions 0 offset 3: no")

    bench.flow.ends[DEFINITIONS, 0] = 4
    taking = asyncio.create_task(bench.worker.take(batch_of([total_of("acme", NOW_S - 300, 7, 1)], 0, 1)))
    bench.broker.writer.__class__.new_definitions, kept = broken, FakeLog.new_definitions  # type: ignore[method-assign,union-attr]
    try:
        await asyncio.wait_for(taking, 5)
    finally:
        FakeLog.new_definitions = kept  # type: ignore[method-assign]
    assert bench.worker.halted is not None and "offset 3" in bench.worker.halted
    assert bench.broker.receipts == {}
    await bench.worker.stop()
