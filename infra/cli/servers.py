"""Verbs that speak to servers: apply, migrate, worker, sandbox."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from infra.cli.options import START, Config, Dir, Json
from infra.cli.output import note, print_json, say, table

if TYPE_CHECKING:
    from infra.proposal import Answer


def register(app: typer.Typer) -> None:
    """Adds these verbs."""
    for verb in (apply, migrate, worker, sandbox):
        app.command(verb.__name__, rich_help_panel=START)(verb)


def apply(
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="wait for every partition's answer")] = True,
    timeout_s: Annotated[float, typer.Option("--timeout", min=0.0, metavar="S", help="seconds to wait for answers")] = 60.0,
    directory: Dir = None,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Publishes what changed in tidemark.toml (meters, timings, customers' items) and says from when each holds.

    The file proposes; the meter decides. A change of a window's size, say, holds from the next boundary where no counted event can lie.

    \b
    tidemark apply
    tidemark apply --no-wait          publish and return
    """
    from infra.applying import apply_settings
    from infra.target import resolve

    answers = apply_settings(resolve(directory, config).settings, wait=wait, timeout_s=timeout_s)
    show_answers(answers, as_json)
    if any(answer.state in {"refused", "no answer"} for answer in answers):
        raise typer.Exit(1)


def show_answers(answers: list[Answer], as_json: bool) -> None:
    """What each partition said."""
    if as_json:
        print_json(
            [
                {
                    "partition": answer.partition,
                    "customer": answer.customer or None,
                    "state": answer.state,
                    "holds": [{"meter": meter, "from": since} for meter, since in answer.holds],
                    "sentence": answer.sentence,
                }
                for answer in answers
            ]
        )
        return
    rows = [[a.what, a.partition, a.state, "; ".join(f"{meter} from {since}" for meter, since in a.holds), a.sentence] for a in answers]
    changed = [row for row in rows if row[2] != "unchanged"]
    if changed:
        table(("what", "partition", "state", "holds", ""), changed, right=("partition",))
    say(f"{len(rows) - len(changed)} unchanged" if changed else "nothing changed: all of it is in force already")


def migrate(
    analyst: Annotated[
        str | None, typer.Option("--analyst", metavar="NAME", help="make or renew a user who may only read the views", show_default=False)
    ] = None,
    directory: Dir = None,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Brings ClickHouse's schema up to date; every step is numbered and done once.

    --analyst makes a read-only user on a server, with limits and a quota; its password is TIDEMARK_CLICKHOUSE__ANALYST_PASSWORD. Run it again
    after an upgrade: views that the upgrade replaced are granted anew.

    \b
    tidemark migrate
    tidemark migrate --analyst analyst
    """
    from infra.applying import grant_analyst, migrate_settings
    from infra.target import resolve
    from topics.errors import UsageError

    target = resolve(directory, config)
    if analyst is not None and target.state is not None:
        raise UsageError("the embedded engine has no users: at its address the name `analyst` only reads, and so does `tidemark sql`")
    done = migrate_settings(target.settings)
    views = grant_analyst(target.settings, analyst) if analyst is not None else None
    if as_json:
        print_json({"applied": done} if views is None else {"applied": done, "analyst": analyst, "views": views})
        return
    say("\n".join(f"applied {name}" for name in done) or "the schema is up to date")
    if views is not None:
        say(f"{analyst} may read {len(views)} views")


def worker(
    kind: Annotated[str, typer.Argument(metavar="meter|report|archive", help="which of the three", show_default=False)],
    take_out: Annotated[
        str | None,
        typer.Option("--take-out", metavar="NAME", help="run none; the stopped worker NAME does not come back", show_default=False),
    ] = None,
    directory: Dir = None,
    config: Config = None,
) -> None:
    """Runs one Faust worker against the configured servers, until SIGTERM. `/status /live /ready /metrics` on TIDEMARK_WORKER__HTTP.

    A worker that is stopped keeps its partitions until its session time-out, since it mostly comes back under its name. Of one that does not,
    --take-out gives them to the others at once.

    \b
    TIDEMARK_WORKER__NAME=meter-0 TIDEMARK_WORKER__HTTP=127.0.0.1:8101 tidemark worker meter
    tidemark worker meter --take-out meter-2
    """
    from infra.target import resolve
    from infra.worker import run

    target = resolve(directory, config)
    if take_out is not None:
        _take_out(target.settings.kafka.bootstrap, kind, take_out)
        return
    if target.settings.source is not None:
        os.environ["TIDEMARK_CONFIG"] = str(target.settings.source)
    if target.state is not None:
        os.environ |= {
            "TIDEMARK_KAFKA__BOOTSTRAP": target.settings.kafka.bootstrap,
            "TIDEMARK_KAFKA__REPLICATION": "1",
            "TIDEMARK_KAFKA__MIN_INSYNC": "1",
            "TIDEMARK_CLICKHOUSE__URL": target.settings.clickhouse.url,
            "TIDEMARK_CLICKHOUSE__USER": "",
            "TIDEMARK_CLICKHOUSE__PASSWORD": "",
            "TIDEMARK_CLICKHOUSE__DATABASE": "",
            "TIDEMARK_STRIPE__API_BASE": target.settings.stripe.api_base,
            "STRIPE_API_KEY": target.state["stripe"]["api_key"],
            "TIDEMARK_EMBEDDED": "1",
        }
    run(kind)


def _take_out(bootstrap: str, kind: str, name: str) -> None:
    from infra import group_members
    from infra.face import group
    from infra.worker import known_kind

    if not asyncio.run(group_members.take_out(bootstrap, group(known_kind(kind)), name)):
        note(f"no {kind} worker {name} is in its group: its partitions are the others' already")
        raise typer.Exit(1)
    say(f"{name} is out; the other {kind} workers share its partitions now")


def sandbox(
    host: Annotated[str, typer.Option("--host", help="127.0.0.1, or 0.0.0.0 in a container")] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="0 takes a free one")] = 12111,
    state: Annotated[Path, typer.Option("--state", metavar="D", help="directory that keeps everything over restarts")] = Path(".tidemark/sandbox"),
    calls_per_second: Annotated[float, typer.Option("--calls-per-second", min=1.0, help="its rate limit, as Stripe's")] = 100.0,
    fault: Annotated[list[str] | None, typer.Option("--fault", metavar="NAME=SHARE", help="for example lost=0.05", show_default=False)] = None,
    seed: Annotated[int, typer.Option("--seed", help="of the faults")] = 0,
    only: Annotated[str | None, typer.Option("--only", metavar="R", help="faults only for this resource", show_default=False)] = None,
    webhooks_to: Annotated[
        str | None,
        typer.Option("--webhooks-to", metavar="URL", help="tell this receiver; its secret in STRIPE_WEBHOOK_SECRET", show_default=False),
    ] = None,
    rules: Annotated[bool, typer.Option("--rules", help="print every rule with its source, and stop", show_default=False)] = False,
    as_json: Json = False,
) -> None:
    """Runs the Stripe sandbox alone: Stripe's wire protocol for what we use, its documented rules, faults by seed.

    \b
    tidemark sandbox --port 12111 --state /data/sandbox
    tidemark sandbox --fault lost=0.05 --fault error_500=0.01 --seed 7
    tidemark sandbox --rules
    """
    from infra.sandbox.knobs import Knobs
    from infra.sandbox.rules import rules_table
    from infra.sandbox.serve import serve
    from infra.sandbox.standing_receiver import known_to, named

    if rules:
        found = [rule.as_dict() for rule in rules_table()]
        if as_json:
            print_json(found)
        elif found:
            table(list(found[0]), [list(rule.values()) for rule in found])
        return
    receiver = named(webhooks_to, os.environ)
    ready = (lambda url: print_json({"url": url})) if as_json else (lambda url: say(f"the sandbox listens on {url}; Ctrl-C ends it"))
    serve(
        host,
        port,
        state,
        seed=seed,
        rates=_shares(fault) if fault else None,
        only=only,
        knobs=known_to(Knobs(calls_per_second=calls_per_second), receiver),
        receiver=receiver,
        ready=ready,
    )


def _shares(faults: list[str]) -> dict[str, float]:
    from topics.errors import UsageError

    try:
        return {name: float(share) for name, _, share in (text.partition("=") for text in faults)}
    except ValueError:
        raise UsageError("a fault is given as NAME=SHARE, for example --fault lost=0.05") from None
