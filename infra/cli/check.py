"""The verb `check`: faults of the configuration and of the servers, and with `--sizing` what a stated load needs."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated

import typer

from infra.cli.options import START, Config, Dir, Json
from infra.cli.output import note, print_json, say, table

if TYPE_CHECKING:
    from infra.settings import Settings
    from infra.sizing.figure import Sizing
    from infra.sizing.load import Stated

SIZING = "Load of --sizing"
"""The panel of the help."""


def register(app: typer.Typer) -> None:
    """Adds this verb."""
    app.command("check", rich_help_panel=START)(check)


def _load(help_text: str, metavar: str = "N") -> typer.models.OptionInfo:
    found: typer.models.OptionInfo = typer.Option(help=help_text, metavar=metavar, show_default=False, rich_help_panel=SIZING)
    return found


def check(
    offline: Annotated[bool, typer.Option("--offline", help="only the configuration, no server", show_default=False)] = False,
    sizing: Annotated[bool, typer.Option("--sizing", help="what a load needs; asks no server", show_default=False)] = False,
    events_per_s: Annotated[str | None, _load("events a second in the busiest hour (1000)")] = None,
    mean_events_per_s: Annotated[str | None, _load("over a whole day (as --events-per-s)")] = None,
    customers: Annotated[str | None, _load("customers (those of tidemark.toml, else 1000)")] = None,
    active: Annotated[str | None, _load("customers that use a meter within one window (as --customers)")] = None,
    meters: Annotated[str | None, _load("meters that a customer uses (those of tidemark.toml, else 1)")] = None,
    postings: Annotated[str | None, _load("meters that one event selects (1)")] = None,
    event_bytes: Annotated[str | None, _load("bytes of an event's JSON (240)")] = None,
    window: Annotated[str | None, _load("a window's length (the shortest of tidemark.toml, else 1h)", "D")] = None,
    grace: Annotated[str | None, _load("its grace (the longest of tidemark.toml, else 5m)", "D")] = None,
    duplicates: Annotated[str | None, _load("share of events that are copies (0.01)", "SHARE")] = None,
    rejected: Annotated[str | None, _load("share that is rejected (0.001)", "SHARE")] = None,
    late: Annotated[str | None, _load("share that comes after its window closed (0.001)", "SHARE")] = None,
    dedup: Annotated[str | None, _load("how long ids are remembered (timing.dedup)", "D")] = None,
    horizon: Annotated[str | None, _load("how long a window may be corrected (timing.horizon)", "D")] = None,
    retention: Annotated[str | None, _load("of usage.events (kafka.retention)", "D")] = None,
    raw_days: Annotated[str | None, _load("days that ClickHouse keeps raw events (365)")] = None,
    partitions: Annotated[str | None, _load("of every topic (kafka.partitions)")] = None,
    replication: Annotated[str | None, _load("copies that Kafka keeps (kafka.replication)")] = None,
    calls_per_s: Annotated[str | None, _load("the provider's limit (stripe.calls_per_second, or meter_calls_per_second)")] = None,
    edge_room: Annotated[str | None, _load("time to deliver a period's last window (9m before its end; of meters 1h after)", "D")] = None,
    together: Annotated[str | None, _load("share of customers whose periods end at one instant (1)", "SHARE")] = None,
    worker_memory: Annotated[str | None, _load("bytes that one meter process may take (8G)")] = None,
    growth: Annotated[str | None, _load("times this load that the partitions must last for (4)")] = None,
    directory: Dir = None,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Says every fault of the configuration at once (exit 2), then of the servers' settings (exit 1), each with place and remedy.

    With --sizing it computes instead what a load needs: workers, memory, partitions, growth of topics and tables, calls to the provider, recovery;
    each figure with its rule. What is not stated is taken from tidemark.toml or assumed. Exit 1 where the load does not fit the configuration.
    Numbers may end in k, M or G, spans in s, m, h or d.

    \b
    tidemark check --offline          before anything runs
    tidemark check                    asks Kafka, ClickHouse and Stripe too
    tidemark check --sizing --events-per-s 10k --customers 5000 --window 1h --dedup 1d
    tidemark check --sizing --events-per-s 1M --customers 200k --dedup 10m --partitions 192 --json
    """
    given = {
        "events_per_s": events_per_s, "mean_events_per_s": mean_events_per_s, "customers": customers, "active": active, "meters": meters,
        "postings": postings, "event_bytes": event_bytes, "window_s": window, "grace_s": grace, "duplicates": duplicates, "rejected": rejected,
        "late": late, "dedup_s": dedup, "horizon_s": horizon, "retention_s": retention, "raw_days": raw_days, "partitions": partitions,
        "replication": replication, "calls_per_s": calls_per_s, "edge_room_s": edge_room, "together": together,
        "worker_memory": worker_memory, "growth": growth,
    }  # fmt: skip
    from infra import check as checking
    from infra.target import resolve
    from topics.errors import ConfigurationFault

    load = {name: text for name, text in given.items() if text is not None}
    _refuse_load_alone(load, sizing)
    try:
        settings = resolve(directory, config, stack=not (offline or sizing)).settings
        if sizing:
            _size(settings, load, as_json)
            return
    except ConfigurationFault as error:
        if as_json:
            print_json(checking.as_json(checking.Found(error.faults, [], [], [])))
        raise
    _check(settings, offline=offline, as_json=as_json)


def _refuse_load_alone(load: dict[str, str], sizing: bool) -> None:
    from infra.sizing.load import option_of
    from topics.errors import UsageError

    if load and not sizing:
        raise UsageError(f"{', '.join(map(option_of, load))}: a load is for --sizing; write `tidemark check --sizing …`")


def _check(settings: Settings, *, offline: bool, as_json: bool) -> None:
    from infra import check as checking

    found = checking.offline(settings) if offline else asyncio.run(checking.online(settings))
    if as_json:
        print_json(checking.as_json(found))
    else:
        say("the configuration is right" + (f" ({settings.source})" if settings.source else ""))
        for line in (*(f"warning: {warning}" for warning in found.warnings), *found.notes):
            note(line)
        for line in (*map(str, found.faults), *found.unreachable):
            note(line)
        if not offline and not found.faults and not found.unreachable:
            say("Kafka, ClickHouse and Stripe are as they must be")
    if found.unreachable:
        raise typer.Exit(3)
    if found.faults:
        raise typer.Exit(1)


def _size(settings: Settings, load: dict[str, str], as_json: bool) -> None:
    from infra.sizing.load import stated
    from infra.sizing.rule import size
    from infra.sizing.show import as_json as to_json
    from infra.sizing.show import configured

    found = stated(load, configured(settings), settings.source.name if settings.source else "assumed")
    sizing = size(found.load)
    if as_json:
        print_json(to_json(found, sizing))
    else:
        _show(found, sizing)
    if sizing.misfits:
        raise typer.Exit(1)


def _show(found: Stated, sizing: Sizing) -> None:
    from infra.sizing.figure import shown
    from infra.sizing.load import FIELDS, option_of, written

    rows = [[option_of(name), written(name, getattr(found.load, name)), found.origins[name], FIELDS[name].means] for name in FIELDS]
    table(("load", "value", "from", ""), rows, right=("value",))
    say("")
    table(("figure", "value", "rule"), [[each.key, shown(each.value, each.unit), each.rule] for each in sizing.figures], right=("value",))
    for line in (*sizing.misfits, *(f"note: {advice}" for advice in sizing.advice)):
        note(line)
