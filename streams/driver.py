"""The meter's shell: holds the assigned partitions, flushes and emits in turns, starts and lets go. No arithmetic, no decision about money.

One task takes turns (flush, then close and emit); the agent applies batches between its awaits. A turn and a revoke never overlap.
What outlives an assignment is recognised by identity: `Held` is made once per partition and assignment, and after every await the shell
asks whether the very same one is still held (law 2, H1).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from streams.emitting import emit, say_closed
from streams.flushing import flush
from streams.id_log import Keep, in_memory
from streams.partition import MeterPartition
from streams.ports import Changelog, Kept, LogReader, Outbox
from streams.starting import check_committed, check_fresh, out_of_range
from topics.batch import Batch, Flow, TopicPartition
from topics.catalog import EVENTS, STATE
from topics.errors import Halt, LostLog

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class MeterOptions:
    """How the shell paces itself; nothing here changes a total.

    `turn_ms`: pause between two turns. 300 ms bounds what a crash replays and what a settled window waits for; below 100 ms the changelog
    grows by records instead of rows. `pressure_records`: applied but not begun to be flushed; above it the agent waits. At about 100 bytes
    of facts and ids each, 200,000 is 20 MB a partition, and more than the hot path does in one turn. `mark_every_ms`: how often it is said how
    far everything is closed; None: nobody asks.
    """

    partitions: int
    turn_ms: int = 300
    pressure_records: int = 200_000
    mark_every_ms: int | None = None


@dataclass(slots=True, eq=False)
class Held:
    """One partition in one assignment. `end_offset` is the last stable offset as last asked; `wants_end`: the core waits for one (law 9)."""

    core: MeterPartition
    epoch: int
    end_offset: int
    wants_end: bool = False


class Meter:
    """The meter of one worker: the `Listener` of its delivery, the receiver of its batches and the driver of its turns."""

    def __init__(
        self,
        *,
        flow: Flow,
        changelog: Changelog,
        outbox: Outbox,
        log_reader: LogReader,
        options: MeterOptions,
        now_ms: Callable[[], int],
        random_bytes: Callable[[int], bytes],
        keep: Keep = in_memory,
        give_back: Callable[[], None] = lambda: None,
    ) -> None:
        """`give_back` is called after a recovery, when its records are gone: free memory may go to the system."""
        self._flow = flow
        self._changelog = changelog
        self._outbox = outbox
        self._reader = log_reader
        self._options = options
        self._give_back = give_back
        self._now_ms = now_ms
        self._random_bytes = random_bytes
        self._keep = keep
        self._held: dict[int, Held] = {}
        self._halted: str | None = None
        self._turn = asyncio.Lock()
        self._wake = asyncio.Event()
        self._room = asyncio.Event()

    # ── what is shown ───────────────────────────────────────────────────────────────────────────────────────────
    @property
    def halted(self) -> str | None:
        """Why this worker has stopped billing, in one sentence, or None."""
        return self._halted

    @property
    def held(self) -> Mapping[int, Held]:
        """The partitions that this worker counts now."""
        return self._held

    def halt(self, reason: Halt) -> None:
        """Stop billing rather than guess: nothing is applied, flushed, emitted or committed any more. The process stays, and says why."""
        if self._halted is None:
            self._halted = str(reason)
            log.critical("halted: %s", reason)

    async def refresh(self) -> None:
        """Ask the server for the last stable offset of every held partition."""
        for partition, held in list(self._held.items()):
            end = await self._flow.last_stable_offset((EVENTS, partition))
            held.end_offset = max(end, held.core.next_offset)

    # ── batches ─────────────────────────────────────────────────────────────────────────────────────────────────
    async def take(self, batch: Batch) -> None:
        """Apply one batch, or drop it when its assignment is over. Waits while too much is not durable: the queue before it then fills,
        and delivery stops fetching. A halted meter waits for ever, so that its lag stays visible."""
        held = self._holder(batch)
        while held is not None and (self._halted or held.core.unflushed >= self._options.pressure_records):
            self._room.clear()
            self._wake.set()
            await self._room.wait()
            held = self._holder(batch)
        if held is None:
            return
        try:
            held.core.apply(batch)
        except Halt as reason:
            self.halt(reason)

    def _holder(self, batch: Batch) -> Held | None:
        if self._flow.epoch(batch.tp) != batch.epoch:
            return None
        held = self._held.get(batch.partition)
        return held if held is not None and held.epoch == batch.epoch else None

    # ── turns ───────────────────────────────────────────────────────────────────────────────────────────────────
    async def run(self) -> None:
        """Take turns until the app ends. Whatever a turn raises ends the worker: a failed send must never let an offset pass."""
        while True:
            await self._pause()
            async with self._turn:
                if self._halted is None:
                    await self._one_turn()

    async def _pause(self) -> None:
        # Not by `asyncio.wait_for`: before Python 3.12 it swallows a cancellation that comes together with the event, and turns go on for ever.
        with suppress(TimeoutError):
            async with asyncio.timeout(self._options.turn_ms / 1000):
                await self._wake.wait()
        self._wake.clear()

    async def _one_turn(self) -> None:
        try:
            await self._flush(self._held)
            await self._close_and_emit()
        except Halt as reason:
            self.halt(reason)
        except BaseException:
            self._held.clear()
            raise

    async def _flush(self, which: Iterable[int]) -> None:
        held = [(partition, self._held[partition]) for partition in which]
        flushes = [asyncio.ensure_future(self._flush_one(partition, one)) for partition, one in held]
        # Every flush has taken its snapshot at its first step, so there is room again before any of them is acknowledged.
        asyncio.get_running_loop().call_soon(self._room.set)
        for outcome in await asyncio.gather(*flushes, return_exceptions=True):
            if isinstance(outcome, BaseException):
                raise outcome

    async def _flush_one(self, partition: int, held: Held) -> None:
        may_go_on = self._watch(partition, held)
        committable = await flush(held.core, self._outbox, may_go_on) if may_go_on() else None
        if committable is not None:
            self._flow.commit((EVENTS, partition), committable)

    async def _close_and_emit(self) -> None:
        for partition, held in list(self._held.items()):
            if not self._is_current(partition, held):
                continue
            end = None
            if held.wants_end:
                end = await self._flow.last_stable_offset((EVENTS, partition))
                if not self._is_current(partition, held):
                    continue
            now_ms = self._now_ms()
            held.wants_end = held.core.tick(now_ms, end)
            if await emit(held.core, self._outbox, now_ms, self._watch(partition, held)):
                self._wake.set()  # the next turn makes it durable that they were emitted, and emits what is left
            if self._is_current(partition, held):
                await say_closed(held.core, self._outbox, self._watch(partition, held))

    def _watch(self, partition: int, held: Held) -> Callable[[], bool]:
        """Whether what was begun may go on: the same assignment still, and nothing has halted meanwhile."""
        return lambda: self._halted is None and self._held.get(partition) is held

    def _is_current(self, partition: int, held: Held) -> bool:
        return self._held.get(partition) is held and self._flow.epoch((EVENTS, partition)) == held.epoch

    # ── Listener ────────────────────────────────────────────────────────────────────────────────────────────────
    async def start_offsets(self, tps: frozenset[TopicPartition], epoch: int) -> Mapping[TopicPartition, int]:
        """See `topics.batch.Listener.start_offsets`: exactly the recovered `next_offset`; where the meter halts, the log's start, unread."""
        starts: dict[TopicPartition, int] = {}
        for _, partition in tps:
            self._held.pop(partition, None)  # let go of long ago; if ever not, nothing may cross an assignment
        for tp in sorted(tps):
            begin = await self._flow.beginning_offset(tp)
            starts[tp] = begin
            try:
                starts[tp] = await self._start(tp, epoch, begin)
            except Halt as reason:
                self.halt(reason)
        return starts

    async def _start(self, tp: TopicPartition, epoch: int, begin: int) -> int:
        cluster_id = await self._reader.cluster_id()
        end = await self._flow.last_stable_offset(tp)
        committed = await self._flow.committed(tp)
        base = self._changelog.take(tp[1])
        core = base.core
        if core is None:
            if all(record.value is None for record in base.records):
                check_fresh(tp, committed=committed, begin=begin)
            # In a thread, so that /live answers meanwhile and a revoke can end the wait; nothing else sees the state before it is held.
            core = await asyncio.to_thread(
                MeterPartition.recover,
                tp[1],
                self._options.partitions,
                base.records,
                writer_epoch=self._random_bytes(8),
                id_key=self._random_bytes(16),
                cluster_id=cluster_id,
                keep=self._keep,
            )
            core.stand_on(base.bounds)
            del base  # with its records
            self._give_back()
        else:
            core.go_on(self._random_bytes(8))
            log.info("%s-%s goes on with the state in memory: nobody else has written to its changelog", STATE, tp[1])
        known = core.identity_offset
        record = await self._reader.record_at(tp, known) if known is not None and begin <= known < end else None
        # Asked again: a record that retention removed while it was looked for must not be taken for another log's.
        begin = await self._flow.beginning_offset(tp)
        core.check_identity(cluster_id=cluster_id, begin=begin, end=end, record=record)
        if warning := check_committed(tp, next_offset=core.next_offset, committed=committed, begin=begin):
            log.warning(warning)
        core.closing.marking.every_ms = self._options.mark_every_ms
        self._held[tp[1]] = Held(core, epoch, end)
        return core.next_offset

    async def on_revoked(self, tps: frozenset[TopicPartition]) -> None:
        """Flush, mark, keep what is whole and durable for the next assignment, let go. Cancelled or failed, it lets go all the same: what was not
        clean is dropped and read again."""
        leaving = {partition: self._held[partition] for _, partition in tps if partition in self._held}
        try:
            async with self._turn:
                if self._halted is None:
                    await self._flush([partition for partition, held in leaving.items() if self._held.get(partition) is held])
                    self._keep_clean(leaving)
        except Halt as reason:
            self.halt(reason)
        finally:
            for partition, held in leaving.items():
                if self._held.get(partition) is held:
                    del self._held[partition]
            self._room.set()  # whoever waits for room sees that its assignment is over

    def _keep_clean(self, leaving: Mapping[int, Held]) -> None:
        """After their flush, still in its turn: no one else has a state in hand."""
        for partition, held in leaving.items():
            extent = held.core.durable_extent()
            if self._halted is None and extent is not None and self._held.get(partition) is held:
                self._changelog.keep(partition, Kept(held.core, *extent))

    async def on_out_of_range(self, tp: TopicPartition, wanted: int, begin: int, end: int) -> None:
        """The log does not hold what must be counted next: halt with the exact range."""
        self.halt(LostLog(out_of_range(tp, wanted, begin, end)))

    # ── status ──────────────────────────────────────────────────────────────────────────────────────────────────
    def status(self) -> dict[str, Any]:
        """The meter's part of `/status`."""
        now_ms = self._now_ms()
        windows = {"open": 0, "due": 0, "reopened": 0}
        for held in self._held.values():
            counts = held.core.windows(now_ms)
            windows["open"] += counts.open
            windows["due"] += counts.due
            windows["reopened"] += counts.reopened
        due_ms = [at_ms for held in self._held.values() if (at_ms := held.core.oldest_due_ms(now_ms)) is not None]
        lines = [{**held.core.status(), "end_offset": held.end_offset} for _, held in sorted(self._held.items())]
        return {
            "partitions": lines,
            "windows": windows,
            "oldest_undelivered_s": max(0.0, (now_ms - min(due_ms)) / 1000) if due_ms else None,
            "halted": self._halted,
            "progress": self._flow.progress,
        }
