"""`tidemark send events|access-log|csv`."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from infra.cli.options import SEND, Config, Dir, Json
from infra.cli.output import note, print_json, progress_bar, say

if TYPE_CHECKING:
    from infra.send.outgoing import BadLine, Outgoing
    from infra.send.publish import Sent

    Read = Callable[[Iterator[tuple[int, bytes]]], Iterator[Outgoing | BadLine]]

verbs = typer.Typer(
    help="Publishes usage and returns once the broker has acknowledged it. Ids are those of the lines: the same file twice counts once.",
    no_args_is_help=True,
)
Shift = Annotated[
    bool,
    typer.Option("--shift-to-now", help="move all times so that the last event is just past: old files as if they were of today", show_default=False),
]
Source = Annotated[
    str | None, typer.Option("--source", metavar="S", help="CloudEvents source; tells equal lines of different origins apart", show_default=False)
]
File = Annotated[str, typer.Argument(metavar="FILE|-", help="a file (.gz too), or - for standard input", show_default=False)]
BAD_SHOWN = 20


def register(app: typer.Typer) -> None:
    """Adds this group."""
    app.add_typer(verbs, name="send", rich_help_panel=SEND)


@verbs.command()
def events(file: File, shift_to_now: Shift = False, directory: Dir = None, config: Config = None, as_json: Json = False) -> None:
    """Sends CloudEvents, one a line, exactly as they stand; the key is the subject.

    A wrong event is sent too, so that it is kept with its reason in usage.rejected. A line without a subject cannot be: it is named, the rest is
    sent, and the exit code is 1.

    \b
    tidemark send events usage.jsonl
    produce-usage | tidemark send events -
    """
    from infra.send.events import read_events

    _send(file, lambda lines: read_events(lines, shift=shift_to_now), shift_to_now, directory, config, as_json)


@verbs.command("access-log")
def access_log(
    file: File, shift_to_now: Shift = False, source: Source = None, directory: Dir = None, config: Config = None, as_json: Json = False
) -> None:
    """Sends a web server's log (combined or common format): customer = client address, type http.request, data {bytes, status, method}.

    \b
    tidemark send access-log /var/log/nginx/access.log
    tidemark send access-log access.log.2.gz --shift-to-now
    """
    from infra.send.access_log import SOURCE, read_access_log

    _send(file, lambda lines: read_access_log(lines, source=source or SOURCE), shift_to_now, directory, config, as_json)


@verbs.command("csv")
def csv_rows(
    file: File,
    event_type: Annotated[str, typer.Option("--type", metavar="T", help="CloudEvents type, which selects the meters", show_default=False)],
    customer: Annotated[str | None, typer.Option("--customer", metavar="C", help="one customer for all rows", show_default=False)] = None,
    customer_column: Annotated[
        str | None, typer.Option("--customer-column", metavar="N", help="the column that names the customer", show_default=False)
    ] = None,
    value: Annotated[
        str | None, typer.Option("--value", metavar="V", help="the column with the quantity; in data it is also `value`", show_default=False)
    ] = None,
    time: Annotated[
        str | None, typer.Option("--time", metavar="T", help="the column with the time; without it, the time of arrival", show_default=False)
    ] = None,
    id_column: Annotated[
        str | None, typer.Option("--id", metavar="I", help="the column with the id; without it, the line's digest", show_default=False)
    ] = None,
    zone: Annotated[str, typer.Option("--zone", metavar="Z", help="zone of times that carry none")] = "UTC",
    shift_to_now: Shift = False,
    source: Source = None,
    directory: Dir = None,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Sends a CSV file with a header row; every other column becomes a property of data under its own name.

    \b
    tidemark send csv usage.csv --customer acme --type llm.request --time TIMESTAMP --value GeneratedTokens
    tidemark send csv calls.csv --customer-column account --type api.request --time when --zone Europe/Berlin
    """
    from infra.send.csv_rows import SOURCE, Columns, read_csv
    from topics.errors import UsageError

    if (customer is None) == (customer_column is None):
        raise UsageError("name the customer: either --customer C for all rows, or --customer-column N for a column that says it")
    columns = Columns(event_type, customer, customer_column, value, time, id_column, zone, source or SOURCE)
    columns.zone_info()
    _send(file, lambda lines: read_csv(lines, columns), shift_to_now, directory, config, as_json)


def _send(file: str, read: Read, shift: bool, directory: Path | None, config: Path | None, as_json: bool) -> None:
    from infra.clock import now_ms
    from infra.send.files import numbered_lines, rereadable, size_bytes
    from infra.send.outgoing import shift_to
    from infra.send.publish import latest_us, publish
    from infra.target import resolve

    settings = resolve(directory, config).settings
    with rereadable(file, twice=shift) as name:
        last_us = latest_us(read(numbered_lines(name))) if shift else None
        shift_us = 0 if last_us is None else shift_to(now_ms() * 1000, last_us)
        with progress_bar(f"sending {file}", size_bytes(name), quiet=as_json) as advance:
            sent = asyncio.run(publish(settings.kafka.bootstrap, read(numbered_lines(name, advance)), shift_us))
    _report(sent, as_json)
    if sent.bad:
        raise typer.Exit(1)


def _report(sent: Sent, as_json: bool) -> None:
    from topics.instants import format_us

    first = None if sent.first_us is None else format_us(sent.first_us)
    last = None if sent.last_us is None else format_us(sent.last_us)
    if as_json:
        bad = [line._asdict() for line in sent.bad]
        print_json(
            {"sent": sent.sent, "customers": len(sent.customers), "first": first, "last": last, "shift_s": sent.shift_us // 1_000_000, "bad": bad}
        )
        return
    span = "" if first is None else f", {first} … {last}"
    moved = f" (moved by {sent.shift_us // 1_000_000} s)" if sent.shift_us else ""
    say(f"sent and acknowledged: {sent.sent} events of {len(sent.customers)} customers{span}{moved}")
    for line in sent.bad[:BAD_SHOWN]:
        note(f"line {line.line} was not sent: {line.problem}")
    if len(sent.bad) > BAD_SHOWN:
        note(f"… and {len(sent.bad) - BAD_SHOWN} more lines were not sent; --json lists all")
