"""`tidemark serve webhooks`, `tidemark serve reconcile`."""

from __future__ import annotations

import asyncio
from typing import Annotated

import typer

from infra.cli.options import START, Config, Dir, Json
from infra.cli.output import print_json, say

verbs = typer.Typer(help="Servers of Tidemark that others call.", no_args_is_help=True)


def register(app: typer.Typer) -> None:
    """Adds this group."""
    app.add_typer(verbs, name="serve", rich_help_panel=START)


@verbs.callback()
def group() -> None:
    """Servers of Tidemark that others call."""


@verbs.command()
def webhooks(
    listen: Annotated[str, typer.Option("--listen", metavar="HOST:PORT", help="where; port 0 takes a free one")] = "127.0.0.1:8180",
    directory: Dir = None,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Receives Stripe's webhooks at /stripe, until SIGTERM: who is billed where, invoices and test clocks come into the log by themselves.

    An event only says what to look at: what is true is asked of Stripe, so webhooks may come late, twice and in any order. 200 is answered
    when Kafka has acknowledged it and a binding is in force; 503 makes Stripe send again. `usage.notices` tells your application of
    payments and of subscriptions that ended.

    \b
    In the Dashboard: an endpoint https://YOU/stripe for customer.subscription.*, invoice.* and test_helpers.test_clock.*,
    and an event destination with thin payload for the two v1.billing.meter.* error types. Their secrets:
      STRIPE_WEBHOOK_SECRET=whsec_…,whsec_…      several with commas: both endpoints, or old and new while one is rolled
      tidemark serve webhooks --listen 127.0.0.1:8180
    HTTPS ends at your proxy, which forwards /stripe alone: /metrics, /status, /live and /ready are for you.
    """
    from infra import logs
    from infra.target import resolve
    from infra.webhooks.app import address_of, serve

    host, port = address_of(listen)
    logs.configure("webhooks")
    ready = (lambda url: print_json({"url": url})) if as_json else (lambda url: say(f"webhooks are received at {url}; Ctrl-C ends it"))
    asyncio.run(serve(lambda: resolve(directory, config).settings, host, port, ready))


@verbs.command("reconcile")
def reconcile(
    listen: Annotated[str, typer.Option("--listen", metavar="HOST:PORT", help="where; port 0 takes a free one")] = "127.0.0.1:8181",
    directory: Dir = None,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Runs `tidemark reconcile` every `[reconcile] every` (1h), until SIGTERM, and shows what came of it.

    Each drift that the run before had not is an alarm in the log. /metrics has tidemark_drift{kind} and what it is worth, how long ago the last
    run was, and all windows by state; /status has the first sentences; /ready says no where no run came to its end for three times as long.
    It looks back `[reconcile] back` (62 days) and to the oldest drift that is still there; when it starts, and every `whole` (1d), at everything.
    `tidemark up` and compose run it.

    \b
      tidemark serve reconcile --listen 127.0.0.1:8181
    """
    from infra import logs
    from infra.reconciling.serve import serve
    from infra.target import resolve
    from infra.webhooks.app import address_of

    address_of(listen)
    logs.configure("reconcile")
    ready = (lambda url: print_json({"url": url})) if as_json else (lambda url: say(f"what was reconciled is shown at {url}/status; Ctrl-C ends it"))
    asyncio.run(serve(resolve(directory, config).settings, listen, ready))
