"""`tidemark stripe setup|sync|compare`."""

from __future__ import annotations

from typing import Annotated

import typer

from infra.cli.options import START, Config, Dir, Json
from infra.cli.output import note, print_json, say, status_line, table
from infra.cli.servers import show_answers

verbs = typer.Typer(
    help="Products, prices, customers and subscriptions at Stripe (or in the sandbox), and who is billed where.", no_args_is_help=True
)


def register(app: typer.Typer) -> None:
    """Adds this group."""
    app.add_typer(verbs, name="stripe", rich_help_panel=START)


@verbs.command()
def setup(
    since: Annotated[str | None, typer.Option("--since", metavar="T", help="backdate new subscriptions to this instant", show_default=False)] = None,
    trial: Annotated[
        str | None, typer.Option("--trial-until", metavar="T", help="what is missing bills nothing until then", show_default=False)
    ] = None,
    live: Annotated[bool, typer.Option("--live", help="allow a live key: real customers and real invoices")] = False,
    directory: Dir = None,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Creates product, meter, price, base price, customer and subscription where missing, for the meters and customers of the configuration.

    Doing it twice, or again after it was interrupted, creates nothing twice. Says what 1,000 units cost.

    \b
    tidemark stripe setup
    tidemark stripe setup --since 2026-11-01        usage from then on is billed
    tidemark stripe setup --trial-until 2027-01-01T00:00:00Z     a successor runs along, free, on a subscription of its own
    """
    from infra import reading, stripe_catalog
    from infra.target import resolve

    since_s = None if since is None else reading.instant(since, "--since") // 1_000_000
    trial_s = None if trial is None else reading.instant(trial, "--trial-until") // 1_000_000
    found = stripe_catalog.setup(resolve(directory, config).settings, since_s, trial_until_s=trial_s, live=live)
    for sentence in found.notes:
        note(sentence)
    if as_json:
        print_json([{"what": made.what, "id": made.id, "for": made.owner} for made in found.made])
        return
    if found.made:
        table(("what", "id", "for"), [list(made) for made in found.made])
    else:
        say("nothing is missing")
    for slug, (price, cost) in found.costs.items():
        say(f"{slug}: {price}, {cost} a period" if slug == "base" else f"{slug}: {price}, 1,000 units cost {cost}")


@verbs.command()
def sync(
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="wait for every partition's answer")] = True,
    timeout_s: Annotated[float, typer.Option("--timeout", min=0.0, metavar="S", help="seconds to wait for answers")] = 60.0,
    directory: Dir = None,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Reads the subscriptions and publishes who is billed where; what the file says explicitly wins.

    \b
    tidemark stripe sync
    """
    from infra import stripe_catalog
    from infra.applying import apply_settings
    from infra.target import resolve

    settings = resolve(directory, config).settings
    with status_line("reading subscriptions", quiet=as_json) as progress:
        items = stripe_catalog.read_items(settings, note, lambda said: progress(f"reading subscriptions: {said}"))
    answers = apply_settings(settings, wait=wait, timeout_s=timeout_s, more=items)
    show_answers(answers, as_json)
    if any(answer.state in {"refused", "no answer"} for answer in answers):
        raise typer.Exit(1)


@verbs.command()
def compare(
    first: Annotated[str, typer.Argument(metavar="METER_A", help="a meter's slug", show_default=False)],
    second: Annotated[str, typer.Argument(metavar="METER_B", help="the meter that is to take its place", show_default=False)],
    customer: Annotated[str | None, typer.Option("--customer", metavar="C", help="only this one", show_default=False)] = None,
    at: Annotated[str | None, typer.Option("--at", metavar="T", help="the period that holds T; default: now", show_default=False)] = None,
    directory: Dir = None,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Holds what Stripe has of two meters side by side, customer by customer: the check before the switch of a migration.

    Settle first: a window that is delivered to one of them only is a difference. Exit 1 where there is one.

    \b
    tidemark settle && tidemark stripe compare api_calls api_calls_metered
    tidemark stripe compare api_calls api_calls_metered --at 2026-11-01T00:00:00Z     the period before
    """
    from infra import reading
    from infra.stripe_compare import compare_meters, plain
    from infra.target import resolve
    from topics.instants import format_s

    at_s = None if at is None else reading.instant(at, "--at") // 1_000_000
    found = compare_meters(resolve(directory, config).settings, first, second, customer, at_s)
    rows = [
        (row.customer, format_s(row.period.start_s), format_s(row.period.end_s), plain(row.first), plain(row.second), plain(row.difference))
        for row in found.rows
    ]
    names = ("customer", "start", "end", "a", "b", "difference")
    if as_json:
        print_json({"rows": [dict(zip(names, row, strict=True)) for row in rows], "problems": found.problems, "equal": found.equal})
    else:
        table(("customer", "from", "to", first, second, "difference"), rows, right=(first, second, "difference"))
        for problem in found.problems:
            note(problem)
    if not found.equal:
        raise typer.Exit(1)
