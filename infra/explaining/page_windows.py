"""Windows on the page: by day, each with what Stripe holds of it, its revisions, and what was sent when. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Final

from infra.explaining.markup import Child, Markup, code, table, tag, time
from infra.explaining.words import clock, number_text, quantity, stretch
from topics.instants import format_s

if TYPE_CHECKING:
    from sinks.clickhouse.explanation import Attempt
    from sinks.clickhouse.line import LineWindow, LineWindows
    from sinks.clickhouse.span_windows import SpanWindow

ROWS: Final = 2500
"""Of one table: a quarter of hours; of more the contradicting and the largest are shown. All are in the JSON and in the evidence."""
DAY_S: Final = 86_400
BAR: Final = 100
"""Width of the longest bar, in the picture's own units."""


def by_day(found: LineWindows) -> Markup | None:
    """Days with their events and quantity, as numbers and as bars; nothing where all lies within two days."""
    windows = [each.window for each in found.windows] or list(found.span.windows)
    days: dict[int, list[SpanWindow]] = defaultdict(list)
    for window in windows:
        days[window.start_s - window.start_s % DAY_S].append(window)
    if len(days) < 3:
        return None
    sums = {day: sum(window.now_scaled for window in of) for day, of in days.items()}
    most = max(1, *map(abs, sums.values()))
    rows: list[list[Child]] = [
        [
            format_s(day)[:10],
            len(of),
            f"{sum(window.now_events for window in of):,}",
            quantity(sums[day]),
            _bar(max(0, sums[day]) * BAR // most),
        ]
        for day, of in sorted(days.items())
    ]
    columns = [("day (UTC)", False), ("windows", True), ("events", True), ("counted", True), ("", False)]
    foot: list[Child] = ["together", len(windows), f"{sum(w.now_events for w in windows):,}", quantity(sum(sums.values())), ""]
    return tag("section", tag("h2", "By day"), table("What was counted, by the day on which each window begins", columns, rows, foot=foot))


def _bar(length: int) -> Markup:
    bar = tag("rect", x="0", y="0", width=str(length), height="7")
    return tag("svg", bar, class_="bar", viewBox=f"0 0 {BAR} 7", preserveAspectRatio="none", aria_hidden="true")


def line_windows(found: LineWindows) -> Markup:
    """The windows on a line."""
    chosen = _chosen(found.windows, lambda each: (each.is_proved, -abs(each.window.now_scaled)))
    columns = [
        ("window", False), ("events", True), ("late", True), ("counted", True), ("units set", True), ("answered at", False),
        ("Stripe's request", False), ("recount", False),
    ]  # fmt: skip
    counted = quantity(sum(each.window.now_scaled for each in found.windows))
    foot = ["together", f"{found.events:,}", "", counted, quantity(found.units_scaled), "", "", ""]
    caption = _caption("Each window on the line: its events counted again, and what Stripe answered last", len(chosen), len(found.windows))
    return tag("section", tag("h2", "Windows"), table(caption, columns, [_line_row(each) for each in chosen], foot=foot))


def _line_row(each: LineWindow) -> list[Child]:
    window, answer = each.window, each.answer
    return [
        time(stretch(each.start_s, each.end_s)), f"{window.now_events:,}", window.late or "", quantity(window.now_scaled), number_text(answer.units),
        time(clock(answer.reported_at_ms)), code(answer.request_id), _recount(is_equal=each.is_proved),
    ]  # fmt: skip


def span_windows(windows: Sequence[SpanWindow]) -> Markup:
    """The windows of a period."""
    chosen = _chosen(windows, lambda each: (each.follows, -abs(each.now_scaled)))
    columns = [
        ("window", False), ("state", False), ("events", True), ("late", True), ("counted", True), ("delivered", True), ("answered at", False),
        ("Stripe's request", False), ("recount", False),
    ]  # fmt: skip
    counted, delivered = (quantity(sum(getattr(each, name) for each in windows)) for name in ("now_scaled", "delivered_scaled"))
    foot = ["together", "", f"{sum(each.now_events for each in windows):,}", "", counted, delivered, "", "", ""]
    caption = _caption("Each window: its events counted again, and what Stripe answered last", len(chosen), len(windows))
    return tag("section", tag("h2", "Windows"), table(caption, columns, [_span_row(each) for each in chosen], foot=foot))


def _span_row(window: SpanWindow) -> list[Child]:
    answer = window.standing
    return [
        time(stretch(window.start_s, window.end_s)), f"{window.state} {window.reason}".strip(), f"{window.now_events:,}", window.late or "",
        quantity(window.now_scaled), quantity(window.delivered_scaled), "" if answer is None else time(clock(answer.reported_at_ms)),
        "" if answer is None else code(answer.request_id), _recount(is_equal=window.follows),
    ]  # fmt: skip


def _recount(*, is_equal: bool) -> Child:
    return "equal" if is_equal else tag("strong", "DIFFERS", class_="bad")


def _chosen(windows: Iterable[Any], rank: Any) -> list[Any]:
    """All, by time; of too many the contradicting and the largest."""
    listed = list(windows)
    return sorted(sorted(listed, key=rank)[:ROWS], key=lambda each: each.start_s) if len(listed) > ROWS else listed


def _caption(text: str, shown: int, there_are: int) -> str:
    return text if shown == there_are else f"{text}. {shown:,} of {there_are:,} are shown: contradicting ones, then the largest"


def waiting(windows: Sequence[SpanWindow], heading: str, why: str) -> Markup | None:
    """Windows of which the provider does not hold what is counted."""
    if not windows:
        return None
    columns = [("window", False), ("state", False), ("reason", False), ("counted", True), ("Stripe holds", True), ("difference", True)]
    rows = [
        [
            time(stretch(window.start_s, window.end_s)),
            window.state,
            window.reason,
            quantity(window.now_scaled),
            quantity(window.delivered_scaled),
            quantity(window.now_scaled - window.delivered_scaled),
        ]
        for window in windows[:ROWS]
    ]
    return tag("section", tag("h2", f"{heading}: {len(windows):,} windows"), table(f"Windows of this period: {why}", columns, rows))


def revisions(windows: Iterable[SpanWindow], *, all_of_them: bool = False) -> Markup | None:
    """Totals as emitted, recounted; of many windows those that have more than one, or contradict."""
    told = [window for window in windows if all_of_them or len(window.revisions) > 1 or not window.follows]
    rows = [row for window in told for row in _revision_rows(window)]
    if not rows:
        return None
    columns = [
        ("window", False), ("revision", True), ("total", True), ("events", True), ("emitted at", False), ("because", False), ("content hash", False),
        ("recount", False),
    ]  # fmt: skip
    said = "Every total that was emitted" if all_of_them else f"Totals of the {len(told):,} windows that were emitted more than once"
    caption = _caption(f"{said}, each counted and hashed again from the events up to its offset", min(ROWS, len(rows)), len(rows))
    return tag("section", tag("h2", "Revisions"), table(caption, columns, rows[:ROWS]))


def _revision_rows(window: SpanWindow) -> Iterable[list[Child]]:
    for place, revision in enumerate(window.revisions, 1):
        yield [
            time(stretch(window.start_s, window.end_s)), place, quantity(revision.scaled), f"{revision.events:,}",
            time(clock(revision.closed_at_ms)), revision.cause, code(f"{revision.hash[:16]}…"), _recount(is_equal=revision.is_proved),
        ]  # fmt: skip


def deliveries(windows: Iterable[SpanWindow], *, all_of_them: bool = False) -> Markup | None:
    """What was sent when and what came back; of many windows those that were sent more than once, or not with a plain answer."""
    told = [
        window for window in windows if all_of_them or len(window.attempts) > 1 or any(not attempt.is_answered for attempt in window.attempts)
    ]
    rows = [_attempt_row(window, attempt) for window in told for attempt in window.attempts]
    if not rows:
        return None
    columns = [
        ("window", False), ("cell", False), ("revision", True), ("units set", True), ("state", False), ("intent at", False), ("answered at", False),
        ("HTTP", True), ("Stripe's request", False), ("idempotency key", False),
    ]  # fmt: skip
    said = "Every attempt to deliver" if all_of_them else f"Attempts for the {len(told):,} windows that were not sent just once"
    caption = _caption(f"{said}; an intent is written down before each call", min(ROWS, len(rows)), len(rows))
    return tag("section", tag("h2", "Deliveries"), table(caption, columns, rows[:ROWS]))


def _attempt_row(window: SpanWindow, attempt: Attempt) -> list[Child]:
    why = [tag("br"), attempt.reason, f": {attempt.sentence}" if attempt.sentence else ""] if attempt.reason else None
    return [
        time(stretch(window.start_s, window.end_s)), code(attempt.cell) if attempt.cell else "the whole window",
        f"{attempt.revision}.{attempt.attempt}", number_text(attempt.units), [attempt.state, why],
        time(clock(attempt.intent_at_ms)), time(clock(attempt.reported_at_ms)), attempt.http_status or "",
        code(attempt.request_id) if attempt.request_id else "", code(attempt.idempotency_key) if attempt.idempotency_key else "",
    ]  # fmt: skip
