"""An invoice line, a customer's period and lines found by their amount, for a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from infra.cli.output import say, table
from infra.explaining.show import show_money, show_remarkable, show_verdict, show_waiting
from infra.explaining.words import clock, money, stretch, visible
from topics.instants import format_s
from topics.quantity import format_scaled

if TYPE_CHECKING:
    from infra.explaining.amount import Amounts
    from infra.explaining.line import Explained
    from infra.explaining.period import MeterPeriod, Period
    from sinks.clickhouse.line import LineWindow
    from sinks.clickhouse.span_windows import SpanWindow
    from sinks.stripe.invoice_line import InvoiceLine


def show_line(explained: Explained, limit: int) -> None:
    """The line, how units become its amount, the windows with most units, what is remarkable, what is not on it, the verdict."""
    line, found = explained.line, explained.windows
    named = f" {visible(line.number)}" if line.number else ""
    say(f"invoice{named} {line.invoice} ({line.status}), line {line.id}")
    period = f"{format_s(line.start_s)} … {format_s(line.end_s)}"
    say(f"{visible(found.customer)} · {visible(found.meter)} · {period} · item {line.item} · price {line.price}")
    say(f"{line.units:,} units = {money(line.amount, line.currency)}")
    if explained.money is not None:
        say("")
        show_money(explained.money)
    say("")
    _show_windows(found.windows, limit)
    say("")
    say(f"{len(found.windows)} windows, {found.events:,} events: {found.units:,} units at Stripe, {line.units:,} on the line")
    for units, name, second in explained.carried:
        say(f"{units:,} units on the line were used in an earlier period: adjustment {name}, reported at {format_s(second)}")
    show_remarkable(found.span, limit)
    show_waiting(found.open, "not on the line", limit)
    show_verdict(explained.faults, found.span.notes, "the line follows from the raw events in ClickHouse, window by window")


def _show_windows(windows: tuple[LineWindow, ...], limit: int) -> None:
    chosen = sorted(sorted(windows, key=lambda each: (each.is_proved, -each.window.now_scaled))[:limit], key=lambda each: each.start_s)
    columns = ("window", "events", "late", "total", "units set", "attempts", "answered at", "Stripe's request", "events recounted")
    table(columns, [_line_row(each) for each in chosen], right=columns[1:6])
    if len(windows) > len(chosen):
        say(f"… {len(windows) - len(chosen)} more windows; --limit shows them")


def _line_row(each: LineWindow) -> list[object]:
    window, answer = each.window, each.answer
    return [
        stretch(each.start_s, each.end_s),
        f"{window.now_events:,}",
        window.late or "",
        format_scaled(each.delivered_scaled),
        answer.units,
        each.answers,
        clock(answer.reported_at_ms),
        visible(answer.request_id),
        "equal" if each.is_proved else "DIFFERS",
    ]


def show_period(found: Period, limit: int) -> None:
    """Each meter of a customer's period."""
    for place, each in enumerate(found.meters):
        say("" if place else f"{visible(found.customer)} · {format_s(found.from_s)} … {format_s(found.to_s)}")
        _show_meter(each, limit)


def _show_meter(found: MeterPeriod, limit: int) -> None:
    windows, span = found.windows, found.windows.span
    item = f" · item {windows.item}" if windows.item else ""
    say(f"{visible(windows.meter)} · {format_s(windows.start_s)} … {format_s(windows.end_s)}{item}")
    total = f"total {format_scaled(span.scaled)} from {span.events:,} events in {len(span.windows):,} windows"
    say(f"{total}; {format_scaled(windows.units_scaled)} units at Stripe")
    if found.line is not None:
        line = found.line
        say(f"on invoice {line.invoice} ({line.status}), line {line.id}: {line.units:,} units = {money(line.amount, line.currency)}")
    if found.money is not None:
        show_money(found.money)
    say("")
    _show_span_windows(span.windows, limit)
    show_remarkable(span, limit)
    show_waiting(windows.open, "not delivered as counted", limit)
    named = () if found.money is None else found.money.named
    notes = [note for note in found.notes if note not in named]
    show_verdict(found.faults, notes, "every total and hash of the period follows from the raw events in ClickHouse")


def _show_span_windows(windows: tuple[SpanWindow, ...], limit: int) -> None:
    chosen = sorted(sorted(windows, key=lambda each: (each.is_proved, -each.now_scaled))[:limit], key=lambda each: each.start_s)
    columns = ("window", "events", "late", "counted", "delivered", "state", "revisions", "answered at", "Stripe's request", "events recounted")
    table(columns, [_window_row(each) for each in chosen], right=columns[1:5])
    if len(windows) > len(chosen):
        say(f"… {len(windows) - len(chosen)} more windows; --limit shows them")


def _window_row(window: SpanWindow) -> list[object]:
    answer = window.standing
    return [
        stretch(window.start_s, window.end_s),
        f"{window.now_events:,}",
        window.late or "",
        format_scaled(window.now_scaled),
        format_scaled(window.delivered_scaled),
        window.state,
        len(window.revisions),
        clock(answer.reported_at_ms) if answer is not None else "",
        visible(answer.request_id) if answer is not None else "",
        "equal" if window.follows else "DIFFERS",
    ]


def show_amounts(found: Amounts, limit: int) -> None:
    """The lines that match, or what comes nearest."""
    for place, each in enumerate(found.matches):
        if place:
            say("")
        show_line(each, limit)
    if found.matches:
        return
    say(f"none of the {found.looked_at:,} lines of {visible(found.customer)} is that")
    if found.nearest:
        say("nearest:")
        table(
            ("line", "invoice", "period", "units", "amount", "but"), [_near_row(line, why) for line, why in found.nearest], right=("units", "amount")
        )


def _near_row(line: InvoiceLine, why: str) -> list[object]:
    named = line.number or line.status
    return [
        f"{line.invoice}/{line.id}",
        visible(named),
        stretch(line.start_s, line.end_s),
        f"{line.units:,}",
        money(line.amount, line.currency),
        why,
    ]
