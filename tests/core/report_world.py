"""The report in a box: the pure machine, a compacted log that fences, a network, a clock that is a number, and a seed that decides who runs.

Each worker is a few generators; each `yield` is an await of the real shell. Between two of them the worker may be killed, or suspended while
another takes its partition over, and woken again seconds or days later.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from sinks.calls import Call, ReadBack
from sinks.outcomes import Answer, RetryAfter, outcome_of
from sinks.readback import Summary
from sinks.receipts import Deliveries
from sinks.stripe.request import wanted_of
from tests.core.report_stripe import FakeStripe
from topics.bindings import Item, ItemVersion, Release
from topics.codec import encode
from topics.definitions import Definition
from topics.meters import BEGINNING_S
from topics.quantity import ONE
from topics.receipt import CellReceipt, Receipt, WindowReceipt, decode_receipt
from topics.window_total import WindowTotal, window_total
from topics.windows import Window, window_key

START_S = 1_700_000_000
ANCHOR_S = START_S - 86_400
TIMEOUT_MS = 20_000


def item_of(name: str, meter: str = "calls", **more: Any) -> Item:
    """An item whose month began a day before START_S."""
    fields: dict[str, Any] = {"meter": meter, "item": name, "subscription": "sub_1", "period_anchor_s": ANCHOR_S, **more}
    return Item(**fields)


def binding(customer: str, item: Item | None, offset: int = 0, meter: str = "calls", valid_from_s: int = BEGINNING_S) -> ItemVersion:
    """An item put in force."""
    return ItemVersion(customer=customer, meter=meter, item=item, valid_from_s=valid_from_s, offset=offset, digest="d")


def total_of(customer: str, start_s: int, scaled: int, through: int, *, size_s: int = 3600, meter: str = "calls", generation: int = 1) -> WindowTotal:
    """One revision of one window; `scaled` × 10⁻¹² units."""
    window = Window(customer, meter, start_s, start_s + size_s)
    return window_total(window, scaled=scaled, events=1, first_offset=0, revision=(generation, through), partition=0, content_hash=through)


def _both_open(before: CellReceipt, after: CellReceipt) -> bool:
    return before.state == after.state == "intent" and before.idempotency_key != after.idempotency_key


class Fenced(Exception):
    """Another worker holds the transactional id."""


@dataclass
class Worker:
    """One life of a worker on the partition."""

    machine: Deliveries
    tasks: list[Iterator[str]] = field(default_factory=list)
    read_to: int = 0
    calls_out: int = 0


class World:
    """Everything outside of the machine."""

    def __init__(self, seed: int, *, checks_deadline: bool = True) -> None:
        self.chance = random.Random(seed)
        self.now_ms = START_S * 1000
        self.stripe = FakeStripe(self.chance)
        self.source: list[WindowTotal] = []
        self.definitions: list[Definition] = []
        self.log: list[tuple[bytes, bytes]] = []
        self.last: dict[bytes, Receipt] = {}
        self.committed = 0
        self.worker: Worker | None = None
        self.asleep: list[Worker] = []
        self.wire: list[tuple[int, Call, list[Answer]]] = []
        self.lost_replies = 0.0
        self.slow = 0.0
        self.checks_deadline = checks_deadline
        self.double_intents: list[str] = []

    # ── the log ──

    def commit(self, worker: Worker, records: tuple[tuple[bytes, Receipt], ...]) -> None:
        """One transaction; refused to a worker that was taken over."""
        if worker is not self.worker:
            raise Fenced
        for key, receipt in records:
            before = self.last.get(key)
            if isinstance(receipt, CellReceipt) and isinstance(before, CellReceipt) and _both_open(before, receipt):
                self.double_intents.append(receipt.cell)
            self.log.append((key, encode(receipt)))
            self.last[key] = receipt

    def compacted(self) -> list[Receipt]:
        """What recovery may see at worst: only the last record of each key."""
        return [decode_receipt(value, "log") for value in dict(self.log).values()]

    def check_commit(self, offset: int) -> None:
        """Nothing below a committed offset is known to the memory of a worker only."""
        held: dict[str, tuple[int, int]] = {}
        for receipt in self.last.values():
            parts = [(receipt.window, receipt.revision)] if isinstance(receipt, WindowReceipt) else [(p.window, p.revision) for p in receipt.windows]
            for window, revision in parts:
                held[window] = max(held.get(window, (-1, -1)), revision)
        for total in self.source[:offset]:
            assert held.get(window_key(total.window), (-1, -1)) >= total.revision, f"{total} is committed and in no receipt"

    # ── a worker's life ──

    def start(self) -> Worker:
        """A worker takes the partition over: it fences the one before and begins with the compacted receipts."""
        machine = Deliveries(0, "default", self.committed)
        machine.recover(self.compacted(), self.now_ms)
        machine.define(self.definitions, self.now_ms)
        self.worker = Worker(machine, read_to=self.committed)
        self.worker.tasks.append(self._writes(self.worker))
        return self.worker

    def _writes(self, worker: Worker) -> Iterator[str]:
        machine = worker.machine
        while True:
            write = machine.next_write(self.now_ms)
            if write is None:
                self._commit_offset(worker)
                yield "idle"
                continue
            started_ms = self.now_ms
            yield "before commit"
            self.commit(worker, write.records)
            yield "after commit"
            machine.written(write, started_ms)

    def _commit_offset(self, worker: Worker) -> None:
        if worker is self.worker:
            self.check_commit(worker.machine.committable)
            self.committed = max(self.committed, worker.machine.committable)

    def _call(self, worker: Worker, call: Call | ReadBack) -> Iterator[str]:
        worker.calls_out += 1
        yield "handed out"
        yield "waits for a token"
        yield "connects"
        if isinstance(call, ReadBack):
            found = RetryAfter(down=True) if self.stripe.is_down else self._read(call)
            worker.machine.read_back(call, found, self.now_ms)
        else:
            answer: list[Answer] = []
            if self.checks_deadline and self.now_ms > call.not_after_ms:
                answer.append(Answer(None, sent=False, late=True))
            else:
                yield from self._on_the_wire(call, answer)
            intent = call.intent
            worker.machine.answered(call, outcome_of(answer[0], wanted_of(intent)), self.now_ms)
        worker.calls_out -= 1

    def _read(self, call: ReadBack) -> list[Summary]:
        if call.events is None:
            return self.stripe.summaries(call.item)
        target = call.events.target
        return self.stripe.event_summaries(target.event_name, target.customer, call.events.grouping, call.events.start_s, call.events.end_s)

    def _on_the_wire(self, call: Call, answer: list[Answer]) -> Iterator[str]:
        sent_ms = self.now_ms
        delay_ms = self.chance.randrange(600_000) if self.chance.random() < self.slow else 0
        if self.chance.random() < self.lost_replies / 2:
            self.wire.append((sent_ms + delay_ms, call, []))
            yield "its reply is lost"
            answer.append(Answer(None, error="reset"))
            return
        self.wire.append((sent_ms + delay_ms, call, answer))
        self.deliver()
        while not answer and self.now_ms - sent_ms < TIMEOUT_MS:
            yield "waits for the reply"
        if not answer:
            answer.append(Answer(None, error="timeout"))

    def deliver(self) -> None:
        """Requests reach Stripe when their time has come, whoever waits for them or not."""
        due = [entry for entry in self.wire if entry[0] <= self.now_ms]
        self.wire = [entry for entry in self.wire if entry[0] > self.now_ms]
        for _, call, waiting in due:
            reply = self.stripe.post(call.intent.path, call.intent.body, call.intent.idempotency_key, self.now_ms)
            if not waiting:
                waiting.append(reply)

    # ── what happens ──

    def define(self, definition: Definition) -> None:
        """A definition is published, and read by whoever works."""
        self.definitions.append(definition)
        if self.worker is not None:
            self.worker.machine.define([definition], self.now_ms)

    def release(self, receipt_key: bytes) -> None:
        """An operator's release."""
        self.define(Release(customer="", target=receipt_key.decode(), reason="", offset=len(self.definitions)))

    def feed(self) -> None:
        """The worker reads what is new of the source."""
        worker = self.worker
        if worker is None:
            return
        for offset in range(worker.read_to, len(self.source)):
            worker.machine.total(self.source[offset], offset, self.now_ms, self.now_ms)
        worker.read_to = len(self.source)
        worker.machine.advance(len(self.source))

    def kill(self) -> None:
        """kill -9: what was in memory is gone, what is on the wire is not."""
        self.worker = None

    def suspend(self) -> None:
        """SIGSTOP (or a paused machine): another may take over, and this one may wake."""
        if self.worker is not None:
            self.asleep.append(self.worker)
            self.worker = None

    def wake(self) -> None:
        """A suspended worker goes on exactly where it stood, for a while, not knowing."""
        for _ in range(self.chance.randrange(1, 30)):
            for worker in self.asleep:
                self.step(worker)
        self.asleep.clear()

    def step(self, worker: Worker, slots: int = 16) -> None:
        """Let one task of the worker run to its next await; a fenced worker stops."""
        for call in worker.machine.next_calls(self.now_ms, slots - worker.calls_out):
            worker.tasks.append(self._call(worker, call))
        if not worker.tasks:
            return
        task = self.chance.choice(worker.tasks)
        try:
            if next(task, "done") == "done":
                worker.tasks.remove(task)
        except Fenced:
            worker.tasks.clear()

    def pass_time(self, ms: int) -> None:
        """The clock moves on; what is on the wire arrives at its own time, not at the end of the jump."""
        until_ms = self.now_ms + ms
        while self.wire and (arrival_ms := min(entry[0] for entry in self.wire)) <= until_ms:
            self.now_ms = max(self.now_ms, arrival_ms)
            self.deliver()
        self.now_ms = until_ms

    def settle(self, done: Callable[[], bool] | None = None, limit: int = 40_000) -> None:
        """All faults heal; the worker runs until nothing is undelivered (or `done`)."""
        self.stripe.faults, self.stripe.is_down, self.stripe.sticky = {}, False, lambda _key: False
        self.lost_replies = self.slow = 0.0
        if self.worker is None:
            self.start()
        self.run(done, limit)

    def run(self, done: Callable[[], bool] | None = None, limit: int = 40_000) -> None:
        """The worker runs as it is until nothing is undelivered and all is committed (or `done`)."""
        worker = self.worker
        assert worker is not None
        self.feed()
        finished = done or (lambda: worker.machine.tally.counts()["undelivered"] == 0 and self.committed == len(self.source))
        for turn in range(limit):
            if finished():
                return
            self.step(worker)
            if turn % 4 == 3:
                self.pass_time(self.chance.choice((1, 20, 200, 2_000)))
        raise AssertionError(f"not done after {limit} steps: {worker.machine.tally.counts()}, committed {self.committed} of {len(self.source)}")

    def standing(self) -> dict[tuple[str, int], int]:
        """What Stripe bills, cell by cell: one that holds 0 is as good as none."""
        return {cell: units for cell, units in self.stripe.cells.items() if units}

    def expected(self, items: dict[str, str]) -> dict[tuple[str, int], int]:
        """What Stripe must hold: the latest total of each window of a bound customer, summed where windows share a second."""
        latest: dict[Window, WindowTotal] = {}
        for total in self.source:
            if total.window not in latest or total.revision > latest[total.window].revision:
                latest[total.window] = total
        cells: dict[tuple[str, int], int] = {}
        for window, total in latest.items():
            if window.customer in items:
                key = (items[window.customer], max(window.start_s, ANCHOR_S + 1))
                cells[key] = cells.get(key, 0) + total.scaled // ONE
        return {cell: units for cell, units in cells.items() if units}
