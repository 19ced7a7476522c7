"""`tidemark amend void|set|list`."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated, Any

import typer

from infra.cli.options import REPAIR, Config, Dir, Json
from infra.cli.output import note, print_json, say, status_line, table

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from infra.amending.amend import Amended
    from infra.amending.drafts import Draft, Original

verbs = typer.Typer(
    help="Corrects what one event counts, by an event of its own: who, why and how much are kept, and so is the original.", no_args_is_help=True
)

Name = Annotated[str, typer.Argument(metavar="EVENT", help="its id, or PARTITION:OFFSET", show_default=False)]
Reason = Annotated[str, typer.Option("--reason", metavar="TEXT", help="why; it is kept with the amendment", show_default=False)]
Customer = Annotated[str | None, typer.Option("--customer", metavar="C", help="whose event, where an id is used by several", show_default=False)]
Source = Annotated[str | None, typer.Option("--source", metavar="S", help="of which producer, where several use the id", show_default=False)]
Who = Annotated[str | None, typer.Option("--who", metavar="W", help="who amends it (else the user of this machine)", show_default=False)]
DryRun = Annotated[bool, typer.Option("--dry-run", help="only show what it would do", show_default=False)]
Timeout = Annotated[float, typer.Option("--timeout", min=0.0, metavar="S", help="seconds to wait for the meter's answer")]


def register(app: typer.Typer) -> None:
    """Adds this group."""
    app.add_typer(verbs, name="amend", rich_help_panel=REPAIR)


@verbs.command()
def void(
    name: Name,
    reason: Reason,
    customer: Customer = None,
    source: Source = None,
    who: Who = None,
    dry_run: DryRun = False,
    timeout_s: Timeout = 60.0,
    directory: Dir = None,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Makes one event count nothing any more, on any meter. The event stays; its windows get new revisions, which replace what was reported.

    Said twice it is done once: where the event counts nothing already, nothing changes. Exit code 1 where it is refused: its windows are
    final, or somebody else was faster.

    \b
    tidemark amend void evt_42 --reason "sent by the load test"
    tidemark amend void 3:1702 --reason "sent by the load test" --dry-run
    """
    from infra.amending.drafts import void as draft

    words = _words(reason, who)
    _run(lambda original: draft(original, *words), (name, customer, source), directory, config, timeout_s, dry_run=dry_run, as_json=as_json)


@verbs.command(context_settings={"ignore_unknown_options": True})
def set(
    name: Name,
    quantity: Annotated[str, typer.Argument(metavar="QUANTITY", help="what it counts from now on, an exact decimal", show_default=False)],
    reason: Reason,
    meter: Annotated[str | None, typer.Option("--meter", metavar="M", help="on which meter, where it counts on several", show_default=False)] = None,
    customer: Customer = None,
    source: Source = None,
    who: Who = None,
    dry_run: DryRun = False,
    timeout_s: Timeout = 60.0,
    directory: Dir = None,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Makes one event count another quantity on one meter. The event stays; its window gets a new revision, which replaces what was reported.

    An event may be amended again: the newest amendment holds. Exit code 1 where it is refused.

    \b
    tidemark amend set evt_42 12.5 --reason "the sensor reported grams"
    tidemark amend set evt_42 0 --meter bytes_out --customer acme --reason "internal traffic" --who ann
    """
    from infra.amending.drafts import set_to
    from topics.errors import UsageError
    from topics.quantity import BadQuantity, OutOfRange, parse

    try:
        scaled = parse(quantity)
    except (BadQuantity, OutOfRange) as error:
        raise UsageError(f"{quantity!r} is no quantity ({error}); write for example 12.5") from None
    words = _words(reason, who)
    chosen = (name, customer, source)
    _run(lambda original: set_to(original, scaled, meter, *words), chosen, directory, config, timeout_s, dry_run=dry_run, as_json=as_json)


@verbs.command("list")
def list_(
    customer: Annotated[str | None, typer.Option("--customer", metavar="C", help="only this customer's", show_default=False)] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, max=100_000, metavar="N", help="at most this many rows")] = 100,
    directory: Dir = None,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Lists amendments, the newest first: who, why, which event, and what each window gained or lost; refused ones with the reason.

    \b
    tidemark amend list
    tidemark amend list --customer acme
    """
    from infra import reading
    from infra.amending.amend import LIST
    from infra.target import resolve

    found = reading.ask(resolve(directory, config).settings, LIST, {"customer": customer or "", "limit": limit})
    if as_json:
        print_json(found)
    elif not found:
        say("nothing was amended")
    else:
        columns = ("at", "customer", "kind", "event", "meter", "start", "difference", "state", "who", "reason")
        table(columns, [[row[name] for name in columns] for row in found], right=("difference",))
        for row in found:
            if row["sentence"]:
                note(f"{row['amendment']} was refused: {row['sentence']}")


def _words(reason: str, who: str | None) -> tuple[str, str]:
    """What is kept: why, and who. Raises UsageError before anything is asked of a server."""
    from infra.amending.amend import user
    from infra.amending.drafts import kept

    return kept("reason", reason), kept("who", user() if who is None else who)


def _run(
    draft: Callable[[Original], Draft],
    chosen: tuple[str, str | None, str | None],
    directory: Path | None,
    config: Path | None,
    timeout_s: float,
    *,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Finds the event, drafts, shows, publishes unless it is a dry run, and ends with the exit code of what came of it."""
    from infra.amending.amend import amend
    from infra.target import resolve

    name, customer, source = chosen
    target = resolve(directory, config)
    with status_line("amending", quiet=as_json) as tell:
        found = asyncio.run(amend(target.settings, draft, name, customer or "", source or "", timeout_s, dry_run=dry_run, tell=tell))
    if as_json:
        print_json(found.document())
    else:
        _show(found)
    if found.exit_code:
        raise typer.Exit(found.exit_code)


def _show(found: Amended) -> None:
    """For a person: the event, each window before and after, and what came of it."""
    said: dict[str, Any] = found.document()
    say(f"{found.original.name} of {found.original.customer!r}, {said['event']['time']}")
    for past in said["event"]["history"]:
        say(f"  amended before: {past['kind']} by {past['who']} at {past['at']}: {past['reason']}")
    if said["windows"]:
        columns = ("meter", "start", "end", "before", "after", "difference", "state")
        table(columns, [[window[name] for name in columns] for window in said["windows"]], right=("before", "after", "difference"))
    for meter, means in {(window["meter"], window["means"]) for window in said["windows"]}:
        say(f"{meter}: {means}")
    (note if found.exit_code else say)(found.sentence)
