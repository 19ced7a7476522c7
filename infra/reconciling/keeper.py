"""What the scheduled reconciliation remembers of its last run and shows, with alarms in the log. Pure but for logging."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Final

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric

from infra.reconciling.archive import EARLIEST_S
from infra.reconciling.coverage import STATES
from infra.reconciling.drift import KINDS, Drift
from infra.reconciling.found import Found
from infra.reconciling.looking_back import LookingBack
from topics.durations import format_ms

log = logging.getLogger(__name__)

SHOWN: Final = 20
"""Drifts whose sentences are written to the log and shown by `/status`; `tidemark reconcile` says all."""
MISSED: Final = 3
"""So many times `every` without a whole run, and it is not ready any more."""
METRIC_NAMES: Final = (
    "tidemark_drift",  # {kind}: drifts at the last run, by cause
    "tidemark_drift_money",  # {currency}: their known amounts without signs, in smallest units
    "tidemark_reconcile_last_seconds",  # how long ago the last run came to its end
    "tidemark_reconcile_whole_last_seconds",  # how long ago one that looked at everything began
    "tidemark_reconcile_duration_seconds",  # how long it took
    "tidemark_reconcile_runs_total",  # {result}: clean, drift, unchecked, failed
    "tidemark_reconcile_unchecked",  # what could not be looked at in the last run
    "tidemark_coverage_windows",  # {state}: all windows by state at the last run
    "tidemark_coverage_gaps",  # windows that were due and are not where they should be
    "tidemark_coverage_stragglers",  # windows that wait though due, or lie across a billing edge
    "tidemark_ready",  # 1 where /ready says so
)
"""Every name that is exported; a contract as those of infra/metrics.py."""


@dataclass(eq=False)
class Keeper:
    """The last run. `clock` is a steady clock in seconds; `every_ms` is how often a run begins."""

    every_ms: int
    clock: Callable[[], float]
    name: str = "reconcile"
    back: LookingBack = field(default_factory=lambda: LookingBack(62 * 86_400, 86_400))
    found: Found | None = None
    ended_s: float | None = None
    duration_s: float = 0.0
    failure: str | None = None
    runs: Counter[str] = field(default_factory=Counter)
    _known: set[tuple[Any, ...]] = field(default_factory=set)

    def __post_init__(self) -> None:
        self._began_s = self.clock()
        self._registry = CollectorRegistry()
        self._registry.register(self)

    # ── what happens ─────────────────────────────────────────────────────────────────────────────────────────────────

    def took(self, found: Found, duration_s: float, from_s: int = EARLIEST_S) -> None:
        """A run that came to its end and looked from `from_s` on; each drift that the run before had not is an alarm in the log."""
        new = [drift for drift in found.drifts if _identity(drift) not in self._known]
        for drift in new[:SHOWN]:
            log.error("drift %s: %s. %s", drift.kind, drift.sentence, drift.advice)
        if len(new) > SHOWN:
            log.error("%d more new drifts: `tidemark reconcile` lists them", len(new) - SHOWN)
        if found.problems:
            log.warning("%d things were not checked, first: %s", len(found.problems), found.problems[0])
        log.info("reconciled %d windows in %.1f s: %s", found.checked["windows"], duration_s, found.summary())
        self.back.took(found, from_s, self.clock() - duration_s)
        self._known = {_identity(drift) for drift in found.drifts}
        self.found, self.duration_s, self.failure, self.ended_s = found, duration_s, None, self.clock()
        self.runs["drift" if not found.is_clean else "clean" if found.is_complete else "unchecked"] += 1

    def failed(self, sentence: str) -> None:
        """A run that could not be ended: a server does not answer."""
        log.warning("not reconciled: %s", sentence)
        self.failure = sentence
        self.runs["failed"] += 1

    # ── infra.http.Face ──────────────────────────────────────────────────────────────────────────────────────────────

    async def status(self) -> dict[str, Any]:
        """See `infra.http.Face.status`."""
        found, reason = self.found, self.unready()
        alarms = [] if found is None else [f"{found.counts[kind]} {kind}" for kind in KINDS if found.counts[kind]]
        alarms += [] if found is None or found.is_complete else [f"{len(found.problems)} not checked, first: {found.problems[0]}"]
        return {
            "kind": "reconcile",
            "name": self.name,
            "ready": reason is None,
            "every_ms": self.every_ms,
            "last_s": self._age_s(),
            "whole_last_s": self._whole_age_s(),
            "duration_s": self.duration_s,
            "runs": dict(self.runs),
            "failure": self.failure,
            "drift": None if found is None else {kind: found.counts[kind] for kind in KINDS},
            "money": None if found is None else dict(found.money),
            "coverage": None if found is None else found.coverage.document(),
            "drifts": [] if found is None else [drift.document() for drift in found.drifts[:SHOWN]],
            "unchecked": [] if found is None else found.problems[:SHOWN],
            "alarms": ([reason] if reason is not None else []) + alarms,
        }

    def unready(self) -> str | None:
        """See `infra.http.Face.unready`. A drift is no reason: it is an alarm of its own."""
        age_s = self.clock() - (self._began_s if self.ended_s is None else self.ended_s)
        if age_s * 1000 <= MISSED * self.every_ms:
            return None
        return f"nothing was reconciled for {format_ms(int(age_s) * 1000)}: {self.failure or 'the run has not ended yet'}"

    def exposition(self) -> bytes:
        """See `infra.http.Face.exposition`."""
        return generate_latest(self._registry)

    def collect(self) -> Iterable[Metric]:
        """What prometheus_client asks of a collector. What no run has said yet is absent, never 0."""
        yield GaugeMetricFamily("tidemark_ready", "1 where /ready says so.", value=float(self.unready() is None))
        runs = CounterMetricFamily("tidemark_reconcile_runs", "Runs by what came of them.", labels=["result"])
        for result in ("clean", "drift", "unchecked", "failed"):
            runs.add_metric([result], self.runs[result])
        yield runs
        if self.found is None:
            return
        yield from self._of(self.found)
        yield GaugeMetricFamily("tidemark_reconcile_last_seconds", "How long ago the last run came to its end.", value=self._age_s() or 0.0)
        if (whole_s := self._whole_age_s()) is not None:
            yield GaugeMetricFamily("tidemark_reconcile_whole_last_seconds", "How long ago one that looked at everything began.", value=whole_s)
        yield GaugeMetricFamily("tidemark_reconcile_duration_seconds", "How long it took.", value=self.duration_s)

    @staticmethod
    def _of(found: Found) -> Iterable[Metric]:
        drift = GaugeMetricFamily("tidemark_drift", "Drifts by kind at the last run.", labels=["kind"])
        for kind in KINDS:
            drift.add_metric([kind], found.counts[kind])
        money = GaugeMetricFamily("tidemark_drift_money", "Known amounts of drifts, without signs, in smallest units.", labels=["currency"])
        for currency, amount in sorted(found.worth.items()):
            money.add_metric([currency], amount)
        windows = GaugeMetricFamily("tidemark_coverage_windows", "Windows by state at the last run.", labels=["state"])
        for state in STATES:
            windows.add_metric([state], found.coverage.states[state])
        yield from (drift, money, windows)
        yield GaugeMetricFamily("tidemark_reconcile_unchecked", "What could not be looked at in the last run.", value=len(found.problems))
        gaps, stragglers = found.coverage.gap_count, found.coverage.straggler_count
        yield GaugeMetricFamily("tidemark_coverage_gaps", "Windows that were due and are not where they should be.", value=gaps)
        yield GaugeMetricFamily("tidemark_coverage_stragglers", "Windows that wait though due, or lie across an edge.", value=stragglers)

    def _age_s(self) -> float | None:
        return None if self.ended_s is None else self.clock() - self.ended_s

    def _whole_age_s(self) -> float | None:
        return None if self.back.whole_at_s is None else self.clock() - self.back.whole_at_s


def _identity(drift: Drift) -> tuple[Any, ...]:
    """What makes it the same drift in the next run."""
    return (drift.kind, drift.customer, drift.meter, drift.window, drift.period, drift.cells, drift.events, drift.line, drift.difference_scaled)
