"""`tidemark dead-letters list|show`."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from infra.cli.options import REPAIR, Config, Dir, Json
from infra.cli.output import fields, print_json, say, table

verbs = typer.Typer(help="Rejected events: by reason, one by one, with their exact bytes.", no_args_is_help=True)


def register(app: typer.Typer) -> None:
    """Adds this group."""
    app.add_typer(verbs, name="dead-letters", rich_help_panel=REPAIR)


@verbs.command("list")
def list_(
    reason: Annotated[str | None, typer.Option("--reason", metavar="R", help="each event of this reason", show_default=False)] = None,
    customer: Annotated[str | None, typer.Option("--customer", metavar="C", help="each event of this customer", show_default=False)] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, max=100_000, metavar="N", help="at most this many rows")] = 100,
    directory: Dir = None,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Counts rejected events by reason, or lists those of a reason or customer.

    \b
    tidemark dead-letters list
    tidemark dead-letters list --reason bad_quantity
    """
    from infra import reading
    from infra.target import resolve

    settings = resolve(directory, config).settings
    if reason is None and customer is None:
        found = reading.ask(settings, reading.DEAD_LETTERS)
    else:
        found = reading.ask(settings, reading.DEAD_LETTERS_OF, {"reason": reason or "", "customer": customer or "", "limit": limit})
    if as_json:
        print_json(found)
    elif not found:
        say("nothing was rejected")
    else:
        columns = tuple(found[0])
        table(columns, [[row[name] for name in columns] for row in found], right=("events", "customers"))


@verbs.command()
def show(
    coordinate: Annotated[str, typer.Argument(metavar="PARTITION:OFFSET", help="as `list` shows it", show_default=False)],
    directory: Dir = None,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Shows one rejected event: why, where it lay, and its exact bytes. Exit code 1 where there is none.

    \b
    tidemark dead-letters show 2:1041
    """
    from infra import reading
    from infra.target import resolve
    from topics.errors import TidemarkError, UsageError

    partition, _, offset = coordinate.partition(":")
    if not (partition.isdigit() and offset.isdigit()):
        raise UsageError(f"{coordinate!r} names no event; write PARTITION:OFFSET, for example 2:1041")
    found = reading.ask(resolve(directory, config).settings, reading.DEAD_LETTER, {"partition": int(partition), "offset": int(offset)})
    if not found:
        raise TidemarkError(f"nothing at partition {partition}, offset {offset} was rejected (or it is not archived yet)")
    row = _readable(found[0])
    if as_json:
        print_json(row)
    else:
        fields({name: value for name, value in row.items() if name not in {"value", "headers", "value_hex"}})
        for header in row["headers"]:
            say(f"header     {header['name']}: {header['value']}")
        say(f"value      {row['value']}")


def _readable(row: dict[str, Any]) -> dict[str, Any]:
    """Bytes as text where they are text; the exact bytes stay beside it in hex."""
    names, values = row.pop("header_names"), row.pop("header_values_hex")
    row["headers"] = [
        {"name": name, "value": bytes.fromhex(value).decode("utf-8", "backslashreplace")} for name, value in zip(names, values, strict=True)
    ]
    row["value"] = None if row["value_is_null"] else bytes.fromhex(row["value_hex"]).decode("utf-8", "backslashreplace")
    return row
