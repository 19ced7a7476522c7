"""`tidemark serve webhooks`."""

from __future__ import annotations

from typing import Annotated

import typer

from infra.cli.options import START, Config, Dir
from infra.cli.output import note

verbs = typer.Typer(help="What listens for others: Stripe's webhooks.", no_args_is_help=True)


def register(app: typer.Typer) -> None:
    """Adds this group."""
    app.add_typer(verbs, name="serve", rich_help_panel=START)


@verbs.command()
def webhooks(
    host: Annotated[str, typer.Option("--host", metavar="H", help="address to listen on")] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", min=0, max=65_535, metavar="P", help="port; 0 takes a free one")] = 8642,
    directory: Dir = None,
    config: Config = None,
) -> None:
    """Receives Stripe's webhooks: who is billed where, invoices, meter errors, payments. Until SIGTERM.

    Deliveries are believed only with a fresh signature by STRIPE_WEBHOOK_SECRET (several, with commas, while one is rolled), each object is read
    again from Stripe, and 200 is answered once the log has it. Put HTTPS in front of it; POST /stripe, and /live, /ready, /metrics beside it.

    \b
    STRIPE_WEBHOOK_SECRET=whsec_… tidemark serve webhooks --port 8642
    """
    from infra.target import resolve
    from infra.webhooks.serving import serve

    serve(resolve(directory, config).settings, host, port, lambda url: note(f"listening at {url}"))
