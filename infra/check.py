"""`tidemark check`: faults of the servers' settings, all at once. A configuration's own faults are said before, by reading it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, NamedTuple

from infra import topics_admin
from infra.settings_rules import dedup_file_bytes, dedup_memory_bytes, warnings
from topics.errors import Fault, TidemarkError, Unreachable

if TYPE_CHECKING:
    from infra.settings import Settings
    from infra.stripe_preflight import Answered

REFERENCE_RATE = 1000.0
"""Events a second for which `check` says what remembering ids costs: a round number to scale from."""

GATES = {
    "off": 'the invoice gate is off: Stripe finalises an invoice about an hour after its period, whatever is missing on it (stripe.gate)',
    "warn": "the invoice gate warns: the report's log names each draft invoice that lacks usage of ours; nothing is held",
    "hold": "the invoice gate holds: a draft invoice that lacks usage of ours waits for it, at most 72 hours. Through an outage over a period's edge "
    "only if Stripe waits by itself: send invoice.created to the webhook receiver, or set the account's finalization grace period",
}
"""What `check` says of `[stripe] gate`."""


class Found(NamedTuple):
    """What a check found: faults to repair, servers that do not answer, and what is allowed but worth saying."""

    faults: list[Fault]
    unreachable: list[str]
    warnings: list[str]
    notes: list[str]


def offline(settings: Settings) -> Found:
    """What the configuration alone shows."""
    memory_mb, file_mb = dedup_memory_bytes(settings, REFERENCE_RATE) / 1e6, dedup_file_bytes(settings, REFERENCE_RATE) / 1e6
    load = f"for every {REFERENCE_RATE:,.0f} events a second"
    cost = f"{memory_mb:,.0f} MB of memory and {file_mb:,.0f} MB of files under worker.dir"
    note = f"remembering ids for timing.dedup takes {cost}, spread over the meter workers, {load}"
    return Found([], [], warnings(settings), [note, GATES[settings.stripe.gate]])


async def online(settings: Settings) -> Found:
    """Kafka's topics, ClickHouse's answer and Stripe's, asked at the same time."""
    found = offline(settings)
    for outcome in await asyncio.gather(
        _topics(settings), _clickhouse(settings), _stripe(settings), asyncio.to_thread(_bound, settings), return_exceptions=True
    ):
        if isinstance(outcome, Unreachable):
            found.unreachable.append(str(outcome))
        elif isinstance(outcome, TidemarkError):
            found.faults.append(Fault("servers", str(outcome), "See the sentence."))
        elif isinstance(outcome, BaseException):
            raise outcome
        elif isinstance(outcome, list):
            found.faults.extend(outcome)
        else:
            found.faults.extend(outcome.faults)
            found.warnings.extend(outcome.notes)
    return found


async def _topics(settings: Settings) -> list[Fault]:
    differences = await topics_admin.plan(settings.kafka)
    return [
        Fault(
            difference.topic,
            "the topic does not exist" if difference.change == "create" else f"{difference.what} is {difference.is_}, must be {difference.wanted}",
            difference.remedy or "Run `tidemark topics apply`.",
        )
        for difference in differences
    ]


async def _clickhouse(settings: Settings) -> list[Fault]:
    answer = await _get(f"{settings.clickhouse.url.rstrip('/')}/ping", {}, "ClickHouse", settings.clickhouse.url)
    if answer != 200:
        return [Fault("clickhouse.url", f"{settings.clickhouse.url} answers {answer} to /ping", "Name ClickHouse's HTTP port (8123).")]
    return []


async def _stripe(settings: Settings) -> list[Fault]:
    key = settings.stripe.api_key
    if key is None:
        return [Fault("STRIPE_API_KEY", "it is not set", "Set it in the environment; a test key begins with sk_test_.")]
    headers = {"Authorization": f"Bearer {key.get_secret_value()}"}
    answer = await _get(f"{settings.stripe.api_base.rstrip('/')}/v1/prices?limit=1", headers, "Stripe", settings.stripe.api_base)
    if answer == 401:
        return [Fault("STRIPE_API_KEY", f"{settings.stripe.api_base} does not accept it", "Set the key of this account and mode.")]
    return []


def _bound(settings: Settings) -> Answered:
    """What is bound at Stripe and would bill wrongly."""
    from infra.stripe_preflight import Answered, preflight

    try:
        return preflight(settings)
    except Unreachable:
        return Answered([], [])  # said once, by the question before


async def _get(url: str, headers: dict[str, str], who: str, address: str) -> int:
    import aiohttp

    try:
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=10)) as session, session.get(url, headers=headers) as response:
            return response.status
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        raise Unreachable(f"{who} at {address} does not answer ({type(error).__name__}); is it running, and is the address right?") from None


def as_json(found: Found) -> dict[str, Any]:
    """For `--json`."""
    return {
        "faults": [{"place": fault.place, "problem": fault.problem, "remedy": fault.remedy} for fault in found.faults],
        "unreachable": found.unreachable,
        "warnings": found.warnings,
    }
