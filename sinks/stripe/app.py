"""The report worker: `Listener` of its delivery, receiver of its batches, and what `/status` shows. Laws 12 to 15.

usage.windows in; one call per cell and revision to Stripe; everything it knows in usage.receipts.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from sinks.backlog import Way, added_up, shown, together
from sinks.cells import PROVIDER
from sinks.gate import Gate
from sinks.stripe.agent_clock import SteadyClock
from sinks.stripe.app_calls import METER_CALLS_PER_S, Caller
from sinks.stripe.app_driver import PartitionDriver
from sinks.stripe.app_ports import Log, Metrics, Provider
from sinks.stripe.client import StripeAccess
from sinks.stripe.gate_driver import InvoiceGate
from sinks.stripe.gate_ports import Drafts, StripeDrafts
from sinks.stripe.receipt_log import ReceiptLog
from sinks.tally import STATES
from topics.batch import Batch, Flow, TopicPartition

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class ReportSettings:
    """Where the report's servers are; the key is in no repr. `account` is the name bindings use; `live` allows a live key.

    `partitions` is how many there are in all: a worker that holds some of them takes so much of the account's limits, and leaves the rest to
    the other workers. 0: there are no others.
    """

    bootstrap: str
    api_base: str
    api_key: str = field(repr=False)
    account: str = "default"
    calls_per_second: float = 80.0
    meter_calls_per_second: float = METER_CALLS_PER_S
    live: bool = False
    gate: Gate = "off"
    partitions: int = 0


class ReportWorker:
    """All partitions of one report worker. Raises UsageError for a key that may not be used."""

    def __init__(
        self,
        settings: ReportSettings,
        *,
        flow: Flow,
        metrics: Metrics,
        provider: Provider | None = None,
        drafts: Drafts | None = None,
        open_log: Callable[[int], Log] | None = None,
        now_ms: Callable[[], int] | None = None,
    ) -> None:
        self._settings = settings
        self._flow = flow
        self._now_ms = now_ms or SteadyClock().now_ms
        self._open_log = open_log or (lambda partition: ReceiptLog(settings.bootstrap, partition))
        access = provider or StripeAccess(settings.api_base, settings.api_key, live=settings.live)
        if drafts is None and isinstance(access, StripeAccess):
            drafts = StripeDrafts(access)
        self._caller = Caller(access, settings.calls_per_second, metrics, self._now_ms, settings.meter_calls_per_second)
        self._drivers: dict[TopicPartition, PartitionDriver] = {}
        self._ends: dict[TopicPartition, int] = {}
        self._halted: str | None = None
        self._gate = None if settings.gate == "off" or drafts is None else self._gate_of(settings.gate, drafts)
        self._gating: asyncio.Task[None] | None = None

    def _gate_of(self, gate: Gate, drafts: Drafts) -> InvoiceGate:
        return InvoiceGate(gate, drafts, self._flow, self._caller.ask, lambda: list(self._drivers.values()), self._now_ms)

    # ── what is shown ────────────────────────────────────────────────────────────────────────────────────────────────

    @property
    def halted(self) -> str | None:
        """Why a partition, or all of them, is not reported any more; None while everything is."""
        return self._halted or next((driver.halted for driver in self._drivers.values() if driver.halted is not None), None)

    @property
    def progress(self) -> int:
        """Rises while the worker is alive: with deliveries, with calls that came back, with tries to reach Kafka."""
        return self._flow.progress + self._caller.calls + sum(driver.attempts for driver in self._drivers.values())

    def status(self) -> dict[str, Any]:
        """The worker's part of `/status`, from memory; `refresh` first for the ends of the log."""
        drivers = [driver for _, driver in sorted(self._drivers.items())]
        counts = [driver.machine.tally.counts() for driver in drivers]
        oldest = [at for driver in drivers if (at := driver.machine.tally.oldest_ms()) is not None]
        return {
            "partitions": [
                {
                    "partition": driver.tp[1],
                    "next_offset": (position := driver.machine.coverage.next_offset),
                    "covered_offset": driver.machine.committable,
                    "end_offset": self._ends.get(driver.tp, position),
                }
                for driver in drivers
            ],
            "windows": {state: sum(count[state] for count in counts) for state in STATES},
            "adjustments": sum(driver.machine.tally.adjustments for driver in drivers),
            "oldest_undelivered_s": max(0.0, (self._now_ms() - min(oldest)) / 1000) if oldest else None,
            "backlog": self._backlog(drivers),
            "halted": self.halted,
            "waiting": next((driver.waiting for driver in drivers if driver.waiting is not None), self._silence(drivers)),
            "progress": self.progress,
        } | ({} if self._gate is None else {"gate": self._gate.shown()})

    def _backlog(self, drivers: list[PartitionDriver]) -> dict[str, Any]:
        """What is due and not delivered, by how it is reported; `unread`: records of usage.windows that this worker has not read yet."""
        finals, undated = together(driver.machine.tally.backlog for driver in drivers)
        is_down, now_ms = self._silence(drivers) is not None, self._now_ms()
        unread = sum(max(0, self._ends.get(driver.tp, 0) - driver.machine.coverage.next_offset) for driver in drivers)
        ways = [Way(PROVIDER, self._settings.account, mode, *self._caller.pace_of(mode)) for mode in ("usage_records", "meters")]
        return added_up((shown(way, finals.get(way.mode, {}), undated[way.mode], now_ms, is_down=is_down) for way in ways), unread)

    def _silence(self, drivers: list[PartitionDriver]) -> str | None:
        """That the provider counts as down, in one sentence."""
        breakers = (driver.machine.breaker for driver in drivers)
        failures = max((breaker.failures for breaker in breakers if breaker.is_open), default=0)
        return f"{self._settings.api_base} has not answered {failures} calls in a row" if failures else None

    async def refresh(self) -> None:
        """Ask Kafka for the ends that `status` shows."""
        tps = list(self._drivers)
        ends = await asyncio.gather(*(self._flow.last_stable_offset(tp) for tp in tps))
        self._ends = dict(zip(tps, ends, strict=True))

    # ── Resource ─────────────────────────────────────────────────────────────────────────────────────────────────────

    async def start(self) -> None:
        """Nothing to open: connections are made when they are needed. The invoice gate begins to look."""
        if self._gate is not None:
            self._gating = asyncio.create_task(self._gate.run(), name="invoice gate")

    async def stop(self) -> None:
        """Let go of whatever is still held, and of the connections."""
        if self._gating is not None:
            self._gating.cancel()
            await asyncio.gather(self._gating, return_exceptions=True)
        await self.on_revoked(frozenset(self._drivers))
        self._caller.close()

    # ── Listener ─────────────────────────────────────────────────────────────────────────────────────────────────────

    async def start_offsets(self, tps: frozenset[TopicPartition], epoch: int) -> Mapping[TopicPartition, int]:
        """See `topics.batch.Listener.start_offsets`: the committed offset (law 5), else the log's beginning."""
        starts = await asyncio.gather(*(self._open(tp, epoch) for tp in sorted(tps)))
        return dict(zip(sorted(tps), starts, strict=True))

    async def _open(self, tp: TopicPartition, epoch: int) -> int:
        before = self._drivers.pop(tp, None)
        if before is not None:
            await before.finish()
        committed = await self._flow.committed(tp)
        start = committed if committed is not None else await self._flow.beginning_offset(tp)
        driver = PartitionDriver(
            tp,
            epoch,
            flow=self._flow,
            account=self._settings.account,
            open_log=self._open_log,
            caller=self._caller,
            now_ms=self._now_ms,
        )
        self._drivers[tp] = driver
        self._share()
        await driver.open(start)
        return start

    def _share(self) -> None:
        """The account's limits go with the partitions: all workers together never exceed them, and one alone has them whole."""
        if self._settings.partitions and self._drivers:
            self._caller.share(min(1.0, len(self._drivers) / self._settings.partitions))

    async def on_revoked(self, tps: frozenset[TopicPartition]) -> None:
        """See `topics.batch.Listener.on_revoked`: calls in flight are waited for a little, their answers written, the offset marked."""
        leaving = [driver for tp in tps if (driver := self._drivers.pop(tp, None)) is not None]
        self._share()
        await asyncio.gather(*(driver.finish() for driver in leaving))

    async def on_out_of_range(self, tp: TopicPartition, wanted: int, begin: int, end: int) -> None:
        """See `topics.batch.Listener.on_out_of_range`: totals that were never reported are not in the log any more. Halt, say which."""
        if wanted < begin:
            lost = f"offsets {wanted} to {begin - 1} are gone, and were never reported"
        else:
            lost = f"it ends at {end}, before offset {wanted} that this worker had read"
        self._halted = f"{tp[0]} {tp[1]}: {lost}; compare with `tidemark explain`, and accept the log as it is with `tidemark adopt`"
        log.critical("%s", self._halted)

    # ── the agent ────────────────────────────────────────────────────────────────────────────────────────────────────

    async def take(self, batch: Batch) -> None:
        """One batch of `usage.windows`; one of an assignment that has ended is dropped."""
        driver = self._drivers.get(batch.tp)
        if driver is not None:
            await driver.take(batch)
