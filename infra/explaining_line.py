"""`tidemark explain --invoice-line`: an invoice line from Stripe, taken apart down to the events in ClickHouse, for a person or as JSON."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, NamedTuple

from infra.cli.output import console, print_json, say, table
from infra.newest import newest_receipts
from infra.reading import clickhouse
from infra.stripe_catalog import access
from topics.errors import TidemarkError
from topics.instants import US_PER_MS, format_s, format_us
from topics.quantity import format_scaled
from topics.receipt import CellReceipt

if TYPE_CHECKING:
    from infra.settings import Settings
    from sinks.clickhouse.line import LineWindow, LineWindows
    from sinks.stripe.invoice_line import InvoiceLine


class Explained(NamedTuple):
    """A line, what is behind it, where the two disagree, and (units, adjustment, second) of what was used in an earlier period (law 16)."""

    line: InvoiceLine
    windows: LineWindows
    faults: list[str]
    carried: tuple[tuple[int, str, int], ...] = ()


def explained_line(settings: Settings, name: str) -> Explained:
    """The line and what is behind it. Raises TidemarkError where there is no such line, or it bills nobody of ours."""
    from sinks.clickhouse.line import line_windows, owners
    from sinks.stripe.invoice_line import find

    with access(settings) as stripe:
        line = find(stripe.old, name)
    archive = clickhouse(settings)
    try:
        found = owners(archive, line.item)
        if len(found) != 1:
            whose = "nobody is" if not found else f"{len(found)} customers and meters are"
            raise TidemarkError(f"{whose} bound to item {line.item} of line {line.id}; `tidemark bindings` lists who is billed where")
        windows = line_windows(archive, *found[0], line.item, line.start_s, line.end_s)
    finally:
        archive.close()
    carried = () if windows.units == line.units else _carried(settings, line)
    return Explained(line, windows, windows.faults(line.units - sum(units for units, _, _ in carried)), carried)


def _carried(settings: Settings, line: InvoiceLine) -> tuple[tuple[int, str, int], ...]:
    """What adjustments of earlier periods stand on the line, from `usage.receipts`: no window of the line's own period says it."""
    newest = asyncio.run(newest_receipts(settings.kafka.bootstrap)).values()
    said = [one.adjustment for one in newest if isinstance(one, CellReceipt) and one.item == line.item and one.adjustment is not None]
    return tuple((int(part.units), each.id, part.second) for each in said for part in each.carried if line.start_s <= part.second < line.end_s)


def explain_line(settings: Settings, name: str, *, limit: int, as_json: bool = False) -> bool:
    """Prints the line; False where it and its events disagree. Raises as explained_line."""
    found = explained_line(settings, name)
    if as_json:
        print_json(line_json(*found))
    else:
        show(*found, limit)
    return not found.faults


def line_json(line: InvoiceLine, found: LineWindows, faults: list[str], carried: tuple[tuple[int, str, int], ...]) -> dict[str, Any]:
    """Everything, with quantities as decimal strings and times as RFC 3339."""
    return {
        **line._asdict(),
        "start": format_s(line.start_s),
        "end": format_s(line.end_s),
        "customer": found.customer,
        "meter": found.meter,
        "delivered_units": found.units,
        "events": found.events,
        "windows": [
            {
                "start": format_s(window.start_s),
                "end": format_s(window.end_s),
                "cell": window.cell,
                "units": window.units,
                "quantity": format_scaled(window.delivered_scaled),
                "events": window.counted_events,
                "hash": window.hash,
                "attempts": window.revisions,
                "request_id": window.request_id,
                "reported_at": format_us(window.reported_at_ms * US_PER_MS),
                "proved": window.is_proved,
            }
            for window in found.windows
        ],
        "not_on_the_line": [
            {
                "start": format_s(window.start_s),
                "end": format_s(window.end_s),
                "state": window.state,
                "reason": window.reason,
                "counted": format_scaled(window.counted_scaled),
                "delivered": format_scaled(window.delivered_scaled),
            }
            for window in found.open
        ],
        "carried": [{"units": units, "adjustment": name, "at": format_s(second)} for units, name, second in carried],
        "proof": {"holds": not faults, "faults": faults},
    }


def money(amount: int, currency: str) -> str:
    """An amount of the minor unit for a table; every currency of Stripe's that has no minor unit says so by having none here."""
    if currency in NO_MINOR_UNIT:
        return f"{amount:,} {currency.upper()}"
    whole, rest = divmod(abs(amount), 100)
    return f"{'-' if amount < 0 else ''}{whole:,}.{rest:02d} {currency.upper()}"


NO_MINOR_UNIT = frozenset(("bif", "clp", "djf", "gnf", "jpy", "kmf", "krw", "mga", "pyg", "rwf", "ugx", "vnd", "vuv", "xaf", "xof", "xpf"))
"""Stripe, "Zero-decimal currencies"."""


def show(line: InvoiceLine, found: LineWindows, faults: list[str], carried: tuple[tuple[int, str, int], ...], limit: int) -> None:
    """For a person: the line, the windows with most units first chosen, then in time order, the sum, what is not on it, the verdict."""
    say(f"invoice {line.invoice} ({line.status}), line {line.id}")
    say(f"{found.customer} · {found.meter} · {format_s(line.start_s)} … {format_s(line.end_s)} · item {line.item} · price {line.price}")
    say(f"{line.units:,} units = {money(line.amount, line.currency)}")
    say("")
    chosen = sorted(sorted(found.windows, key=lambda window: (window.is_proved, -window.counted_scaled))[:limit], key=lambda window: window.start_s)
    columns = ("window", "events", "total", "units set", "attempts", "answered at", "Stripe's request", "events recounted")
    table(columns, [_row(window) for window in chosen], right=("events", "total", "units set", "attempts"))
    if len(found.windows) > len(chosen):
        say(f"… {len(found.windows) - len(chosen)} more windows; --limit shows them")
    say("")
    say(f"{len(found.windows)} windows, {found.events:,} events: {found.units:,} units at Stripe, {line.units:,} on the line")
    for units, name, second in carried:
        say(f"{units:,} units on the line were used in an earlier period: adjustment {name}, reported at {format_s(second)}")
    for window in found.open:
        why = f"{window.state} {window.reason}".strip()
        counted, delivered = format_scaled(window.counted_scaled), format_scaled(window.delivered_scaled)
        say(f"not on the line: window {format_s(window.start_s)} counts {counted}, Stripe holds {delivered} ({why})")
    out = console()
    for fault in faults:
        out.print(f"[red]{fault}[/red]")
    if not faults:
        out.print("[green]proved: the line follows from the raw events in ClickHouse, window by window[/green]")


def _row(window: LineWindow) -> list[object]:
    answered = format_us(window.reported_at_ms * US_PER_MS).replace("T", " ").rstrip("Z")
    return [
        f"{format_s(window.start_s)} … {format_s(window.end_s)[11:]}",
        f"{window.counted_events:,}",
        format_scaled(window.delivered_scaled),
        window.units,
        window.revisions,
        answered,
        window.request_id,
        "equal" if window.is_proved else "DIFFERS",
    ]
