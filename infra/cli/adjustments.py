"""`tidemark adjustments [settle]`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from infra.cli.options import REPAIR, Config, Dir, Json
from infra.cli.output import note, print_json, say, table

if TYPE_CHECKING:
    from infra.adjusting import Found

verbs = typer.Typer()


def register(app: typer.Typer) -> None:
    """Adds this group."""
    app.add_typer(verbs, name="adjustments", rich_help_panel=REPAIR)


@verbs.callback(invoke_without_command=True)
def list_(
    context: typer.Context,
    customer: Annotated[str | None, typer.Option("--customer", metavar="C", help="only this customer's", show_default=False)] = None,
    everything: Annotated[bool, typer.Option("--all", help="settled ones too", show_default=False)] = False,
    fail_if_open: Annotated[bool, typer.Option("--fail-if-open", help="exit code 1 where any is open", show_default=False)] = False,
    directory: Dir = None,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Lists what can no longer be billed where it belongs: units and money, why, and what becomes of it; `settle` says that one was dealt with.

    It reads what stands now. Exit code 1 with --fail-if-open where any is open.

    \b
    tidemark adjustments
    tidemark adjustments --customer acme --all
    tidemark adjustments --fail-if-open
    tidemark adjustments settle adj_0123456789abcdef01234567 --all --how "waived"
    """
    if context.invoked_subcommand is not None:
        return
    from infra.adjusting import find, found_json
    from infra.target import resolve

    found = find(resolve(directory, config).settings, customer, settled=everything)
    if as_json:
        print_json(found_json(found))
    else:
        show(found)
    if fail_if_open and any(row.is_open for row in found.rows):
        raise typer.Exit(1)


def show(found: Found) -> None:
    """For a person: a line each, what they come to, and what is not known."""
    from infra.adjusting import found_json

    said = found_json(found)
    if not found.rows:
        say("no adjustment is open")
        return
    columns = ("id", "customer", "meter", "from", "to", "units", "money", "cause", "policy", "invoice", "since", "state")
    rows = [
        [
            row["id"], row["customer"], row["meter"], row["start"], row["end"], row["units"],
            "unknown" if row["money"] is None else f"{row['money']} {row['currency']}",
            row["cause"], row["policy"], row["invoice"] or "-", row["since"],
            f"settled ({row['how']})" if row["state"] == "settled" and row["how"] else row["state"],
        ]
        for row in said["adjustments"]
    ]  # fmt: skip
    table(columns, rows, right=("units", "money"))
    sums = ", ".join(f"{amount} {currency}" for currency, amount in said["money"].items()) or "no known amount"
    say(f"{said['open']} open: {sums}")
    if said["unpriced"]:
        note(f"{said['unpriced']} of them have an unknown amount: {found.unpriced or 'their price shows none'}")
    for row in said["adjustments"]:
        if row["billing"] and row["billing"]["refused"]:
            note(f"{row['id']} was refused: {row['billing']['refused']}; `tidemark release` tries it again")
        if row["in_doubt"]:
            note(f"{row['id']}: {', '.join(row['in_doubt'])} units may stand in its cell; look at the invoice before you settle it")


@verbs.command()
def settle(
    name: Annotated[str, typer.Argument(metavar="ID", help="as `adjustments` lists it: adj_…", show_default=False)],
    how: Annotated[str, typer.Option("--how", metavar="TEXT", help="what was done about it; it is kept", show_default=False)],
    units: Annotated[str | None, typer.Option("--units", metavar="N", help="so many of its units (--units=-7)", show_default=False)] = None,
    everything: Annotated[bool, typer.Option("--all", help="all that is open of it", show_default=False)] = False,
    directory: Dir = None,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Says that units of an adjustment were dealt with outside of Tidemark: billed by hand, credited, waived. It then counts as settled.

    It acts only on what `adjustments` showed: where somebody else settled it meanwhile, it changes nothing.

    \b
    tidemark adjustments settle adj_0123456789abcdef01234567 --all --how "invoice item ii_1, by hand"
    tidemark adjustments settle adj_0123456789abcdef01234567 --units 7 --how "waived"
    """
    from infra.adjusting import settle as publish
    from infra.target import resolve
    from topics.errors import UsageError

    if everything == (units is not None):
        raise UsageError("say how much is settled: either --units N or --all")
    record = publish(resolve(directory, config).settings, name, units, how)
    if as_json:
        print_json({"id": name, "units": record.units, "settled_before": record.settled, "how": record.how})
    else:
        say(f"settled {record.units} units of {name}; `tidemark adjustments` shows it in a moment")
