"""`tidemark replay`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from infra.cli.options import REPAIR, Config, Dir, Json
from infra.cli.output import note, print_json, progress_bar, say, table

if TYPE_CHECKING:
    from infra.amending.effects import Effect
    from infra.amending.publishing import Outcome
    from infra.replaying.applying import Correction
    from infra.replaying.compare import Line
    from infra.replaying.run import PartitionReplay

SHOWN = 50
"""Windows that are listed for people; `--json` has all."""


def register(app: typer.Typer) -> None:
    """Adds this verb."""
    app.command("replay", rich_help_panel=REPAIR)(replay)


def replay(
    from_: Annotated[str, typer.Option("--from", metavar="T", help="windows that end after this", show_default=False)],
    to: Annotated[str, typer.Option("--to", metavar="T", help="and start before this", show_default=False)],
    customer: Annotated[str | None, typer.Option("--customer", metavar="C", help="only this customer's events are read", show_default=False)] = None,
    meter: Annotated[str | None, typer.Option("--meter", metavar="M", help="only windows of this meter", show_default=False)] = None,
    apply: Annotated[bool, typer.Option("--apply", help="correct the running totals; else only shows what it would do", show_default=False)] = False,
    reason: Annotated[str, typer.Option("--reason", metavar="TEXT", help="why; it is kept with each correction")] = "",
    who: Annotated[str | None, typer.Option("--who", metavar="W", help="who corrects (else the user of this machine)", show_default=False)] = None,
    directory: Dir = None,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Adds the totals of a range up again from ClickHouse's copy of the log, by the code that bills, and shows them beside the running ones.

    Each partition is folded from its beginning, since ids and versions depend on all that came before; with `--customer` only that customer's events
    and the control records are read. Where a total differs, `--apply` makes a correction in the log with your reason; a new revision follows, and
    the provider is set to it. A final window is not corrected: the difference is billed or credited by hand.

    Exit code 0: every total of the range is the same (or was corrected); 1: some differ; 3: a server does not answer.

    \b
    tidemark replay --from 2026-11-01 --to 2026-12-01
    tidemark replay --from 2026-11-03T10:00:00Z --to 2026-11-03T11:00:00Z --customer acme --json
    tidemark replay --from 2026-11-01 --to 2026-12-01 --apply --reason "table restored from a wrong backup"
    """
    import asyncio

    from infra.amending.amend import user
    from infra.reading import clickhouse, instant
    from infra.replaying.compare import Wanted
    from infra.replaying.order import Order, apply_corrections, dry_run
    from infra.target import resolve
    from topics.errors import UsageError
    from topics.instants import US_PER_S

    if apply and not reason.strip():
        raise UsageError('--apply needs a reason, which is kept: --reason "…"')
    settings = resolve(directory, config).settings
    wanted = Wanted(from_s=instant(from_, "--from") // US_PER_S, to_s=-(-instant(to, "--to") // US_PER_S), customer=customer or "", meter=meter or "")
    if wanted.from_s >= wanted.to_s:
        raise UsageError("--from must lie before --to")
    store = clickhouse(settings)
    try:
        with progress_bar("folding", None, quiet=as_json) as step:
            order = Order(settings, store, wanted, reason or "dry run", user() if who is None else who, step)
            done = asyncio.run(dry_run(order))
        outcomes = asyncio.run(apply_corrections(order, done)) if apply else []
    finally:
        store.close()
    if as_json:
        print_json(_document(done.found, done.corrections, done.effects, outcomes))
    else:
        _show(done.found, done.corrections, done.effects, outcomes, applied=apply)
    refused = len(done.corrections) - sum(outcome.state == "applied" for outcome in outcomes)
    raise typer.Exit(1 if refused else 0)


def _line(line: Line) -> dict[str, Any]:
    from topics.instants import format_s
    from topics.quantity import format_scaled

    window = line.window
    return {
        "partition": line.partition,
        "customer": window.customer,
        "meter": window.meter,
        "start": format_s(window.start_s),
        "end": format_s(window.end_s),
        "replayed": format_scaled(line.replayed.scaled) if line.replayed else None,
        "running": format_scaled(line.running.scaled) if line.running else None,
        "difference": format_scaled(line.difference_scaled),
        "replayed_events": line.replayed.events if line.replayed else 0,
        "running_events": line.running.events if line.running else 0,
        "final": line.is_final,
    }


def _document(
    found: list[PartitionReplay], corrections: list[Correction], effects: list[list[Effect]], outcomes: list[Outcome]
) -> dict[str, Any]:
    said = {id(outcome.draft): outcome for outcome in outcomes}
    windows = []
    for correction, effect in zip(corrections, effects, strict=True):
        outcome = said.get(id(correction.draft))
        windows.append(
            _line(correction.line)
            | {"state": outcome.state if outcome else "dry run" if correction.draft else "not corrected"}
            | {"sentence": outcome.sentence if outcome else correction.sentence, "means": " ".join(each.means for each in effect)}
        )
    return {
        "partitions": [
            {"partition": r.partition, "generation": r.upto.generation, "upto": r.upto.offset, "equal": r.equal, "newer": r.newer, "events": r.events,
             "differ": len(r.lines), "notes": r.notes, "wrong": r.wrong}
            for r in found
        ],
        "windows": windows,
    }  # fmt: skip


def _show(
    found: list[PartitionReplay], corrections: list[Correction], effects: list[list[Effect]], outcomes: list[Outcome], *, applied: bool
) -> None:
    document = _document(found, corrections, effects, outcomes)
    for result in found:
        for sentence in (*result.notes, *result.wrong):
            note(f"partition {result.partition}: {sentence}")
    lines = document["windows"]
    if lines:
        names = ("customer", "meter", "start", "replayed", "running", "difference", "replayed_events", "running_events", "state", "means")
        table(names, [[line[name] for name in names] for line in lines[:SHOWN]], right=names[3:8])
        if len(lines) > SHOWN:
            say(f"and {len(lines) - SHOWN} more (--json)")
        for sentence in sorted({line["sentence"] for line in lines if line["sentence"]}):
            say(sentence)
    equal, newer = sum(result.equal for result in found), sum(result.newer for result in found)
    say(f"{equal} windows of {sum(result.events for result in found)} postings are the same, {len(lines)} differ, {newer} are newer than the archive")
    if lines and not applied:
        say('nothing was changed; --apply --reason "…" corrects them')
