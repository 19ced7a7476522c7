"""`tidemark status`: the workers' own words, joined into one picture. `joined` is pure; `status` asks over HTTP."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final

from sinks.backlog import added_up
from topics.catalog import EVENTS, WINDOWS

if TYPE_CHECKING:
    from infra.target import Target

FATES: Final = ("counted", "duplicate", "rejected", "too_late", "rerouted", "control", "skipped")
WINDOW_STATES: Final = ("open", "due", "delivered", "undelivered", "parked", "unbound")
ARCHIVED_TOPICS: Final = ("usage.windows", "usage.receipts", "usage.rejected", "usage.verdicts")
ASK_TIMEOUT_S: Final = 5.0
"""A worker answers from memory; one that takes longer hangs, and is shown as silent."""
LAGGING: Final = {"meter": EVENTS, "report": WINDOWS, "archive": EVENTS}
"""The kinds of worker that hold partitions, and of which topic where their lines do not say so."""
Status = dict[str, Any]


def joined(said: Iterable[Mapping[str, Any]]) -> tuple[list[Status], dict[str, int]]:
    """(partitions, windows) of the status JSON from the workers' `/status`.

    Two workers may both show a partition for a moment while it moves; the one that is further is the one that has it now.
    """
    said = list(said)
    partitions: dict[int, Status] = {}
    for line in (line for worker in said if worker["kind"] == "meter" for line in worker["partitions"]):
        known = partitions.get(line["partition"])
        if known is None or line["next_offset"] >= known["next_offset"]:
            partitions[line["partition"]] = _partition(line)
    for line in (line for worker in said if worker["kind"] == "archive" for line in worker["partitions"]):
        if line["topic"] == EVENTS and line["partition"] in partitions:
            found = partitions[line["partition"]]
            found["archived_offset"] = max(found["archived_offset"], line["archived_offset"])
    return [partitions[number] for number in sorted(partitions)], _windows(said)


def _partition(line: Mapping[str, Any]) -> Status:
    numbers = {name: line[name] for name in ("partition", "base", "next_offset", "end_offset", *FATES, "residual")}
    return numbers | {
        "generation": line.get("generation", 0),
        "durable_offset": line.get("durable_offset", line["next_offset"]),
        "archived_offset": 0,
    }


def _windows(said: Iterable[Mapping[str, Any]]) -> dict[str, int]:
    """Each window in exactly one state.

    A window that was delivered and holds newer events is open (or due) at the meter and still counted as delivered by the report, so the
    meter's `reopened` are taken off. A revision that the report has not read yet is undelivered.
    """
    counts = dict.fromkeys(WINDOW_STATES, 0)
    reopened = 0
    for worker in said:
        for name, value in (worker.get("windows") or {}).items():
            if name in counts:
                counts[name] += value
        reopened += (worker.get("windows") or {}).get("reopened", 0)
        if worker["kind"] == "report":
            counts["undelivered"] += sum(max(0, line["end_offset"] - line["next_offset"]) for line in worker["partitions"])
    counts["delivered"] = max(0, counts["delivered"] - reopened)
    return counts


def workers(said: Iterable[Mapping[str, Any]]) -> list[Status]:
    """Who holds which partitions, and how many records wait there: one line for each worker that answers, in the order of their names.

    `lag` counts what is not durably counted (meter), in no receipt (report), not archived (archive); the archive's partitions name their topic.
    """
    return [
        {"name": worker["name"], "kind": worker["kind"], "partitions": [_held(worker["kind"], line) for line in worker["partitions"]]}
        for worker in sorted(said, key=lambda worker: (worker["kind"], _in_order(worker["name"])))
        if worker["kind"] in LAGGING
    ]


def _in_order(name: str) -> tuple[str, int]:
    head, _, number = name.rpartition("-")
    return (head, int(number)) if number.isdecimal() else (name, 0)


def _held(kind: str, line: Mapping[str, Any]) -> Status:
    at = line.get("archived_offset") if kind == "archive" else line.get("durable_offset", line.get("next_offset"))
    topic = line.get("topic", LAGGING[kind])
    return {"topic": topic, "partition": line["partition"], "offset": at or 0, "lag": max(0, line["end_offset"] - (at or 0))}


def halts(said: Iterable[Mapping[str, Any]]) -> list[str]:
    """The sentences of workers that stopped rather than guess."""
    return [f"{worker['name']} has halted: {worker['halted']}" for worker in said if worker.get("halted")]


def alarms(said: Iterable[Mapping[str, Any]]) -> list[str]:
    """Why workers that run are not ready (`infra/readiness.py`)."""
    return [f"{worker['name']}: {sentence}" for worker in said for sentence in worker.get("alarms", ())]


def gate(said: Iterable[Mapping[str, Any]]) -> dict[str, int] | None:
    """Draft invoices that the report workers' gates hold, that lack usage, and that were let go with an alarm; None where the gate is off."""
    found = [worker["gate"] for worker in said if worker.get("gate") is not None]
    return {name: sum(each[name] for each in found) for name in ("held", "unready", "released_with_alarm")} if found else None


def backlog(said: Iterable[Mapping[str, Any]]) -> Status:
    """What is due and not delivered, of all report workers: cells, when the last of them is delivered, what would come too late at that rate."""
    found = [worker["backlog"] for worker in said if worker.get("backlog") is not None]
    return added_up((line for each in found for line in each["by"]), sum(each["unread"] for each in found))


async def ask(processes: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """`/status` of every worker that answers; a dead or silent one is missing."""
    import aiohttp

    timeout = aiohttp.ClientTimeout(total=ASK_TIMEOUT_S)
    async with aiohttp.ClientSession(timeout=timeout) as session:
        answers = await asyncio.gather(*(_ask(session, process["http"]) for process in processes if process.get("http")))
    return [answer for answer in answers if answer is not None]


async def _ask(session: Any, address: str) -> Mapping[str, Any] | None:
    import aiohttp

    try:
        async with session.get(f"{address}/status") as response:
            if response.status != 200:
                return None
            found: Any = await response.json()
    except (aiohttp.ClientError, TimeoutError, ValueError):
        return None
    return found if isinstance(found, dict) and found.get("kind") in {"meter", "report", "archive", "webhooks", "reconcile"} else None


def status_json(target: Target, said: Iterable[Mapping[str, Any]], *, settled: bool) -> Status:
    """The whole status JSON of SURFACES; the sandbox's key only where the sandbox is the stack's own."""
    said = list(said)
    partitions, windows = joined(said)
    settings = target.settings
    key = target.state["stripe"]["api_key"] if target.state is not None and target.state.get("stripe") else None
    return {
        "kafka": {"bootstrap": settings.kafka.bootstrap},
        "stripe": {"api_base": settings.stripe.api_base, "api_key": key},
        "clickhouse": {"url": settings.clickhouse.url},
        "processes": [{name: process.get(name) for name in ("name", "pid", "state", "restarts", "http")} for process in target.processes],
        "partitions": partitions,
        "workers": workers(said),
        "windows": windows,
        "backlog": backlog(said),
        "adjustments": sum(worker.get("adjustments", 0) for worker in said),
        "gate": gate(said),
        "alarms": alarms(said),
        "settled": settled,
    }
