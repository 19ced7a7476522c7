"""All verbs under one roof; importing it imports no library but typer, so that `tidemark --help` is quick."""

from __future__ import annotations

from typing import Any

import typer
from typer.core import TyperGroup

from infra.cli import (
    adjustments,
    amend,
    audit,
    check,
    dead_letters,
    explain,
    plans,
    reconcile,
    repair,
    replay,
    restore,
    see,
    send,
    serve,
    servers,
    sql,
    start,
    stripe,
    topics_verbs,
)

ORDER = (
    "init", "up", "down", "status", "settle", "demo", "check", "apply", "topics", "migrate", "worker", "serve", "sandbox", "stripe",
    "send", "flush", "clock", "usage", "windows", "bindings", "explain", "sql", "audit", "reconcile", "amend", "adjustments", "release",
    "dead-letters", "replay", "adopt", "restore",
)  # fmt: skip
"""Verbs in the order in which a newcomer meets them; a panel of the help stands where its first verb does."""


class Verbs(TyperGroup):
    """Lists verbs in our order; one that was forgotten above comes last."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Names for the help."""
        return sorted(self.commands, key=lambda name: ORDER.index(name) if name in ORDER else len(ORDER))


app = typer.Typer(
    cls=Verbs,
    name="tidemark",
    help=(
        "Usage events from Kafka, summed into windows for each customer, set at Stripe, every event provable from ClickHouse.\n\n"
        "\b\nStart here:\n  tidemark init                        a commented tidemark.toml\n"
        "  tidemark up --detach                 the whole stack, on this machine\n"
        "  tidemark send access-log access.log  usage from a file\n"
        "  tidemark settle --close              until all is counted and delivered\n"
        "  tidemark usage CUSTOMER              what came of it\n\n"
        "Exit codes: 0 done · 1 found what it was asked to look for · 2 wrong use or configuration · 3 a server cannot be reached."
    ),
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
MODULES = (
    start, check, servers, serve, topics_verbs, send, plans, stripe, see, explain, sql, audit, reconcile, amend, repair, replay, restore,
    adjustments, dead_letters,
)  # fmt: skip
for module in MODULES:
    module.register(app)
