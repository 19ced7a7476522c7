"""One partition at work: does what the pure machine (`sinks/receipts.py`) says, in order, and tells it what came of it.

Side effects, and what a crash after each costs:
1. A transaction of receipts is committed. Nothing is lost: the successor reads it, asserts open intents again and resolves them.
2. A call is made, only for an intent committed less than 60 s ago. Its answer may be lost: the successor repeats the same key and bytes.
3. The answer is committed with the next transaction. Before that it counts as lost.
4. The source offset is marked as committable. A replay finds its revisions in the receipts.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from typing import Final

from sinks.calls import Call, ReadBack
from sinks.cell_state import Priority
from sinks.receipts import Deliveries
from sinks.remedy_calls import MODE as REMEDY_MODE
from sinks.remedy_calls import Bill, LookUp, Quote, RemedyCall
from sinks.stripe.app_calls import Caller, happens
from sinks.stripe.app_ports import Log, LostOwnership
from topics.batch import Batch, Flow, TopicPartition
from topics.catalog import DEFINITIONS
from topics.definitions import Definition
from topics.errors import Halt, MalformedRecord, Unreachable
from topics.receipt import Receipt
from topics.window_total import decode_window_total
from topics.windows import window_key

log = logging.getLogger(__name__)

IDLE_S: Final = 1.0
"""How long a loop sleeps at most when nothing wakes it: what it costs to have missed something."""
FIRST_PAUSE_S, MOST_PAUSE_S = 0.2, 5.0
"""Between tries to open the log while Kafka is away."""
LOST_PAUSE_S: Final = 10.0
"""After another worker fenced us: by then our own group has mostly told us so, and opening again would fence it."""
FINISH_S: Final = 3.0
"""How long a revoke waits for calls in flight, and as long again for their answers' transaction; the rest is the successor's."""
ROOM: Final = 200_000
"""Totals that may wait for their receipts: some 100 MB. More are left in Kafka."""


class PartitionDriver:
    """Everything of one partition for one assignment."""

    def __init__(
        self, tp: TopicPartition, epoch: int, *, flow: Flow, account: str, open_log: Callable[[int], Log], caller: Caller, now_ms: Callable[[], int]
    ) -> None:
        self.tp = tp
        self.epoch = epoch
        self.halted: str | None = None
        self.waiting: str | None = None
        """What it waits for, in one sentence; None while everything answers."""
        self.attempts = 0
        self._flow = flow
        self._account = account
        self._open_log = open_log
        self._caller = caller
        self._now_ms = now_ms
        self._log: Log | None = None
        self._machine = Deliveries(tp[1], account, 0)
        self._calls: set[asyncio.Task[None]] = set()
        self._to_write, self._covered, self._defined = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self._failed: asyncio.Future[None]
        self._defined_to = 0
        self._stopping = self._working = False
        self._task: asyncio.Task[None] | None = None

    @property
    def machine(self) -> Deliveries:
        """The state that is shown; it is replaced after an error."""
        return self._machine

    @property
    def is_current(self) -> bool:
        """True while this worker holds the partition in this assignment."""
        return not self._stopping and self._flow.epoch(self.tp) == self.epoch

    # ── life ─────────────────────────────────────────────────────────────────────────────────────────────────────────

    async def open(self, next_offset: int) -> None:
        """Take the partition over: fence, read receipts and definitions to their end, then start to work. Waits for Kafka."""
        found = await self._insist()
        if found is not None:
            self._machine = self._rebuilt(found, next_offset)
            self._task = asyncio.create_task(self._run(), name=f"report {self.tp[1]}")
            self._task.add_done_callback(self._ended)

    async def finish(self) -> None:
        """Let go: no new calls, answers that come in time are written, the offset is marked. What is still open is the successor's."""
        self._stopping = True
        self._wake()
        if self._calls:
            await asyncio.wait(self._calls, timeout=FINISH_S)
        if self._task is not None:
            # The writing loop ends by itself once nothing is left to write; then the offset is as high as it gets.
            await asyncio.wait({self._task}, timeout=0 if self.halted else FINISH_S)
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        await self._close_log()

    async def _run(self) -> None:
        """Work until stopped; an error of Kafka's makes everything anew from the receipts, anything unreadable halts."""
        while not self._stopping:
            try:
                async with asyncio.TaskGroup() as loops:
                    await self._together(loops)
            except* (Halt, MalformedRecord) as errors:
                self._halt(str(errors.exceptions[0]))
            except* LostOwnership as errors:
                await self._again(errors.exceptions[0], LOST_PAUSE_S)
            except* Unreachable as errors:
                await self._again(errors.exceptions[0], FIRST_PAUSE_S)
            if self.halted is not None:
                return

    async def _together(self, loops: asyncio.TaskGroup) -> None:
        """All three loops; the writing one says when they end."""
        # One that missed its cancellation ends at its next turn: nothing may work on a machine that is about to be replaced.
        self._working = True
        others = [loops.create_task(self._tailing()), loops.create_task(self._calling())]
        try:
            await self._writing()
        finally:
            self._working = False
            for other in others:
                other.cancel()

    def _halt(self, sentence: str) -> None:
        self.halted = sentence
        log.critical("%s", sentence)

    def _ended(self, task: asyncio.Task[None]) -> None:
        """What nobody foresaw stops this partition's billing and is said, with its stack; going on would be guessing."""
        error = None if task.cancelled() else task.exception()
        if error is not None:
            self._stopping = True
            self._wake()
            log.error("the report of partition %s fails", self.tp[1], exc_info=error)
            self._halt(f"the report of partition {self.tp[1]} failed ({type(error).__name__}); restart this worker, and report the defect")

    async def _again(self, error: BaseException, pause_s: float) -> None:
        """Whether the last transaction was committed is not known: read the receipts again and go on from them."""
        if self._stopping:
            return
        log.warning("%s. Reading the receipts of partition %s again; nothing is lost", error, self.tp[1])
        self.waiting = str(error)
        if self._calls:
            await asyncio.wait(self._calls)
        await self._close_log()
        await asyncio.sleep(pause_s)
        found = await self._insist()
        if found is None:
            return
        machine = self._rebuilt(found, self._machine.coverage.next_offset)
        for offset, total, closed_at_ms in self._machine.coverage.pending():
            machine.total(total, offset, closed_at_ms, self._now_ms())
        self._machine = machine
        self._wake()

    async def _insist(self) -> tuple[list[Receipt], list[Definition]] | None:
        """The log opened and read, however long Kafka takes; None where the partition is not ours any more, or cannot be read."""
        pause_s = FIRST_PAUSE_S
        while self.is_current:
            self._log = self._open_log(self.tp[1])
            try:
                found = await self._log.open()
            except Unreachable as error:
                if self.waiting is None:
                    log.warning("%s. Trying again until it does", error)
                self.waiting = str(error)
                self.attempts += 1
                await self._close_log()
                await asyncio.sleep(pause_s)
                pause_s = min(MOST_PAUSE_S, pause_s * 1.7)
            except MalformedRecord as error:
                self._halt(str(error))
                await self._close_log()
                return None
            else:
                self.waiting = None
                return found
        return None

    def _rebuilt(self, found: tuple[list[Receipt], list[Definition]], next_offset: int) -> Deliveries:
        receipts, definitions = found
        machine = Deliveries(self.tp[1], self._account, next_offset)
        now_ms = self._now_ms()
        machine.recover(receipts, now_ms)
        machine.define(definitions, now_ms)
        self._know_definitions()
        return machine

    def _know_definitions(self) -> None:
        """The machine was told what the log had read."""
        self._defined_to = self._defined_to if self._log is None else self._log.defined_to
        self._defined.set()

    async def _close_log(self) -> None:
        closing, self._log = self._log, None
        if closing is not None:
            await closing.close()

    # ── what comes in ────────────────────────────────────────────────────────────────────────────────────────────────

    async def take(self, batch: Batch) -> None:
        """Apply a batch of `usage.windows`; waits where too much is already waiting."""
        while len(self._machine.coverage) > ROOM and batch.epoch == self.epoch and self.is_current:
            self._covered.clear()
            await happens(self._covered, IDLE_S)
        await self._definitions_before(batch)
        if batch.epoch != self.epoch or not self.is_current or self.halted is not None:
            return
        expected = self._machine.coverage.next_offset
        if batch.start_offset != expected:
            self._halt(f"{batch.topic} {batch.partition}: got a batch from offset {batch.start_offset}, expected {expected}; restart this worker")
            return
        try:
            self._apply(batch)
        except MalformedRecord as error:
            self._halt(str(error))

    async def _definitions_before(self, batch: Batch) -> None:
        """Return when all definitions that existed when the batch arrived are in force.

        The meter publishes an item's version before any total of a window that it bills. Read later than such a total, the version would
        find the window at the item before it, for ever.
        """
        end: int | None = None
        while batch.epoch == self.epoch and self.is_current and self.halted is None:
            if end is None:
                end = await self._definitions_end()
            elif self._defined_to >= end:
                return
            else:
                self._defined.clear()
                await happens(self._defined, IDLE_S)

    async def _definitions_end(self) -> int | None:
        """Where `usage.definitions` ends now; None where Kafka did not say, after a pause."""
        try:
            return await self._flow.last_stable_offset((DEFINITIONS, self.tp[1]))
        except Unreachable as error:
            log.warning("%s. Totals of partition %s wait for it", error, self.tp[1])
            self.attempts += 1
            await asyncio.sleep(FIRST_PAUSE_S)
            return None

    def _apply(self, batch: Batch) -> None:
        now_ms = self._now_ms()
        for offset, key, value, headers in zip(batch.offsets, batch.keys, batch.values, batch.headers, strict=True):
            where = f"{batch.topic} {batch.partition} offset {offset}"
            total = decode_window_total(value, where)
            if window_key(total.window).encode() != key:
                raise MalformedRecord(f"{where}: the total lies under the key {key!r}, which is not its own")
            self._machine.total(total, offset, _closed_at_ms(headers), now_ms)
        self._machine.advance(batch.next_offset)
        self._mark()
        self._wake()

    async def _tailing(self) -> None:
        while self._working and self._log is not None:
            definitions = await self._log.new_definitions()
            if definitions:
                self._machine.define(definitions, self._now_ms())
                self._to_write.set()
            self._know_definitions()

    # ── what goes out ────────────────────────────────────────────────────────────────────────────────────────────────

    async def _writing(self) -> None:
        while True:
            self._to_write.clear()
            started_ms = self._now_ms()
            write = self._machine.next_write(started_ms)
            if write is None and self._stopping and not self._calls:
                return
            if write is None or self._log is None:
                await self._sleep(self._to_write)
                continue
            await self._log.write(write.records)
            self._machine.written(write, started_ms)
            self._mark()
            self._covered.set()
            self._caller.wake()

    async def _calling(self) -> None:
        """Calls are made when it is this partition's turn, until it ends; raises what went wrong with one."""
        self._failed = asyncio.get_running_loop().create_future()
        with self._caller.joined(self):
            await self._failed

    def nearest(self, now_ms: int, full: frozenset[str]) -> Priority | None:
        """See `app_calls.Member`."""
        return self._machine.nearest(now_ms, full) if self._working and self.is_current else None

    def pull(self, now_ms: int, rooms: Mapping[str, int]) -> bool:
        """See `app_calls.Member`."""
        calls: list[Call | ReadBack | RemedyCall] = [*self._machine.next_calls(now_ms, 1, rooms)]
        if not calls and rooms[REMEDY_MODE] > 0:
            calls += self._machine.remedies.next_calls(now_ms, 1)
        for call in calls:
            self._caller.take(call)
            task = asyncio.create_task(self._make(self._machine, call))
            self._calls.add(task)
            task.add_done_callback(self._call_ended)
        self._to_write.set()  # an intent that had become too old to call wants to be asserted
        return bool(calls)

    def wake_at_ms(self, now_ms: int) -> int | None:
        """See `app_calls.Member`."""
        return self._machine.wake_at_ms(now_ms)

    def fail(self, error: Exception) -> None:
        """See `app_calls.Member`."""
        if not self._failed.done():
            self._failed.set_exception(error)

    async def _make(self, machine: Deliveries, call: Call | ReadBack | RemedyCall) -> None:
        """One call. Its answer goes to the machine that asked: one that was replaced meanwhile is told nothing."""
        if isinstance(call, ReadBack):
            found = await self._caller.read_back(call)
            machine.read_back(call, found, self._now_ms())
        elif isinstance(call, Quote):
            machine.remedies.quoted(call, await self._caller.quote(call), self._now_ms())
        elif isinstance(call, LookUp):
            machine.remedies.looked_up(call, await self._caller.look_up(call), self._now_ms())
        elif isinstance(call, Bill):
            machine.remedies.billed(call, await self._caller.bill(call), self._now_ms())
        else:
            outcome = await self._caller.report(call)
            machine.answered(call, outcome, self._now_ms())

    def _call_ended(self, task: asyncio.Task[None]) -> None:
        self._calls.discard(task)
        self._ended(task)
        self._wake()

    async def _sleep(self, until: asyncio.Event) -> None:
        """Until woken, or until the machine's next time has come."""
        now_ms = self._now_ms()
        wake_at_ms = self._machine.wake_at_ms(now_ms)
        wait_s = IDLE_S if wake_at_ms is None else min(IDLE_S, max(0.005, (wake_at_ms - now_ms) / 1000))
        await happens(until, wait_s)

    def _mark(self) -> None:
        if self._flow.epoch(self.tp) == self.epoch or self._stopping:
            self._flow.commit(self.tp, self._machine.committable)

    def _wake(self) -> None:
        self._to_write.set()
        self._caller.wake()


def _closed_at_ms(headers: object) -> int | None:
    """The header `closed_at_ms` of the meter; None where it is absent or no number."""
    found = next((value for name, value in headers if name == "closed_at_ms"), None)  # type: ignore[attr-defined]
    return int(found) if found is not None and found.isdigit() else None
