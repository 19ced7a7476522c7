"""The verb `explain`: a window, a customer's period, an invoice line, or the line that has an amount."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from infra.cli.options import SEE, Config, Dir, Json
from infra.cli.output import note, print_json
from infra.cli.see import From, Limit, To

if TYPE_CHECKING:
    from infra.explaining.evidence import Written
    from infra.explaining.page import Page
    from infra.settings import Settings


def register(app: typer.Typer) -> None:
    """Adds this verb."""
    app.command("explain", rich_help_panel=SEE)(explain)


def explain(
    customer: Annotated[str | None, typer.Argument(metavar="CUSTOMER", show_default=False)] = None,
    meter: Annotated[str | None, typer.Argument(metavar="METER", show_default=False)] = None,
    start: Annotated[str | None, typer.Argument(metavar="START", help="an instant inside the window", show_default=False)] = None,
    invoice_line: Annotated[
        str | None, typer.Option("--invoice-line", metavar="ID", help="an invoice line instead: il_…, in_…/il_… or in_…", show_default=False)
    ] = None,
    period: Annotated[
        str | None, typer.Option("--period", metavar="T", help="the whole billing period that holds this instant", show_default=False)
    ] = None,
    since: From = None,
    until: To = None,
    amount: Annotated[str | None, typer.Option("--amount", metavar="A", help="the line with this amount, as printed", show_default=False)] = None,
    units: Annotated[int | None, typer.Option("--units", metavar="N", help="the line with this many units", show_default=False)] = None,
    around: Annotated[
        str | None, typer.Option("--around", metavar="T", help="the line of about then: 2026-11, a date or an instant", show_default=False)
    ] = None,
    currency: Annotated[str | None, typer.Option("--currency", metavar="C", help="of the amount: usd", show_default=False)] = None,
    html: Annotated[Path | None, typer.Option("--html", metavar="FILE", help="write one page to hand over", show_default=False)] = None,
    evidence: Annotated[
        Path | None, typer.Option("--evidence", metavar="FILE", help="write the events themselves, chained by hash", show_default=False)
    ] = None,
    limit: Limit = 50,
    directory: Dir = None,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Takes a bill apart: totals, how units become money, events, duplicates, late ones, revisions, what was sent when, and the proof recomputed.

    A window, a customer's period (one meter or all), an invoice line, or the line with an amount for who holds only the invoice.

    Exit code 1 where the proof does not hold, or no line has the amount.

    \b
    tidemark explain acme api_calls 2026-11-03T10:00:00Z
    tidemark explain acme api_calls --period 2026-11-03
    tidemark explain acme --from 2026-11-01 --to 2026-12-01
    tidemark explain --invoice-line in_1P3x7q/il_1P3x9z --html line.html --evidence line.jsonl
    tidemark explain acme --amount 42.12 --around 2026-11
    """
    from infra.target import resolve

    asked = _Asked(customer, meter, start, invoice_line, period, since, until, amount, units, around, currency)
    kind = _kind(asked)
    settings = resolve(directory, config).settings
    answer = _ANSWERS[kind](settings, asked, limit)
    written = _files(settings, answer.page(), html, evidence)
    if as_json:
        print_json(answer.json() | ({} if written is None else {"evidence": written._asdict()}))
    else:
        answer.show(limit)
    if answer.faults():
        raise typer.Exit(1)


def _files(settings: Settings, found: Page, html: Path | None, evidence: Path | None) -> Written | None:
    """Writes the files that were asked for; none where nothing was found. Raises UsageError where one cannot be written."""
    from infra.clock import now_ms
    from infra.explaining.evidence import write
    from infra.explaining.page import page
    from topics.errors import UsageError

    if found.is_empty:
        return None
    written = None
    try:
        if evidence is not None:
            written = write(settings, found, evidence)
            note(f"{written.events:,} events in {evidence}, SHA-256 {written.sha256}")
        if html is not None:
            html.write_text(page(found, now_ms(), written), encoding="utf-8")
            note(f"the page is in {html}")
    except OSError as error:
        raise UsageError(f"{error.filename or 'the file'} cannot be written: {error.strerror}") from None
    return written


class _Asked(NamedTuple):
    customer: str | None
    meter: str | None
    start: str | None
    invoice_line: str | None
    period: str | None
    since: str | None
    until: str | None
    amount: str | None
    units: int | None
    around: str | None
    currency: str | None


class _Answer(NamedTuple):
    """What was found, and how it is shown in each form."""

    json: Any
    show: Any
    page: Any
    faults: Any


def _kind(asked: _Asked) -> str:
    """Which of the four is asked for. Raises UsageError where it is none of them, or several."""
    from topics.errors import UsageError

    by_amount = asked.amount is not None or asked.units is not None
    chosen = {
        "line": asked.invoice_line is not None,
        "amount": by_amount,
        "period": asked.period is not None or asked.since is not None or asked.until is not None,
        "window": asked.start is not None,
    }
    kinds = [kind for kind, is_asked in chosen.items() if is_asked]
    if len(kinds) > 1:
        raise UsageError("ask for one thing: a window (START), a period (--period, or --from and --to), --invoice-line, or --amount and --units")
    if not kinds:
        raise UsageError("name the window: tidemark explain CUSTOMER METER START; or --period, --from and --to, --invoice-line, --amount")
    kind = kinds[0]
    if kind == "line" and asked.customer is not None:
        raise UsageError("an invoice line says itself whose it is: tidemark explain --invoice-line ID")
    if kind != "line" and asked.customer is None:
        raise UsageError("name the customer first: tidemark explain CUSTOMER …")
    if kind == "amount" and asked.meter is not None:
        raise UsageError("a line is looked for by its amount among all meters: tidemark explain CUSTOMER --amount A")
    if kind != "amount" and (asked.around is not None or asked.currency is not None):
        raise UsageError("--around and --currency narrow a search by --amount or --units")
    if kind == "period" and (asked.period is None) == (asked.since is None or asked.until is None):
        raise UsageError("a period is --period T, or --from T and --to T")
    return kind


def _window(settings: Settings, asked: _Asked, _limit: int) -> _Answer:
    from infra.explaining import as_json, show
    from infra.explaining.window import explained_window

    found = explained_window(settings, str(asked.customer), str(asked.meter), str(asked.start))
    return _Answer(
        lambda: as_json.explanation_json(found),
        lambda limit: show.show_window(found, limit),
        lambda: _page(windows=[found]),
        lambda: found.faults,
    )


def _line(settings: Settings, asked: _Asked, limit: int) -> _Answer:
    from infra.explaining import as_json, show_line
    from infra.explaining.line import explained_line

    found = explained_line(settings, str(asked.invoice_line), limit=limit)
    return _Answer(
        lambda: as_json.line_json(found), lambda limit: show_line.show_line(found, limit), lambda: _page(lines=[found]), lambda: found.faults
    )


def _period(settings: Settings, asked: _Asked, limit: int) -> _Answer:
    from infra.explaining import as_json, show_line
    from infra.explaining.period import explained_period
    from infra.reading import instant

    at_s = None if asked.period is None else instant(asked.period, "--period") // 1_000_000
    span_s = None if at_s is not None else (instant(str(asked.since), "--from") // 1_000_000, instant(str(asked.until), "--to") // 1_000_000)
    found = explained_period(settings, str(asked.customer), asked.meter, at_s=at_s, span_s=span_s, limit=limit)
    return _Answer(
        lambda: as_json.period_json(found), lambda limit: show_line.show_period(found, limit), lambda: _page(period=found), lambda: found.faults
    )


def _amount(settings: Settings, asked: _Asked, limit: int) -> _Answer:
    from infra.explaining import as_json, show_line
    from infra.explaining.amount import around_of, explained_amount
    from sinks.stripe.find_amount import Asked

    around = None if asked.around is None else around_of(asked.around)
    wanted = Asked(asked.amount or "", asked.units, around, asked.currency or "")
    found = explained_amount(settings, str(asked.customer), wanted, limit=limit)
    return _Answer(
        lambda: as_json.amounts_json(found),
        lambda limit: show_line.show_amounts(found, limit),
        lambda: _page(lines=list(found.matches)),
        lambda: found.faults or not found.matches,
    )


def _page(**parts: Any) -> Page:
    from infra.explaining.page import Page

    return Page(**parts)


_ANSWERS: Any = {"window": _window, "line": _line, "period": _period, "amount": _amount}
