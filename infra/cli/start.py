"""Verbs to start with: init, up, down, status, settle, demo."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from infra.cli.options import START, Config, Dir, Json
from infra.cli.output import console, fields, note, print_json, say, status_line, table
from topics.catalog import EVENTS

if TYPE_CHECKING:
    from infra.up import Up


def register(app: typer.Typer) -> None:
    """Adds these verbs."""
    for verb in (init, up, down, status, settle, demo):
        app.command(verb.__name__, rich_help_panel=START)(verb)


def init(
    path: Annotated[Path, typer.Argument(metavar="[FILE]", help="where to write it", show_default=True)] = Path("tidemark.toml"),
    force: Annotated[bool, typer.Option("--force", help="overwrite a file that is there", show_default=False)] = False,
    as_json: Json = False,
) -> None:
    """Writes a commented tidemark.toml: your meters, and how the log keeps time.

    \b
    tidemark init
    tidemark init billing/tidemark.toml
    """
    from infra.init import write_configuration

    write_configuration(path, force=force)
    if as_json:
        print_json({"config": str(path)})
    else:
        say(f"wrote {path}: say there what you count, then `tidemark check --offline` and `tidemark up`")


def up(
    directory: Dir = None,
    config: Config = None,
    detach: Annotated[bool, typer.Option("--detach", help="return once everything runs", show_default=False)] = False,
    workers: Annotated[
        int | None, typer.Option("--workers", min=1, max=64, metavar="N", help="meter workers (2, or as before)", show_default=False)
    ] = None,
    as_json: Json = False,
) -> None:
    """Starts the embedded stack: Kafka, ClickHouse's engine, the Stripe sandbox, N meter workers, report, archive, and the receiver of its webhooks.

    All under one directory, on free ports of 127.0.0.1. A process that dies is started again; a second `up` on the same directory
    continues where it was. Without --config it takes the directory's tidemark.toml, else the one here, else it writes one.

    \b
    tidemark up                                  in the foreground, Ctrl-C stops it
    tidemark up --dir /data/tm --detach          in the background
    tidemark up --workers 4 --config billing.toml
    """
    from infra import up as upping

    where = upping.where(directory)
    with status_line("starting", quiet=as_json) as tell:
        found = upping.bring_up(directory, config, detach=detach, workers=workers, tell=_both(tell, quiet=as_json))
    if as_json:
        print_json(found.target.state)
    else:
        _show_up(found, where)
    if not detach:
        note("running in the foreground; Ctrl-C takes it down, the data stays")
        upping.stay_up(where)


def down(directory: Dir = None, as_json: Json = False) -> None:
    """Stops the embedded stack in order; its data stays, and `up` on the same directory goes on.

    \b
    tidemark down --dir /data/tm
    """
    from infra.up import take_down

    with status_line("stopping", quiet=as_json) as tell:
        where = take_down(directory, tell)
    if as_json:
        print_json({"dir": str(where), "state": "down"})
    else:
        say(f"the stack in {where} is down; `tidemark up --dir {where}` goes on where it was")


def status(directory: Dir = None, config: Config = None, as_json: Json = False) -> None:
    """Shows processes, what became of every event by partition, and the windows by state.

    \b
    tidemark status
    tidemark status --json | jq .windows
    """
    from infra.settle import current
    from infra.target import resolve

    found = asyncio.run(current(resolve(directory, config)))
    if as_json:
        print_json(found.status)
    else:
        show_status(found.status, found.still_open)


def settle(
    timeout_s: Annotated[float, typer.Option("--timeout", min=0.0, metavar="S", help="seconds to wait")] = 120.0,
    close: Annotated[bool, typer.Option("--close", help="close the open windows now (embedded stack only)", show_default=False)] = False,
    directory: Dir = None,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Waits until all that was produced is counted and archived, and every due window is delivered or parked.

    Exit code 1 at the time-out, saying what is still open.

    \b
    tidemark settle                  windows that are still open stay open
    tidemark settle --close          closes them first, so that today's usage is delivered now
    """
    from infra.settle import settle as wait
    from infra.target import resolve

    target = resolve(directory, config)
    with status_line("settling", quiet=as_json) as tell:
        found = asyncio.run(wait(target, timeout_s, close=close, tell=tell))
    if as_json:
        print_json(found.status)
    else:
        show_windows(found.status)
    if not found.status["settled"]:
        for point in found.still_open:
            note(f"still open: {point}")
        raise typer.Exit(1)


def demo(
    log: Annotated[Path | None, typer.Option("--log", metavar="FILE", help="an access log of yours instead of the built-in usage")] = None,
    keep: Annotated[bool, typer.Option("--keep", help="leave the stack up afterwards", show_default=False)] = False,
    directory: Dir = None,
    as_json: Json = False,
) -> None:
    """Runs everything once: a fresh stack, real-looking usage, kills, and a table that compares every number.

    \b
    tidemark demo
    tidemark demo --log /var/log/nginx/access.log
    """
    from infra.demo.run import run_demo

    raise typer.Exit(run_demo(log=log, keep=keep, directory=directory, as_json=as_json))


def _both(tell: Callable[[str], None], *, quiet: bool) -> Callable[[str], None]:
    """Tells the changing line of a terminal, or, where there is none, one line a step on stderr."""

    def both(text: str) -> None:
        tell(text)
        if not quiet and not sys.stderr.isatty():
            note(text)

    return both


def _show_up(found: Up, where: Path) -> None:
    settings = found.target.settings
    say(f"up in {found.took_s:.0f} s, in {where}")
    fields(
        {
            "configuration": settings.source,
            "Kafka": settings.kafka.bootstrap,
            "ClickHouse": settings.clickhouse.url,
            "Stripe sandbox": settings.stripe.api_base,
        }
    )
    for answer in found.answers:
        if answer.state in {"refused", "no answer"}:
            note(f"partition {answer.partition}, {answer.what}: {answer.state}: {answer.sentence}")
    say(f"next: tidemark send access-log FILE --dir {where}, then tidemark settle --close --dir {where}")


def show_status(status: dict[str, Any], still_open: list[str]) -> None:
    """The status for people."""
    fields({"Kafka": status["kafka"]["bootstrap"], "Stripe": status["stripe"]["api_base"], "ClickHouse": status["clickhouse"]["url"]})
    say("")
    columns = ("name", "pid", "state", "restarts", "http")
    table(columns, [[process[name] for name in columns] for process in status["processes"]], right=("pid", "restarts"))
    say("")
    shown = ("partition", "next_offset", "end_offset", "archived_offset", "counted", "duplicate", "rejected", "too_late", "rerouted", "residual")
    table(shown, [[line[name] for name in shown] for line in status["partitions"]], right=shown)
    say("")
    show_workers(status["workers"])
    show_windows(status)
    for alarm in status["alarms"]:
        console().print("not ready:", alarm, style="red", markup=False)
    if not status["settled"]:
        for point in still_open[:12]:
            say(f"  {point}")


def show_workers(workers: list[dict[str, Any]]) -> None:
    """Which partitions each worker holds and how far behind it is, where there are several of a kind; the archive's by its copy of the log."""
    kinds = [worker["kind"] for worker in workers]
    rows = []
    for worker in workers:
        held = [line for line in worker["partitions"] if worker["kind"] != "archive" or line["topic"] == EVENTS]
        waits = ", ".join(f"{line['partition']}: {line['lag']:,}" for line in held if line["lag"])
        rows.append([worker["name"], ", ".join(str(line["partition"]) for line in held) or "none", sum(line["lag"] for line in held), waits])
    if len(kinds) > len(set(kinds)):
        table(("worker", "partitions", "lag", "by partition"), rows, right=("lag",))
        say("")


def show_windows(status: dict[str, Any]) -> None:
    """The windows by state in one line, and whether all is settled."""
    windows = ", ".join(f"{count} {state}" for state, count in status["windows"].items())
    word = "[green]settled[/green]" if status["settled"] else "[yellow]not settled[/yellow]"
    console().print(f"windows: {windows} · {word}")
    for line in status["backlog"]["by"]:
        if line["cells"]:
            show_backlog(line)
    if status["backlog"]["unread"]:
        say(f"backlog: {status['backlog']['unread']:,} totals that the report has not read yet")
    if status["adjustments"]:
        say(f"adjustments: {status['adjustments']} open; `tidemark adjustments` lists them with money")


def show_backlog(line: dict[str, Any]) -> None:
    """The backlog of one way of reporting, and a warning where some of it would come too late."""
    eta = "no end in sight while the provider is down" if line["eta_s"] is None else f"delivered in {span(line['eta_s'])}"
    used = "none made of late" if line["used_per_s"] is None else f"{line['used_per_s']:g} made of late"
    where = f"{line['provider']} {line['account']}, {line['mode']}"
    say(f"backlog: {line['cells']:,} cells due at {where}: {eta}; {line['allowed_per_s']:g} calls a second allowed, {used}")
    if line["missed"]:
        said = f"{line['missed']:,} cells would come too late at this rate; the first are final at {line['first_missed_at']} (see operating.md)"
        console().print(said, style="red", markup=False)


def span(seconds: float) -> str:
    """A length of time for people: its two largest units."""
    whole = max(0, round(seconds))
    parts = [(whole // 86_400, "d"), (whole // 3600 % 24, "h"), (whole // 60 % 60, "min"), (whole % 60, "s")]
    found = [(number, unit) for number, unit in parts if number]
    return " ".join(f"{number} {unit}" for number, unit in found[:2]) or "0 s"
