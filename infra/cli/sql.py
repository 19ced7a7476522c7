"""`tidemark sql`."""

from __future__ import annotations

from typing import Annotated

import typer

from infra.cli.options import SEE, Config, Dir, Json
from infra.cli.output import note, print_json, table


def register(app: typer.Typer) -> None:
    """Adds this verb."""
    app.command("sql", rich_help_panel=SEE)(sql)


def sql(
    query: Annotated[str, typer.Argument(metavar='"SELECT …"', help="a query that reads, or - to read it from standard input", show_default=False)],
    directory: Dir = None,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Asks ClickHouse, read-only. Views: usage_events, window_totals, window_revisions, deliveries, rejected_events, bindings, coverage.

    With --json: a list of {column: value}; decimals are strings, because a JSON number would round them.

    \b
    tidemark sql "SELECT customer, sum(quantity) FROM window_totals GROUP BY customer"
    tidemark sql "SELECT * FROM coverage WHERE state = 'parked'" --json
    """
    import sys

    from infra import reading
    from infra.target import resolve

    found = reading.ask(resolve(directory, config).settings, sys.stdin.read() if query == "-" else query)
    if as_json:
        print_json(found)
    elif not found:
        note("no rows")
    else:
        columns = tuple(found[0])
        table(columns, [[row.get(name) for name in columns] for row in found])
