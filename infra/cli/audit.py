"""`tidemark audit`."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Annotated

import typer

from infra.cli.options import REPAIR, Config, Dir, Json
from infra.cli.output import note, print_json, progress_bar


def register(app: typer.Typer) -> None:
    """Adds this verb."""
    app.command("audit", rich_help_panel=REPAIR)(audit)


def audit(
    partition: Annotated[
        list[int] | None, typer.Option("--partition", metavar="N", help="only this one; may be said again", show_default=False)
    ] = None,
    customer: Annotated[
        str | None, typer.Option("--customer", metavar="C", help="only what concerns this customer, on the home partition", show_default=False)
    ] = None,
    archive: Annotated[bool, typer.Option("--archive/--no-archive", help="compare with ClickHouse too, or leave it out (it is down)")] = True,
    since: Annotated[
        str | None, typer.Option("--since", metavar="T", help="ids that are there twice: only copies received since", show_default=False)
    ] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, max=100_000, metavar="N", help="at most this many findings of a sort")] = 50,
    directory: Dir = None,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Counts everything again, from Kafka's log and from ClickHouse, and compares it with every number that the product holds.

    Of each partition, at one point of its log: the log is counted again record by record, without the meter's own code; that is held against
    the table (usage.state: rows and counters), against every revision on usage.windows, against what is in force, and against ClickHouse: its
    copy of the log byte for byte, its verdicts, what its views add up to. Every difference is named by partition, customer, meter and window,
    with both numbers and a probable cause. Ids that were counted twice because their copies lie further apart than `dedup` promises, and ids
    with two bodies, are listed too. It reads only, and may run while events keep coming; a meter's work of an hour takes some minutes.

    Exit code 0: all that could be checked agrees (what could not is listed); 1: something was found; 3: a server does not answer.

    \b
    tidemark audit                             everything
    tidemark audit --partition 2 --json        one partition, for a program
    tidemark audit --customer acme             one customer
    tidemark audit --since 2026-11-20          ids sent twice long ago are known by now
    """
    import asyncio
    from dataclasses import replace

    from infra.auditing import run as auditing
    from infra.auditing.partition import Order
    from infra.auditing.show import document, is_clean, show
    from infra.reading import clickhouse, instant
    from infra.target import resolve

    settings = resolve(directory, config).settings
    since_ms = -1 if since is None else instant(since, "--since") // 1000
    reader = clickhouse(settings) if archive else None
    order = Order(partitions=partition or (), customer=customer, archive=reader, since_ms=since_ms)
    try:
        with progress_bar("counting again", asyncio.run(auditing.extent(settings, order)), quiet=as_json) as step:
            found = asyncio.run(auditing.audit(settings, replace(order, tell=_teller(quiet=as_json), step=step)))
    finally:
        if reader is not None:
            reader.close()
    if as_json:
        print_json(document(found))
    else:
        show(found, limit)
    raise typer.Exit(0 if is_clean(found) else 1)


def _teller(*, quiet: bool) -> Callable[[str], None]:
    """One line a step on stderr where there is no terminal; on a terminal the bar says it."""
    return (lambda _text: None) if quiet or sys.stderr.isatty() else note
