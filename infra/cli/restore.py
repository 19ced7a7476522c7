"""`tidemark restore`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from infra.cli.options import REPAIR, Config, Dir, Json
from infra.cli.output import note, print_json, progress_bar, say, table

if TYPE_CHECKING:
    from infra.restoring.partition import LostWindow, PartitionResult

SHOWN = 20
"""Windows that are listed for people; `--json` has all."""


def register(app: typer.Typer) -> None:
    """Adds this verb."""
    app.command("restore", rich_help_panel=REPAIR)(restore)


def restore(
    yes: Annotated[bool, typer.Option("--yes", help="do it; without it, only says what would happen", show_default=False)] = False,
    directory: Dir = None,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Builds Kafka's topics again from ClickHouse, after all of Kafka's data was lost.

    Each partition's archived log is folded again by the code that bills; its table, what is in force and the receipts are written to the new, empty
    topics, and the new log goes on as the next generation. What was delivered is not delivered again, ids that were counted stay known, and what the
    archive did not have is said: offsets, windows, definitions. Killed on the way, the same command goes on. On servers stop all workers first.

    Exit code 0: nothing is lost, or it was restored; 1: partitions are lost (and `--yes` was not given), or the archive is no sufficient base.

    \b
    tidemark topics apply          the new cluster's topics, empty
    tidemark restore               what is lost, what would be built, what the archive does not have
    tidemark restore --yes
    tidemark apply                 what was applied last and is not in the archive
    """
    import asyncio
    import os

    from infra import topics_admin
    from infra.reading import clickhouse
    from infra.restoring.archive import RestoreArchive, check_count
    from infra.restoring.kafka import KafkaCluster
    from infra.restoring.partition import PartitionRestore
    from infra.restoring.run import restore as run
    from infra.restoring.workers import StackWorkers
    from infra.target import resolve
    from topics.catalog import EVENTS

    target = resolve(directory, config)
    bootstrap, store, workers = target.settings.kafka.bootstrap, clickhouse(target.settings), StackWorkers(target)

    async def work(step: Any) -> list[PartitionResult]:
        if yes:
            await workers.refuse_where_working()
        count = await topics_admin.partition_count(bootstrap, EVENTS)
        check_count(store, count)
        async with KafkaCluster(bootstrap) as cluster:
            each = [
                PartitionRestore(number, count, RestoreArchive(store, number), cluster, random_bytes=os.urandom, step=step) for number in range(count)
            ]
            return await run(each, cluster, workers, yes=yes, tell=(lambda _: None) if as_json else note)

    try:
        with progress_bar("folding", None, quiet=as_json) as step:
            found = asyncio.run(work(step))
    finally:
        store.close()
    if as_json:
        print_json([_document(result) for result in found])
    else:
        _show(found)
    raise typer.Exit(1 if any(result.condition == "lost" and not result.done for result in found) else 0)


def _document(result: PartitionResult) -> dict[str, Any]:
    lost = [_window(each) for each in result.lost_windows]
    names = ("partition", "condition", "sentence", "generation", "next_offset", "windows", "again", "ids", "receipts", "open_intents", "definitions",
        "sent_home",
    )  # fmt: skip
    return {name: getattr(result, name) for name in names} | {"lost": result.lost, "lost_windows": lost, "done": result.done}


def _window(lost: LostWindow) -> dict[str, Any]:
    from topics.instants import format_s
    from topics.quantity import format_scaled

    window = lost.window
    return {
        "customer": window.customer,
        "meter": window.meter,
        "start": format_s(window.start_s),
        "end": format_s(window.end_s),
        "emitted": format_scaled(lost.emitted.scaled),
        "emitted_events": lost.emitted.events,
        "restored": format_scaled(lost.scaled),
        "restored_events": lost.events,
    }


def _show(found: list[PartitionResult]) -> None:
    columns = ("partition", "state", "generation", "offsets", "windows", "to emit again", "ids", "receipts", "open calls", "in force")
    rows = [
        [r.partition, "restored now" if r.done else r.condition, r.generation, r.next_offset, r.windows, r.again, r.ids, r.receipts, r.open_intents,
         r.definitions] if r.condition == "lost" else [r.partition, r.condition, r.generation, r.next_offset, *[""] * 6]
        for r in found
    ]  # fmt: skip
    table(columns, rows, right=columns[2:])
    for result in found:
        for sentence in result.lost or ([result.sentence] if result.condition != "lost" else []):
            say(f"partition {result.partition}: {sentence}")
        if result.sent_home:
            say(f"partition {result.partition}: {result.sent_home} events that were re-routed to it and are not in its archive are sent again")
    windows = [_window(each) for result in found for each in result.lost_windows]
    if windows:
        say("emitted with events that are not in the archive; a correction goes out with the next event of the window, so send those events again:")
        names = ("customer", "meter", "start", "emitted", "restored")
        table(names, [[each[name] for name in names] for each in windows[:SHOWN]], right=names[3:])
        if len(windows) > SHOWN:
            say(f"and {len(windows) - SHOWN} more (--json)")
    if any(result.condition == "lost" and not result.done for result in found):
        say("nothing was changed; --yes restores")
