"""`tidemark settle`: waits until all that was produced is counted and archived, and every due window delivered or parked.

*Settled* (SURFACES): against last stable offsets taken at the call, each partition's `next_offset` and `archived_offset` ≥ end, residual 0;
windows, receipts, rejected and verdicts archived to their ends; `due` = `undelivered` = 0. `open_points` is that definition, pure.

What was produced before the call may lie on a wrong partition. Its copy stands at its home before its own partition is durable past it
(law 5), and a copy is never sent again; so once all partitions are counted up to the first ends, the ends are taken a second time, and
those hold everything. `--close` waits for that too: a copy that arrived after the close would leave its window open.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from infra.control import close_event
from infra.kafka_io import consumer, producer, unreachable
from infra.status import ARCHIVED_TOPICS, Status, ask, halts, joined, status_json
from infra.target import Target, read_state
from topics.catalog import EVENTS, WINDOWS
from topics.errors import Unreachable, UsageError

if TYPE_CHECKING:
    from aiokafka import AIOKafkaConsumer

LOOK_EVERY_S: Final = 0.5
"""Between two looks: a settle of an idle stack then takes about a second, and the workers are asked twice a second at most."""
Ends = Mapping[str, Mapping[int, int]]
"""Topic → partition → last stable offset."""


class Settled(NamedTuple):
    """The status at the end, and what is still open in sentences (nothing: settled)."""

    status: Status
    still_open: list[str]


def open_points(ends: Ends, said: Sequence[Mapping[str, Any]]) -> list[str]:
    """What keeps a stack from being settled, against `ends`; an empty list where it is settled."""
    partitions, windows = joined(said)
    known = {line["partition"]: line for line in partitions}
    found = uncounted(ends, said)
    for partition, end in sorted(ends[EVENTS].items()):
        line = known.get(partition)
        if line is None:
            continue
        if line["residual"]:
            found.append(f"partition {partition}: residual {line['residual']}: events without exactly one fate")
        if line["archived_offset"] < end:
            found.append(f"partition {partition}: archived up to {line['archived_offset']} of {end}")
    archived = _archived(said)
    for topic in ARCHIVED_TOPICS:
        behind = sum(max(0, end - archived.get((topic, partition), 0)) for partition, end in ends[topic].items())
        if behind:
            found.append(f"{topic}: {behind} records are not archived yet")
    read = {line["partition"]: line["next_offset"] for worker in said if worker["kind"] == "report" for line in worker["partitions"]}
    unread = sum(max(0, end - read.get(partition, 0)) for partition, end in ends[WINDOWS].items())
    if unread:
        found.append(f"{unread} totals are not read by the report yet")
    elif not any(worker["kind"] == "report" for worker in said):
        found.append("no report worker answers")
    found += [f"{windows[state]} windows are {state}" for state in ("due", "undelivered") if windows[state]]
    return found


def uncounted(ends: Ends, said: Sequence[Mapping[str, Any]]) -> list[str]:
    """What keeps the events up to `ends` from being counted, durably; an empty list where they are."""
    known = {line["partition"]: line for line in joined(said)[0]}
    found = halts(said)
    for partition, end in sorted(ends[EVENTS].items()):
        line = known.get(partition)
        if line is None:
            found.append(f"partition {partition}: no meter has it yet")
        elif min(line["next_offset"], line["durable_offset"]) < end:
            found.append(f"partition {partition}: counted up to {line['durable_offset']} of {end}")
    return found


def _archived(said: Sequence[Mapping[str, Any]]) -> dict[tuple[str, int], int]:
    found: dict[tuple[str, int], int] = {}
    for line in (line for worker in said if worker["kind"] == "archive" for line in worker["partitions"]):
        at = (line["topic"], line["partition"])
        found[at] = max(found.get(at, 0), line["archived_offset"])
    return found


async def stable_ends(client: AIOKafkaConsumer, topics: tuple[str, ...], partitions: int) -> dict[str, dict[int, int]]:
    """The last stable offsets of all partitions of some topics, asked now."""
    from aiokafka import TopicPartition

    pairs = [TopicPartition(topic, partition) for topic in topics for partition in range(partitions)]
    found: dict[str, dict[int, int]] = {topic: {} for topic in topics}
    for pair, offset in (await client.end_offsets(pairs)).items():
        found[pair.topic][pair.partition] = offset
    return found


def require_embedded(target: Target) -> None:
    """Raises UsageError where windows may not be closed early."""
    if target.state is None:
        raise UsageError("--close works on an embedded stack only; on servers a window closes when its end and grace have passed")


async def close_windows(target: Target) -> None:
    """`tidemark.close` on every partition: open windows close now."""
    event = close_event(secrets.token_hex(8))
    settings = target.settings
    async with producer(settings.kafka.bootstrap) as client:
        for partition in range(settings.kafka.partitions):
            await client.send_and_wait(EVENTS, event.value, event.key, partition=partition)


async def settle(target: Target, timeout_s: float, *, close: bool = False, tell: Callable[[str], None] = lambda _: None) -> Settled:
    """Waits until settled or the time is out. Numbered effect: 1 with `close`, the control records; repeating them is harmless.

    An embedded stack's Kafka that does not answer is being started again, so that is waited for too. Raises Unreachable.
    """
    from aiokafka.errors import KafkaError

    if close:
        require_embedded(target)
    now = asyncio.get_running_loop().time
    deadline = now() + timeout_s
    while True:
        try:
            return await _settle(target, deadline, close=close, tell=tell)
        except (KafkaError, Unreachable) as error:
            if target.state is None or now() >= deadline:
                raise unreachable(target.settings.kafka.bootstrap, error.__cause__ or error) from error
            tell("Kafka does not answer; it is being started again")
            await asyncio.sleep(LOOK_EVERY_S)


async def _settle(target: Target, deadline: float, *, close: bool, tell: Callable[[str], None]) -> Settled:
    """One try, with one connection."""
    async with consumer(target.settings.kafka.bootstrap) as client:
        found = await _wait(client, target, deadline, tell, counted_only=True)
        if found.still_open:
            return found
        if close:
            await close_windows(target)
        return await _wait(client, target, deadline, tell)


async def _wait(client: AIOKafkaConsumer, target: Target, deadline: float, tell: Callable[[str], None], *, counted_only: bool = False) -> Settled:
    """Looks again and again, against ends taken now, until nothing is open (`counted_only`: uncounted) or the time is out."""
    produced = await stable_ends(client, (EVENTS,), target.settings.kafka.partitions)
    while True:
        found = await _look(client, target, produced, counted_only=counted_only)
        if not found.still_open or asyncio.get_running_loop().time() >= deadline:
            return found
        tell("; ".join(found.still_open[:3]) + ("; …" if len(found.still_open) > 3 else ""))
        await asyncio.sleep(LOOK_EVERY_S)


async def current(target: Target) -> Settled:
    """The status now, without waiting. Raises Unreachable."""
    from aiokafka.errors import KafkaError

    try:
        async with consumer(target.settings.kafka.bootstrap) as client:
            return await _look(client, target, await stable_ends(client, (EVENTS,), target.settings.kafka.partitions))
    except KafkaError as error:
        raise unreachable(target.settings.kafka.bootstrap, error) from error


async def _look(client: AIOKafkaConsumer, target: Target, produced: Ends, *, counted_only: bool = False) -> Settled:
    """Settled only where two looks in a row say so.

    The meter may emit a window between the report's answer and its own: one look would then see it in neither. The second look's ends
    were read after the first look's answers, so it sees whatever those had caused.
    """
    said: list[Mapping[str, Any]] = []
    still_open: list[str] = []
    for _ in range(2):
        ends = {**produced, **await stable_ends(client, ARCHIVED_TOPICS, target.settings.kafka.partitions)}
        target = fresh(target)
        said = await ask(target.processes)
        still_open = uncounted(ends, said) if counted_only else open_points(ends, said)
        if still_open or counted_only:
            break
    return Settled(status_json(target, said, settled=not still_open and not counted_only), still_open)


def fresh(target: Target) -> Target:
    """The same target with the supervisor's newest word: a restarted worker has another address."""
    if target.directory is None or target.state is None:
        return target
    state = read_state(target.directory)
    return target if state is None else Target(target.settings, target.directory, state)
