"""`tidemark demo`: up, sandbox catalogue, usage with kills in the middle of it, months that pass meanwhile, settle, compare, explain, down.

Numbered effects, all inside one fresh directory: 1 the stack; 2 subscriptions in its own sandbox; 3 events on its own Kafka. Stopped anywhere,
the stack is taken down and the directory stays.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from infra.cli.output import note, print_json, say, status_line
from infra.demo import compare, months, summary
from infra.demo.kills import Kills
from infra.demo.setting import CALLS_PER_SECOND, PORTIONS_SECONDS, Setting, built_in, fresh_directory, from_log
from infra.demo.stripe_side import stripe_units
from infra.demo.traffic import PORTION, send_all
from infra.settle import settle
from infra.target import resolve
from topics.catalog import EVENTS

if TYPE_CHECKING:
    from infra.demo.month import Billed
    from infra.target import Target
    from topics.bindings import Item

SETTLE_TIMEOUT_S = 180.0
METERS = 2
LINE_WINDOWS = 6
"""Windows of the explained invoice line that are shown: a month has too many for a screen."""
Tell = Callable[[str], None]


def run_demo(*, log: Path | None = None, keep: bool = False, directory: Path | None = None, as_json: bool = False) -> int:
    """One demo; its exit code is 0 only if every number agrees."""
    from infra.embedded import stack

    started_s = time.monotonic()
    now = datetime.now(tz=UTC).replace(microsecond=0)
    setting = built_in(now) if log is None else from_log(log, now)
    where = fresh_directory(directory)
    config = where / "tidemark.toml"
    config.write_text(setting.configuration(now), encoding="utf-8")
    if not as_json:
        _announce(setting, log)
    try:
        with status_line("starting", quiet=as_json) as line:
            outcome = _played(where, config, setting, _teller(line, started_s, quiet=as_json), started_s, keep=keep)
        if as_json:
            print_json(summary.as_json(outcome))
        else:
            summary.show(outcome)
            _explain(outcome, setting)
            _explain_line(outcome)
    finally:
        if not keep:
            with status_line("taking the stack down", quiet=as_json):
                stack.down(where)
    if not as_json:
        summary.show_next(outcome, kept=keep)
        say(f"\n{time.monotonic() - started_s:.0f} s")
    return 1 if outcome.faults else 0


def _announce(setting: Setting, log: Path | None) -> None:
    if log is None:
        events = len(setting.records) + len(setting.late)
        say(f"{events:,} events of {len(setting.customers)} customers over three hours; some twice, late, wrong or misplaced")
        return
    setup = len(setting.customers) * 2
    eta_s = 45 + (setting.cells + setup) / 400
    say(
        f"{len(setting.records):,} requests of {len(setting.customers):,} clients in {log}"
        + (f"; {setting.skipped} lines of another format" if setting.skipped else "")
    )
    say(f"{setting.cells:,} cells to report at Stripe (customer × meter × hour), at most {CALLS_PER_SECOND:,} a second: about {eta_s:.0f} s in all")


def _teller(line: Tell, started_s: float, *, quiet: bool) -> Tell:
    def tell(text: str) -> None:
        line(text)
        if not quiet and not sys.stderr.isatty():
            note(f"{time.monotonic() - started_s:5.1f} s  {text}")

    return tell


def _played(where: Path, config: Path, setting: Setting, tell: Tell, started_s: float, *, keep: bool) -> summary.Outcome:
    """Everything up to the numbers. A stack that is not kept ends with this process, however that ends."""
    from infra import stripe_catalog
    from infra.applying import apply_settings
    from infra.up import bring_up

    up = bring_up(where, config, detach=keep, workers=METERS, tell=tell, sandbox_arguments=("--calls-per-second", str(CALLS_PER_SECOND)))
    settings = up.target.settings
    tell("creating customers and subscriptions in the sandbox, backdated to before the first event")
    since = (setting.expected.first or datetime.now(tz=UTC)) - timedelta(days=1)
    made = stripe_catalog.setup(settings, int(since.timestamp()))
    items = stripe_catalog.read_items(settings, tell)
    tell("publishing who is billed where")
    apply_settings(settings, more=items)
    people = months.subscribers(datetime.now(tz=UTC), setting.meters, {slug: price for slug, (price, _) in made.costs.items()})
    target = resolve(where, config)

    async def everything() -> summary.Outcome:
        # A log of yours has its own time; the built-in usage has months beside it.
        async with months.passing(target.settings, people if setting.has_months else [], tell) as living:
            return await _traffic(target, setting, items, living, tell, started_s)

    return asyncio.run(everything())


async def _traffic(
    target: Target, setting: Setting, items: dict[str, tuple[Item, ...]], living: asyncio.Task[list[Billed]], tell: Tell, started_s: float
) -> summary.Outcome:
    from infra import topics_admin
    from infra.explaining.line import explained_line

    directory, settings = target.directory or Path(), target.settings
    partitions = await topics_admin.partition_count(settings.kafka.bootstrap, EVENTS)
    kills = Kills(directory, len(setting.records))

    step = max(1, len(setting.records) // 10)

    acknowledged = 0

    async def moved(more: int) -> None:
        nonlocal acknowledged
        acknowledged += more
        killed = len(kills.names)
        await kills.at(acknowledged)
        # Where nobody sees a changing line, every tenth and every kill is enough.
        if sys.stderr.isatty() or len(kills.names) > killed or acknowledged % step < PORTION:
            tell(f"{acknowledged:,} of {len(setting.records):,} events sent; killed so far: {', '.join(kills.names) or 'nobody'}")

    again = await send_all(settings.kafka.bootstrap, setting.records, partitions, seconds=PORTIONS_SECONDS, moved=moved)
    tell("waiting for the killed to be back")
    await kills.finish()
    tell(f"sending {len(setting.late):,} more: late ones, and copies")
    again += await send_all(settings.kafka.bootstrap, setting.late, partitions, seconds=1.0, moved=_ignored)
    tell("waiting for the months to be billed")
    billed = await living
    months.add(setting.expected, billed)
    settled = await settle(target, SETTLE_TIMEOUT_S, close=True, tell=lambda text: tell(f"settling: {text}"))
    tell("counting four times")
    counted, windows = await compare.counted_units(settings.kafka.bootstrap, partitions)
    billing = {customer: {item.meter: item.item for item in of} for customer, of in items.items()}
    held = await stripe_units(settings, billing | {each.month.customer: each.items for each in billed})
    raw = await asyncio.to_thread(compare.raw_units, settings)
    not_counted = await asyncio.to_thread(compare.not_counted, settings)
    sent = compare.units_of({at: units for at, units in setting.expected.units.items() if units})
    line = months.shortest(billed)
    lines = compare.lines(sent, setting.expected.events, _without_zero(counted), held, _without_zero(raw))
    return summary.Outcome(
        directory,
        settled.status,
        settled.still_open,
        setting.expected,
        not_counted,
        kills.survived,
        again,
        windows,
        lines,
        billed,
        None if line is None else await asyncio.to_thread(explained_line, settings, line.name),
        time.monotonic() - started_s,
    )


async def _ignored(_more: int) -> None:
    """Nothing is killed while the late ones are sent."""


def _without_zero(units: compare.Units) -> compare.Units:
    """A customer whose requests had no bytes has a total of 0 in one place and none in another: the same number."""
    return {at: scaled for at, scaled in units.items() if scaled}


def _explain(outcome: summary.Outcome, setting: Setting) -> None:
    """One window, taken apart down to its events."""
    from infra.explaining.show import show_window
    from infra.explaining.window import explained_window

    showcase = setting.expected.showcase
    if showcase is None:
        return
    customer, meter, start = showcase
    instant = start.strftime("%Y-%m-%dT%H:%M:%SZ")
    say(f"One window, taken apart: tidemark explain '{customer}' {meter} {instant}")
    show_window(explained_window(resolve(outcome.directory).settings, customer, meter, instant), 12)
    say("")


def _explain_line(outcome: summary.Outcome) -> None:
    """One line of an invoice, taken apart down to what Stripe holds of each window and the events behind it."""
    from infra.explaining.show_line import show_line

    if outcome.explained is not None:
        line = outcome.explained.line
        say(f"One invoice line, taken apart: tidemark explain --invoice-line {line.invoice}/{line.id}")
        show_line(outcome.explained, LINE_WINDOWS)
        say("")
