"""What falls due without a call: done by the housekeeping, four times a second, and after the clock was set."""

from __future__ import annotations

from collections.abc import Callable

from infra.sandbox import events, meter_judging, meter_reports, webhook_deliveries
from infra.sandbox.knobs import Knobs
from infra.sandbox.store import Store

Chore = Callable[[Store, Knobs, float], None]
"""Does what is due at an instant of the sandbox's clock, within a transaction of its own; doing it again does nothing."""


def _report_meters(store: Store, knobs: Knobs, now_s: float) -> None:
    meter_reports.report(store, knobs, now_s, events.emit_thin)


CHORES: tuple[Chore, ...] = (meter_judging.settle, _report_meters, events.settle, webhook_deliveries.begin)
