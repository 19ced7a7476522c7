"""The thin events in which Stripe reports meter events that it did not count: one for each meter and validation window.

Source: https://docs.stripe.com/api/v2/core/events/event-types (v1.billing.meter.error_report_triggered, v1.billing.meter.no_meter_found)
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import groupby

from infra.sandbox.knobs import Knobs
from infra.sandbox.resources import Json
from infra.sandbox.store import Store

ERROR_REPORT = "v1.billing.meter.error_report_triggered"
NO_METER_FOUND = "v1.billing.meter.no_meter_found"


@dataclass(frozen=True, slots=True)
class Failure:
    """One meter event that does not count: of which meter ("" for none), why, which request sent it, and when it was judged, in seconds."""

    meter: str
    code: str
    message: str
    request: str
    judged_s: float


@dataclass(frozen=True, slots=True)
class Report:
    """A thin event to be sent: its type, the object that it is about (if any), its data, and the second at which its window ended."""

    kind: str
    related_object: Json | None
    data: Json
    ended_s: int


EmitThin = Callable[[Store, str, Json | None, Json, float], object]
"""Sends a thin event: store, type, related object (if any), data, and the instant."""


def report(store: Store, knobs: Knobs, now_s: float, emit_thin: EmitThin) -> None:
    """Reports every refused event whose window has ended, once: the mark and what `emit_thin` writes are one transaction of the caller."""
    window_s = max(1, knobs.meter_report_s)
    open_since_s = now_s // window_s * window_s
    rows = store.run(
        "SELECT seq, meter, code, message, request, judged_s FROM meter_events INDEXED BY meter_events_unreported "
        "WHERE state = 'refused' AND reported = 0 AND judged_s < ? ORDER BY seq",
        (open_since_s,),
    ).fetchall()
    failures = [Failure(meter or "", code, message, request, judged_s) for _, meter, code, message, request, judged_s in rows]
    for each in reports(failures, window_s=window_s, samples=knobs.meter_report_samples):
        emit_thin(store, each.kind, each.related_object, each.data, now_s)
    for seq, *_ in rows:
        store.run("UPDATE meter_events SET reported = 1 WHERE seq = ?", (seq,))


def reports(failures: Iterable[Failure], *, window_s: int, samples: int) -> list[Report]:
    """One report for each window (of `window_s` ≥ 1 seconds) and meter, in order of time; `samples` is the most samples of one code."""
    ordered = sorted(failures, key=lambda each: (_window(each, window_s), each.meter))
    groups = groupby(ordered, key=lambda each: (_window(each, window_s), each.meter))
    return [_report(meter, start_s, start_s + window_s, list(group), samples) for (start_s, meter), group in groups]


def _window(failure: Failure, window_s: int) -> int:
    return int(failure.judged_s // window_s) * window_s


def _report(meter: str, start_s: int, end_s: int, failures: list[Failure], samples: int) -> Report:
    by_code: dict[str, list[Failure]] = {}
    for each in failures:
        by_code.setdefault(each.code, []).append(each)
    count = len(failures)
    data = {
        "developer_message_summary": f"There {'is' if count == 1 else 'are'} {count} invalid event{'' if count == 1 else 's'}",
        "reason": {
            "error_count": count,
            "error_types": [
                {
                    "code": code,
                    "error_count": len(of_code),
                    "sample_errors": [{"error_message": each.message, "request": {"identifier": each.request}} for each in of_code[:samples]],
                }
                for code, of_code in by_code.items()
            ],
        },
        "validation_end": _instant(end_s),
        "validation_start": _instant(start_s),
    }
    if not meter:
        return Report(NO_METER_FOUND, None, data, end_s)
    return Report(ERROR_REPORT, {"id": meter, "type": "billing.meter", "url": f"/v1/billing/meters/{meter}"}, data, end_s)


def _instant(second: int) -> str:
    return datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")
