"""The Prometheus metrics of a worker: names that dashboards rely on, values read from its status when it is scraped.

Nothing is counted per event: the meter's counters are durable facts of the log, so a scrape after a crash shows the same numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from math import inf
from typing import Any, Final, Literal, get_args

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric

from infra.readiness import done_of

MetricName = Literal[
    "tidemark_events_total",  # {partition, verdict}: fates of the log's records, since the log's base
    "tidemark_conservation_residual",  # {partition}: offsets without exactly one fate; anything but 0 is an alarm
    "tidemark_consumer_lag",  # {group, partition}: records that are not durably processed; the archive's group names its topic too
    "tidemark_windows",  # {state}: open, due, reopened, delivered, undelivered, parked, unbound
    "tidemark_close_to_delivered_seconds",  # histogram: from a window's closing to the provider's answer
    "tidemark_delivery_outcomes_total",  # {provider, outcome}: answers of providers
    "tidemark_oldest_undelivered_seconds",  # age of the oldest due window that no provider has answered for (meter: not emitted); 0 where none is
    "tidemark_backlog_cells",  # {provider, account, mode}: due cells that are not delivered
    "tidemark_backlog_eta_seconds",  # {provider, account, mode}: until the last of them is, at the rate used of late; +Inf while the provider is down
    "tidemark_backlog_missed_cells",  # {provider, account, mode}: how many of them would come after their finality at that rate
    "tidemark_adjustments_open",  # cells that are final and hold other units than they should, and that nobody has settled
    "tidemark_gate_held_invoices",  # drafts that the invoice gate holds; only where [stripe] gate is on
    "tidemark_gate_unready_invoices",  # drafts that lack usage of ours, held or not
    "tidemark_gate_released_with_alarm_total",  # drafts let go after 72 hours although usage was missing: look at every one
    "tidemark_ready",  # 1 where /ready says so: nothing is stuck, halted or still starting
]
"""Every name we export. Names are a contract (SURFACES): add freely, change one only with a decision record."""

METRIC_NAMES: Final = get_args(MetricName)

VERDICTS: Final = ("counted", "duplicate", "rejected", "too_late", "rerouted", "control", "skipped")

CLOSE_TO_DELIVERED_BUCKETS_S: Final = (0.5, 1, 2, 5, 10, 30, 60, 120, 300, 900, 3600, 4 * 3600, 24 * 3600)
"""From "at once" to Stripe's 24 hours of key memory; a delivery later than that has left the normal path."""

Snapshot = Callable[[], Mapping[str, Any]]
"""The worker's `/status`, as last known; must not block."""


class StatusCollector:
    """Turns a worker's status into metrics at the moment of a scrape."""

    def __init__(self, group: str, snapshot: Snapshot) -> None:
        self._group = group
        self._snapshot = snapshot

    def collect(self) -> Iterable[Metric]:
        """What prometheus_client asks of a collector."""
        status = self._snapshot()
        lines: list[Mapping[str, Any]] = status.get("partitions", [])
        yield GaugeMetricFamily("tidemark_ready", "1 where /ready says so.", value=float(bool(status.get("ready"))))
        yield from self._lag(lines)
        if status.get("kind") == "meter":
            yield from self._counting(lines)
        if windows := status.get("windows"):
            states = GaugeMetricFamily("tidemark_windows", "Windows by state.", labels=["state"])
            for state, number in windows.items():
                states.add_metric([state], number)
            yield states
        if (backlog := status.get("backlog")) is not None:
            yield from _backlog(backlog["by"])
        if (adjustments := status.get("adjustments")) is not None:
            yield GaugeMetricFamily("tidemark_adjustments_open", "Final cells with a difference that is not settled.", value=adjustments)
        if (gate := status.get("gate")) is not None:
            yield from _gate(gate)
        if status.get("kind") != "archive":
            oldest_s = status.get("oldest_undelivered_s") or 0.0
            yield GaugeMetricFamily("tidemark_oldest_undelivered_seconds", "Age of the oldest undelivered window.", value=oldest_s)

    def _lag(self, lines: Iterable[Mapping[str, Any]]) -> Iterable[Metric]:
        lag = GaugeMetricFamily("tidemark_consumer_lag", "Records not yet durably processed.", labels=["group", "partition"])
        for line in lines:
            done = line.get("covered_offset", done_of(line))
            if done is not None and line.get("end_offset") is not None:
                topic = f":{line['topic']}" if "topic" in line else ""
                lag.add_metric([self._group + topic, str(line["partition"])], max(0, line["end_offset"] - done))
        yield lag

    @staticmethod
    def _counting(lines: Iterable[Mapping[str, Any]]) -> Iterable[Metric]:
        events = CounterMetricFamily("tidemark_events", "Fates of the records of usage.events.", labels=["partition", "verdict"])
        residual = GaugeMetricFamily("tidemark_conservation_residual", "Offsets without exactly one fate.", labels=["partition"])
        for line in lines:
            for verdict in VERDICTS:
                events.add_metric([str(line["partition"]), verdict], line[verdict])
            residual.add_metric([str(line["partition"])], line["residual"])
        yield events
        yield residual


def _backlog(lines: Iterable[Mapping[str, Any]]) -> Iterable[Metric]:
    labels = ("provider", "account", "mode")
    cells = GaugeMetricFamily("tidemark_backlog_cells", "Due cells that are not delivered.", labels=labels)
    eta = GaugeMetricFamily("tidemark_backlog_eta_seconds", "Until the last of them is delivered, at the rate used of late.", labels=labels)
    missed = GaugeMetricFamily("tidemark_backlog_missed_cells", "How many of them would come after their finality.", labels=labels)
    for line in lines:
        of = [line[label] for label in labels]
        cells.add_metric(of, line["cells"])
        eta.add_metric(of, inf if line["eta_s"] is None else line["eta_s"])
        missed.add_metric(of, line["missed"])
    yield from (cells, eta, missed)


def _gate(gate: Mapping[str, Any]) -> Iterable[Metric]:
    yield GaugeMetricFamily("tidemark_gate_held_invoices", "Draft invoices that the gate holds.", value=gate["held"])
    yield GaugeMetricFamily("tidemark_gate_unready_invoices", "Draft invoices that lack usage of ours.", value=gate["unready"])
    yield CounterMetricFamily(
        "tidemark_gate_released_with_alarm", "Draft invoices let go after 72 hours with usage missing.", value=gate["released_with_alarm"]
    )


class WorkerMetrics:
    """The registry of one worker: an own one, so that two workers in one test process do not meet."""

    def __init__(self, group: str, snapshot: Snapshot, *, delivers: bool = False) -> None:
        """`delivers`: this worker speaks to providers; another one exports no empty histogram that could hide the real one."""
        self.registry = CollectorRegistry()
        self.registry.register(StatusCollector(group, snapshot))
        self._close_to_delivered = Histogram(
            "tidemark_close_to_delivered_seconds",
            "From a window's closing to the provider's answer.",
            buckets=CLOSE_TO_DELIVERED_BUCKETS_S,
            registry=None,
        )
        self._outcomes = Counter("tidemark_delivery_outcomes_total", "Answers of providers.", ["provider", "outcome"], registry=None)
        if delivers:
            self.registry.register(self._close_to_delivered)
            self.registry.register(self._outcomes)

    def delivered(self, seconds_since_close: float) -> None:
        """A window that closed so long ago has its provider's answer."""
        self._close_to_delivered.observe(max(0.0, seconds_since_close))

    def outcome(self, provider: str, outcome: str) -> None:
        """A provider answered a report; `outcome` is one of law 15."""
        self._outcomes.labels(provider, outcome).inc()

    def exposition(self) -> bytes:
        """Everything in Prometheus' text format."""
        return generate_latest(self.registry)
