"""Verbs around a customer's plan and time: flush, clock."""

from __future__ import annotations

import asyncio
from typing import Annotated

import typer

from infra.cli.options import SEND, Config, Dir, Json
from infra.cli.output import note, print_json, say, status_line


def register(app: typer.Typer) -> None:
    """Adds these verbs."""
    for verb in (flush, clock):
        app.command(verb.__name__, rich_help_panel=SEND)(verb)


def flush(
    customer: Annotated[str, typer.Option("--customer", metavar="C", help="whose usage", show_default=False)],
    until: Annotated[str, typer.Option("--until", metavar="T", help="windows that start before it: now, or RFC 3339")] = "now",
    timeout_s: Annotated[float, typer.Option("--timeout", min=0.0, metavar="S", help="seconds to wait")] = 120.0,
    directory: Dir = None,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Reports what a customer has used until now, before its plan changes; waits until it is delivered or parked.

    A provider may drop or prorate what was not reported when the plan changes. So: flush, change the plan, sync. The new binding cuts
    windows at its own valid_from; a flush cuts nothing, and what comes after it follows as a revision. Exit code 1 at the time-out.

    \b
    tidemark flush --customer acme
    tidemark flush --customer acme --until 2026-11-03T10:00:00Z
    """
    from infra.clock import now_ms
    from infra.flush import flush_customer
    from infra.reading import instant
    from infra.target import resolve

    until_s = now_ms() // 1000 + 1 if until == "now" else instant(until, "--until") // 1_000_000
    target = resolve(directory, config)
    with status_line("flushing", quiet=as_json) as tell:
        found = asyncio.run(flush_customer(target, customer, until_s, timeout_s, tell))
    if as_json:
        print_json({"customer": customer, "until_s": until_s, "done": found.status["settled"], "still_open": found.still_open})
    elif found.status["settled"]:
        say(f"what {customer!r} used is delivered or parked; change the plan now, then `tidemark stripe sync`")
    if not found.status["settled"]:
        for point in found.still_open:
            note(f"still open: {point}")
        raise typer.Exit(1)


def clock(
    customer: Annotated[str, typer.Argument(metavar="CUSTOMER", help="who lives by it")],
    name: Annotated[str, typer.Argument(metavar="CLOCK", help="the provider's test clock that the customer's binding names")],
    shows: Annotated[str, typer.Argument(metavar="T", help="what it shows: RFC 3339")],
    directory: Dir = None,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Says what a customer's test clock shows: its events, windows and horizons follow it from then on. It never goes back.

    The webhook receiver does this by itself when a clock at Stripe advances.

    \b
    tidemark clock acme clock_1Mr3I22eZvKYlo2Ck0rgMqd7 2027-01-03T10:00:00Z
    """
    from infra.flush import publish_clock
    from infra.reading import instant
    from infra.target import resolve

    now_s = instant(shows, "T") // 1_000_000
    publish_clock(resolve(directory, config).settings, [customer], name, now_s)
    if as_json:
        print_json({"customer": customer, "clock": name, "now_s": now_s})
    else:
        say(f"{name} shows {shows} for {customer!r}")
