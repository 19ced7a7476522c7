"""Verbs that show: usage, windows, bindings."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from infra.cli.options import SEE, Config, Dir, Json
from infra.cli.output import note, print_json, say, table

Meter = Annotated[str | None, typer.Option("--meter", metavar="M", help="only this meter", show_default=False)]
From = Annotated[str | None, typer.Option("--from", metavar="T", help="from this instant on: 2026-11-03T10:00:00Z or a date", show_default=False)]
To = Annotated[str | None, typer.Option("--to", metavar="T", help="until before this instant", show_default=False)]
Limit = Annotated[int, typer.Option("--limit", min=1, max=100_000, metavar="N", help="at most this many rows")]


def register(app: typer.Typer) -> None:
    """Adds these verbs."""
    for verb in (usage, windows, bindings):
        app.command(verb.__name__, rich_help_panel=SEE)(verb)


def usage(
    customer: Annotated[str, typer.Argument(metavar="CUSTOMER", show_default=False)],
    meter: Meter = None,
    since: From = None,
    until: To = None,
    directory: Dir = None,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Shows a customer's running totals by meter, and what was not counted and why.

    \b
    tidemark usage acme
    tidemark usage acme --meter api_calls --from 2026-11-01 --to 2026-12-01
    """
    from infra import reading
    from infra.target import resolve

    settings = resolve(directory, config).settings
    parameters: dict[str, Any] = {"customer": customer, "meter": meter or "", **reading.span(since, until)}
    totals = reading.ask(settings, reading.USAGE, parameters)
    not_counted = reading.ask(settings, reading.NOT_COUNTED, parameters)
    if as_json:
        print_json({"customer": customer, "usage": totals, "not_counted": not_counted})
        return
    if not totals:
        say(f"nothing of {customer!r} is counted in that time")
    else:
        rows = [[row["meter"], row["quantity"], row["events"], row["first"], row["last"]] for row in totals]
        table(("meter", "quantity", "events", "first", "last"), rows, right=("quantity", "events"))
    for row in not_counted:
        note(f"{row['events']} not counted: {row['verdict']}" + (f" ({row['reason']})" if row["reason"] else ""))


def windows(
    customer: Annotated[str | None, typer.Option("--customer", metavar="C", help="only this customer", show_default=False)] = None,
    meter: Meter = None,
    state: Annotated[
        str | None,
        typer.Option("--state", metavar="S", help="open, reopened, undelivered, delivered, parked or unbound", show_default=False),
    ] = None,
    limit: Limit = 1000,
    directory: Dir = None,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Lists windows with their state, revisions and what was delivered of them.

    \b
    tidemark windows --state parked
    tidemark windows --customer acme --meter api_calls
    """
    from infra import reading
    from infra.target import resolve

    parameters = {"customer": customer or "", "meter": meter or "", "state": state or "", "limit": limit}
    found = reading.ask(resolve(directory, config).settings, reading.WINDOWS, parameters)
    columns = ("customer", "meter", "window_start", "window_end", "state", "reason", "counted", "events", "emitted", "delivered", "revisions")
    _rows(found, columns, as_json, "there is no such window", right=columns[6:])


def bindings(
    customer: Annotated[str | None, typer.Option("--customer", metavar="C", help="only this customer", show_default=False)] = None,
    limit: Limit = 1000,
    directory: Dir = None,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Lists who is billed where: each version of each item, with the instants it holds for.

    \b
    tidemark bindings --customer acme
    """
    from infra import reading
    from infra.target import resolve

    found = reading.ask(resolve(directory, config).settings, reading.BINDINGS, {"customer": customer or "", "limit": limit})
    columns = ("customer", "meter", "provider", "item", "price", "period", "period_anchor", "valid_from", "valid_until")
    if not as_json:
        for row in found:
            row["valid_from"] = "the beginning" if row["valid_from"] <= "1900-01-02" else row["valid_from"]
            row["valid_until"] = "" if row["valid_until"] >= "2299" else row["valid_until"]
    _rows(found, columns, as_json, "nobody is bound; `tidemark stripe sync` or [[customers]] with `tidemark apply`")


def _rows(found: list[dict[str, Any]], columns: tuple[str, ...], as_json: bool, nothing: str, right: tuple[str, ...] = ()) -> None:
    if as_json:
        print_json(found)
    elif not found:
        say(nothing)
    else:
        table(columns, [[row[name] for name in columns] for row in found], right=right)
