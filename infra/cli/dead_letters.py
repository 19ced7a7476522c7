"""`tidemark dead-letters list|show`; `fix` and `replay` are in dead_letters_fix.py."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from infra.cli.options import REPAIR, Config, Dir, Json
from infra.cli.output import fields, note, print_json, say, table

if TYPE_CHECKING:
    from infra.letters.listing import Seen, Summary

verbs = typer.Typer(help="Events that were not counted: why, what they are worth, put right, and sent once more.", no_args_is_help=True)


def register(app: typer.Typer) -> None:
    """Adds this group."""
    from infra.cli.dead_letters_fix import add

    add(verbs)
    app.add_typer(verbs, name="dead-letters", rich_help_panel=REPAIR)


Reason = Annotated[str | None, typer.Option("--reason", metavar="R", help="those rejected for this reason", show_default=False)]
Customer = Annotated[str | None, typer.Option("--customer", metavar="C", help="those of this customer", show_default=False)]
Source = Annotated[str | None, typer.Option("--source", metavar="S", help="those of this producer", show_default=False)]


@verbs.command("list")
def list_(
    reason: Reason = None,
    customer: Customer = None,
    source: Source = None,
    state: Annotated[
        str | None,
        typer.Option("--state", metavar="S", help="waiting, sent, counted, duplicate, again, resent or gone", show_default=False),
    ] = None,
    money: Annotated[bool, typer.Option("--money/--no-money", help="ask Stripe what a unit costs")] = True,
    limit: Annotated[int, typer.Option("--limit", min=1, max=100_000, metavar="N", help="at most this many rows")] = 100,
    directory: Dir = None,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Counts rejected events by reason, with what became of them and what the waiting ones are worth; or lists them one by one.

    Money is quantity × scale × price where all three can be read, units where the price has tiers; what cannot be read is unknown, never guessed.

    \b
    tidemark dead-letters list
    tidemark dead-letters list --reason bad_quantity
    tidemark dead-letters list --state waiting --limit 20
    """
    from infra import reading
    from infra.letters.archive import Selection
    from infra.letters.letter import State
    from infra.letters.listing import look, summary
    from infra.target import resolve
    from topics.errors import UsageError

    if state is not None and state not in set(State):
        raise UsageError(f"--state {state!r} is none; one of {', '.join(State)}")
    settings = resolve(directory, config).settings
    selection = Selection(reason or "", customer or "", source or "")
    connection = reading.clickhouse(settings)
    try:
        if selection.is_all and state is None:
            _show_reasons(summary(settings, connection, selection, money=money), as_json=as_json)
            return
        found: list[Seen] = []
        for seen in look(connection, settings.kafka.partitions, selection):
            if (state is None or seen.standing.state == state) and len(found) < limit:
                found.append(seen)
    finally:
        connection.close()
    _show_letters(found, as_json=as_json)


def _show_reasons(found: Summary, *, as_json: bool) -> None:
    from infra.letters.listing import reason_json, states_text, totals, worth_text

    if as_json:
        print_json([reason_json(reason, value) for reason, value in found.reasons])
        return
    if not found.reasons:
        say("nothing was rejected")
        return
    columns = ("reason", "events", "customers", "what became of them", "the waiting ones are worth", "newest", "example")
    rows = [
        [each.reason, each.states.total(), len(each.customers), states_text(each.states), worth_text(value), each.newest, each.example]
        for each, value in found.reasons
    ]
    table(columns, rows, right=("events", "customers"))
    waiting, value = totals(found)
    say(f"{waiting} wait: {worth_text(value)}" if waiting else "none waits")
    if found.unpriced:
        note(f"some prices could not be read: {found.unpriced}")
    if waiting:
        say("`tidemark dead-letters show PARTITION:OFFSET` says what to do about one, `fix` previews it, `replay` sends it")


def _show_letters(found: list[Seen], *, as_json: bool) -> None:
    from infra.letters.listing import seen_json

    rows = [seen_json(seen) for seen in found]
    if as_json:
        print_json(rows)
    elif not rows:
        say("no such letter")
    else:
        columns = ("id", "reason", "customer", "source", "event_id", "received_at", "state", "would have counted", "sentence")
        table(columns, [[*(row[name] for name in columns[:7]), counts_text(row["would_have_counted"]), row["sentence"]] for row in rows])


def counts_text(shares: list[dict[str, Any]] | None) -> str:
    """`1843 tokens at 2026-11-03T10:00:00Z`, or that it is unknown."""
    return ", ".join(f"{share['quantity']} {share['meter']} at {share['start']}" for share in shares or []) or "unknown"


@verbs.command()
def show(
    coordinate: Annotated[str, typer.Argument(metavar="PARTITION:OFFSET", help="as `list` shows it", show_default=False)],
    directory: Dir = None,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Shows one rejected event: why, what became of it, what to do, and its exact bytes as text and hex. Exit code 1 where there is none.

    \b
    tidemark dead-letters show 2:1041
    """
    from infra import reading
    from infra.letters.archive import Selection, checked_names
    from infra.letters.listing import look
    from infra.letters.showing import letter_json, letter_lines
    from infra.target import resolve
    from topics.errors import TidemarkError

    names = checked_names([coordinate])
    settings = resolve(directory, config).settings
    connection = reading.clickhouse(settings)
    try:
        found = list(look(connection, settings.kafka.partitions, Selection(names=names)))
    finally:
        connection.close()
    if not found:
        raise TidemarkError(f"nothing at {names[0]} was rejected (or it is not archived yet)")
    for seen in found:  # more than one where the topic was recreated since
        if as_json:
            print_json(letter_json(seen))
        else:
            head, lines = letter_lines(seen)
            fields(head)
            say("\n".join(lines))
