"""One whole month of nine customers on a real stack, while its processes are killed: every invoice line and adjustment against what was used.

`python -m tests.chaos.month --seed 1`. The customers sign up in the sandbox, live on test clocks, send usage in time, a week late, twice, after
their period's edge and after their invoice is final. Nothing is told to the product but by webhooks and events. What was used is counted by the
generator's own dictionaries; what it costs by `month_people.cost`.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import AsyncExitStack, nullcontext
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from typing import Any

from infra import stripe_catalog
from infra.demo.books import books
from infra.demo.month import Billed, Stage
from infra.demo.months import together
from infra.embedded import stack
from infra.settings import Settings
from infra.target import resolve
from infra.webhooks.kafka_log import KafkaLog
from tests.chaos.month_people import CONFIGURATION, FIRST_TIER, FLAT, METERED, Person, cost, people, subscriber
from tests.system import wire
from tests.system.cli import Command
from tests.system.conftest import guarded
from tests.system.provider import Provider
from tests.system.traffic import Message, event, member, rfc3339
from topics.errors import TidemarkError
from topics.home import home_of

VICTIMS = ("meter-0", "meter-1", "report", "archive", "webhooks", "meter-0", "report", "webhooks", "sandbox", "kafka")
"""Dealt in an order by seed, each before any comes again."""
PAUSE_S = (3.0, 8.0)
"""Between two kills; Kafka alone is away for longer, and a process that ends again and again is started later each time, up to half a minute."""
KILLS = 15
REFUSED = "SELECT customer, meter, outcome, count() AS n FROM deliveries WHERE http_status = 400 GROUP BY ALL"
REPORTS = ("usage_records", "meter_events")
AFTERWARDS = 5
"""Events of each meter that come when the invoice is final."""
DAY_S = 86_400
GUARD_S = 120.0


@dataclass
class Ran:
    """A run: who was killed, what the months became, and what came after."""

    seed: int
    killed: Counter[str] = field(default_factory=Counter)
    billed: list[Billed] = field(default_factory=list)
    afterwards: Counter[tuple[str, str]] = field(default_factory=Counter)
    rows: list[tuple[str, ...]] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    reports: int = 0


def say(text: str) -> None:
    """A line of the record."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


async def kill(directory: Path, ran: Ran) -> None:
    """SIGKILL to one process after another, by seed, KILLS times unless the months end before."""
    chance = Random(ran.seed)
    deck: list[str] = []
    while sum(ran.killed.values()) < KILLS:
        await asyncio.sleep(chance.uniform(*PAUSE_S))
        deck = deck or chance.sample(VICTIMS, len(VICTIMS))
        victim = deck.pop()
        try:
            stack.kill(directory, victim)
        except TidemarkError:
            continue  # it is being started just now
        ran.killed[victim] += 1
        say(f"  SIGKILL {victim}")


async def months(directory: Path, settings: Settings, who: Sequence[Person], prices: dict[str, str], ran: Ran) -> None:
    """All months at once under fire, and then what comes too late."""
    async with AsyncExitStack() as ending:
        account = await ending.enter_async_context(books(settings))
        log = KafkaLog(settings.kafka.bootstrap)
        ending.push_async_callback(log.stop)
        await log.start()
        stage = Stage(account, log, settings.kafka.bootstrap, say)
        killing = asyncio.create_task(kill(directory, ran))
        try:
            ran.billed = await together(stage, [subscriber(person, prices, prices["tiered"], ran.seed) for person in who])
            say("all months are billed")
            for each in ran.billed:
                await heard(log, each)
            await asyncio.to_thread(send_afterwards, settings, ran, who)
        finally:
            killing.cancel()
            await asyncio.gather(killing, return_exceptions=True)


async def heard(log: KafkaLog, billed: Billed) -> None:
    """Waits until the log knows that the month's invoices are final."""
    name, wanted = billed.month.customer, {line.invoice for line in billed.lines.values()}
    deadline_s = time.monotonic() + GUARD_S
    while time.monotonic() < deadline_s:
        try:
            held = await log.held(home_of(name.encode(), log.partitions))
        except TidemarkError:
            held = None
        if held is not None and wanted <= {found.said.invoice for found in held.invoices.values() if found.said.status == "paid"}:
            return
        await asyncio.sleep(0.5)
    raise TidemarkError(f"no webhook said that the invoices of {name} are paid")


def send_afterwards(settings: Settings, ran: Ran, who: Sequence[Person]) -> None:
    """Usage of the last week of each month, now that its invoice is final."""
    messages = []
    for person, billed in zip(who, ran.billed, strict=True):
        for meter in person.meters:
            for number in range(AFTERWARDS):
                at = rfc3339(billed.month.end_s - (number + 1) * DAY_S - 1)
                data = "{}" if meter.value == "count" else member(meter.value, str(number + 1))
                value = event(person.name, f"afterwards-{meter.slug}-{number}", meter.event_type, data, at, source="afterwards")
                messages.append(Message(person.name.encode(), value))
                ran.afterwards[person.name, meter.slug] += 1 if meter.value == "count" else number + 1
    wire.send_aiokafka(settings.kafka.bootstrap, messages)


def adjustments(command: Command) -> Counter[tuple[str, str]]:
    """Units that are on no invoice, by customer and meter, as the product lists them."""
    found: Counter[tuple[str, str]] = Counter()
    for row in command.json("adjustments", "--all")["adjustments"]:
        found[row["customer"], row["meter"]] += int(row["units"]) + int(row["settled"])
    return found


def compare(command: Command, provider: Provider, who: Sequence[Person], ran: Ran) -> None:
    """Σ invoice lines + adjustments = what was used, for every customer and meter, and nothing of it on the next period."""
    deadline_s = time.monotonic() + GUARD_S
    while True:
        open_ = adjustments(command)
        ran.rows, ran.faults = [], []
        for person, billed in zip(who, ran.billed, strict=True):
            _compare_one(person, billed, open_, provider, ran)
        if not ran.faults or time.monotonic() > deadline_s:
            break
        time.sleep(2)
    calls = provider.control("calls")
    if calls["idempotency_errors"]:
        ran.faults.append(f"{calls['idempotency_errors']} idempotency errors")
    ran.reports = sum(sum(counts.values()) for name, counts in calls["by_endpoint"].items() if name.startswith(REPORTS))
    ran.faults += [f"{row['customer']}, {row['meter']}: {row['n']} reports were refused: {row['outcome']}" for row in command.sql(REFUSED)]


def _compare_one(person: Person, billed: Billed, open_: Counter[tuple[str, str]], provider: Provider, ran: Ran) -> None:
    month = billed.month
    later = [provider.get("/v1/invoices/upcoming", subscription=each)["lines"]["data"] for each in billed.subscriptions]
    ran.faults += [f"{person.name}: {line['quantity']} units are on the next period" for lines in later for line in lines if line["quantity"]]
    for meter in person.meters:
        slug = meter.slug
        used = month.units[slug] + month.stragglers[slug] + ran.afterwards[person.name, slug]
        line = billed.lines.get(slug)
        units, amount = (0, 0) if line is None else (line.units, line.amount)
        adjusted = open_[person.name, slug]
        start = datetime.fromtimestamp(month.start_s, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        ran.rows.append((person.name, slug, start, *(f"{number:,}" for number in (used, units, adjusted, amount))))
        if units + adjusted != used:
            ran.faults.append(f"{person.name}, {slug}: {used} were used, {units} are on the invoice and {adjusted} are adjustments")
        in_time = month.units[slug] + (month.stragglers[slug] if meter in METERED else 0)
        if units != in_time:
            ran.faults.append(f"{person.name}, {slug}: {in_time} came before the invoice was final, {units} are on it")
        if amount != cost(person, slug, units):
            ran.faults.append(f"{person.name}, {slug}: {units} units cost {cost(person, slug, units)}, the invoice says {amount}")


def report(ran: Ran, status: dict[str, Any], took_s: float) -> None:
    """The record of a run."""
    names = ("customer", "meter", "since", "used", "on the invoice", "adjustments", "money")
    widths = [max(len(row[at]) for row in (names, *ran.rows)) for at in range(len(names))]
    for row in (names, *ran.rows):
        say("  ".join(cell.ljust(width) if at < 3 else cell.rjust(width) for at, (cell, width) in enumerate(zip(row, widths, strict=True))))
    sums = {fate: sum(line[fate] for line in status["partitions"]) for fate in ("counted", "duplicate", "rejected", "too_late", "residual")}
    killed = ", ".join(f"{name} {count}" for name, count in sorted(ran.killed.items()))
    say(f"{len(ran.rows)} lines, {ran.reports:,} reports to Stripe; " + ", ".join(f"{count:,} {fate}" for fate, count in sums.items()))
    say(f"killed {sum(ran.killed.values())} times: {killed}")
    say("\n".join(ran.faults) if ran.faults else "every line and adjustment is what was used, to the last unit")
    say(f"seed {ran.seed}, {took_s:.0f} s")


def tiered_price(provider: Provider) -> str:
    """A graduated price for tokens, beside the one that set-up makes."""
    tiers = [{"up_to": FIRST_TIER, "unit_amount": 2}, {"up_to": "inf", "unit_amount": 1, "flat_amount": FLAT}]
    recurring = {"interval": "month", "usage_type": "metered", "aggregate_usage": "sum"}
    shape = {"billing_scheme": "tiered", "tiers_mode": "graduated", "tiers": tiers, "recurring": recurring}
    return str(provider.post("/v1/prices", currency="usd", product_data={"name": "tokens"}, metadata={"tidemark_meter": "tokens"}, **shape)["id"])


def run(directory: Path, seed: int, *, leave: bool = False) -> Ran:
    """A fresh stack, a month, a comparison; the stack is taken down, unless it is to be `left` up to be looked at."""
    started_s = time.monotonic()
    config = directory.parent / "month.toml"
    config.write_text(CONFIGURATION, encoding="utf-8")
    command, ran = Command(directory), Ran(seed)
    who = people(datetime.now(UTC), seed)
    with nullcontext() if leave else guarded(directory):
        command.run("up", "--detach", "--config", str(config), "--workers", "2")
        settings = resolve(directory, config).settings
        made = stripe_catalog.setup(settings)
        provider = Provider(settings.stripe.api_base, settings.stripe.api_key.get_secret_value() if settings.stripe.api_key else "")
        prices = {slug: price for slug, (price, _) in made.costs.items()} | {"tiered": tiered_price(provider)}
        asyncio.run(months(directory, settings, who, prices, ran))
        status = command.json("settle", "--close", "--timeout", "240")
        compare(command, provider, who, ran)
        report(ran, status, time.monotonic() - started_s)
    return ran


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.month", description="A month on test clocks, under kills, compared line by line.")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", type=Path, help="the figures as a file, too")
    parser.add_argument("--leave", type=Path, metavar="DIR", help="run in this fresh directory and leave the stack there, up")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="tidemark-month-") as folder:
        ran = run(given.leave or Path(folder) / "stack", given.seed, leave=given.leave is not None)
    if given.json is not None:
        given.json.write_text(json.dumps({"seed": ran.seed, "killed": ran.killed, "rows": ran.rows, "faults": ran.faults}, indent=1) + "\n")
    return 1 if ran.faults else 0


if __name__ == "__main__":
    sys.exit(main())
