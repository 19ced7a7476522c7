"""Verbs that repair: release, adopt."""

from __future__ import annotations

from typing import Annotated

import typer

from infra.cli.options import REPAIR, Config, Dir, Json
from infra.cli.output import print_json, say, table


def register(app: typer.Typer) -> None:
    """Adds these verbs."""
    for verb in (release, adopt):
        app.command(verb.__name__, rich_help_panel=REPAIR)(verb)


def release(
    target: Annotated[
        str | None, typer.Argument(metavar="[CELL|WINDOW]", help="one of what `release` lists; without it, lists them", show_default=False)
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="all that is parked", show_default=False)] = False,
    reason: Annotated[str, typer.Option("--reason", metavar="TEXT", help="why; it is kept")] = "",
    directory: Dir = None,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Lets parked cells and windows be tried again, after what was wrong has been put right.

    \b
    tidemark release                                        what is parked, and why
    tidemark release 'si_1|1793700000' --reason "price corrected"
    tidemark release --all
    """
    from infra.releasing import parked, release_targets
    from infra.target import resolve
    from topics.errors import TidemarkError

    settings = resolve(directory, config).settings
    found = parked(settings)
    if target is None and not everything:
        if as_json:
            print_json([entry._asdict() for entry in found])
        elif not found:
            say("nothing is parked")
        else:
            table(
                ("name", "customer", "meter", "units", "state", "reason", "sentence"),
                [[e.name, e.customer, e.meter, e.quantity, e.state, e.reason, e.sentence] for e in found],
            )
        return
    chosen = found if everything else [entry for entry in found if target in {entry.name, entry.key}]
    if not chosen:
        raise TidemarkError(f"nothing that is parked is called {target!r}; `tidemark release` lists what is")
    release_targets(settings, chosen, reason)
    if as_json:
        print_json([entry._asdict() for entry in chosen])
    else:
        say(f"released {len(chosen)}; `tidemark settle` waits until they are tried again")


def adopt(
    partition: Annotated[
        list[int] | None, typer.Option("--partition", metavar="N", help="only this one; may be said again", show_default=False)
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="do it; without it, only says what would happen", show_default=False)] = False,
    directory: Dir = None,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Accepts a recreated, truncated or mirrored usage.events as a new generation, while no meter works on it.

    Totals and ids stay: what the new log holds again is a duplicate, what is new raises the totals under higher revisions.

    \b
    tidemark adopt                        what would be adopted, and why
    tidemark adopt --partition 2 --yes
    """
    from infra.adopting import adopt_log
    from infra.target import resolve

    found = adopt_log(resolve(directory, config), partition or [], yes=yes)
    if as_json:
        print_json([entry._asdict() for entry in found])
    else:
        columns = ("partition", "state", "generation", "next_offset", "why")
        table(columns, [list(entry) for entry in found], right=("partition", "generation", "next_offset"))
        if any(entry.state == "to adopt" for entry in found):
            say("nothing was changed; --yes adopts")
