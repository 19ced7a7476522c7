"""`tidemark topics plan|apply|check`."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import typer

from infra.cli.options import START, Config, Dir, Json
from infra.cli.output import note, print_json, say, table

if TYPE_CHECKING:
    from infra.topics_rules import Difference

verbs = typer.Typer(help="The eight topics on the server: what is missing or wrong, and putting it right.", no_args_is_help=True)


def register(app: typer.Typer) -> None:
    """Adds this group."""
    app.add_typer(verbs, name="topics", rich_help_panel=START)


@verbs.command()
def plan(directory: Dir = None, config: Config = None, as_json: Json = False) -> None:
    """Shows what `topics apply` would create and change; changes nothing.

    \b
    tidemark topics plan
    """
    from infra import topics_admin
    from infra.target import resolve

    _show(asyncio.run(topics_admin.plan(resolve(directory, config).settings.kafka)), as_json, "nothing to do: all eight topics are as they must be")


@verbs.command()
def apply(directory: Dir = None, config: Config = None, as_json: Json = False) -> None:
    """Creates and corrects the topics. What only a person can change (partition count, replication) is said; exit code 1 then.

    \b
    tidemark topics apply
    """
    from infra import topics_admin
    from infra.settings_rules import warnings
    from infra.target import resolve

    settings = resolve(directory, config).settings
    changed, left = asyncio.run(topics_admin.apply(settings.kafka))
    if as_json:
        print_json({"changed": [change._asdict() for change in changed], "left": [difference._asdict() for difference in left]})
    else:
        for change in changed:
            say(f"created {change.topic}" if change.change == "create" else f"{change.topic}: {change.what} {change.is_} → {change.wanted}")
        say("all eight topics are as they must be" if not left else "")
    for warning in warnings(settings):
        if warning.startswith("kafka"):
            note(f"warning: {warning}")
    for difference in left:
        note(str(difference))
    if left:
        raise typer.Exit(1)


@verbs.command()
def check(directory: Dir = None, config: Config = None, as_json: Json = False) -> None:
    """Verifies partition count, timestamps, retention, cleanup and replication on the server; exit code 1 where something differs.

    \b
    tidemark topics check
    """
    from infra import topics_admin
    from infra.target import resolve

    found = asyncio.run(topics_admin.plan(resolve(directory, config).settings.kafka))
    _show(found, as_json, "all eight topics are as they must be")
    if found:
        raise typer.Exit(1)


def _show(found: list[Difference], as_json: bool, fine: str) -> None:
    if as_json:
        print_json([difference._asdict() for difference in found])
    elif not found:
        say(fine)
    else:
        rows = [[d.topic, d.what, d.is_, d.wanted, d.remedy or ("`tidemark topics apply`")] for d in found]
        table(("topic", "what", "is", "must be", "remedy"), rows)
