"""`tidemark adopt`: the counters record that makes a recreated, truncated or mirrored log the next generation of a partition (law 3).

Numbered effects: 1 one counters record a partition is acknowledged on `usage.state`; 2 halted meters of an embedded stack are ended, so that
they are started anew (on servers a person does that); 3 the group's members join anew. A crash between is repaired by the next `adopt --yes`
or by restarting the workers.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from infra import topics_admin
from infra.face import group
from infra.group_members import rejoin
from infra.kafka_io import begin_offsets, end_offsets, producer, reader
from infra.log_reader import KafkaLogReader
from infra.status import ask
from streams.adopt import adopt
from streams.changelog import Changelog
from streams.identity import check_identity, identity_offset
from streams.recovery import recover
from topics.catalog import EVENTS, STATE
from topics.errors import ForeignLog, LostLog, UsageError

if TYPE_CHECKING:
    from infra.target import Target
    from streams.sends import Send


class Adoption(NamedTuple):
    """What `adopt` finds for one partition. `sentence` says why the state and the log do not fit, or that they do."""

    partition: int
    state: Literal["fits", "to adopt", "adopted"]
    generation: int
    next_offset: int
    sentence: str


def adopt_log(target: Target, partitions: Sequence[int], *, yes: bool) -> list[Adoption]:
    """Looks at the named partitions (none: all); with `yes` adopts what does not fit. Raises UsageError while a meter works on one."""
    return asyncio.run(_adopt(target, partitions, yes=yes))


async def _adopt(target: Target, partitions: Sequence[int], *, yes: bool) -> list[Adoption]:
    bootstrap = target.settings.kafka.bootstrap
    count = await topics_admin.partition_count(bootstrap, EVENTS)
    chosen = sorted(set(partitions)) or list(range(count))
    if wrong := [partition for partition in chosen if not 0 <= partition < count]:
        raise UsageError(f"there is no partition {wrong[0]}; {EVENTS} has 0 to {count - 1}")
    meters = [worker for worker in await ask(target.processes) if worker["kind"] == "meter"]
    found: list[Adoption] = []
    sends: list[Send] = []
    for partition in chosen:
        adoption, send = await _look(bootstrap, partition, count)
        found.append(adoption)
        if send is not None:
            sends.append(send)
    if not yes or not sends:
        return found
    _refuse_while_working(meters, {send.partition for send in sends})
    async with producer(bootstrap) as client:
        for send in sends:
            await client.send_and_wait(send.topic, send.value, send.key, partition=send.partition)
    _end_halted(target, meters)
    await rejoin(bootstrap, group("meter"))
    begins = await begin_offsets(bootstrap, EVENTS, [send.partition for send in sends])
    return [
        entry._replace(state="adopted", generation=entry.generation + 1, next_offset=begins[entry.partition]) if entry.partition in begins else entry
        for entry in found
    ]


async def _look(bootstrap: str, partition: int, count: int) -> tuple[Adoption, Send | None]:
    changelog = Changelog(os.urandom(8))
    records = [(record.key, record.value, record.offset) async for record in reader(bootstrap, STATE, partition, 0)]
    begin = (await begin_offsets(bootstrap, EVENTS, [partition]))[partition]
    end = (await end_offsets(bootstrap, EVENTS, [partition]))[partition]
    state = recover(partition, count, records, changelog=changelog, id_key=os.urandom(16), base=0)
    log = KafkaLogReader(bootstrap)
    cluster_id, offset = await log.cluster_id(), identity_offset(state)
    at = None if offset is None or not begin <= offset < end else await log.record_at((EVENTS, partition), offset)
    record = None if at is None else (at.key, at.value, at.timestamp_ms)
    next_offset = state.counters.next_offset
    try:
        check_identity(state, cluster_id=cluster_id, begin=begin, end=end, record=record)
    except (ForeignLog, LostLog) as halt:
        sentence = str(halt).split("; `tidemark adopt", maxsplit=1)[0]
        return Adoption(partition, "to adopt", state.generation, next_offset, sentence), adopt(state, changelog, begin=begin, cluster_id=cluster_id)
    return Adoption(partition, "fits", state.generation, next_offset, "the log is the one that was counted"), None


def _refuse_while_working(meters: Iterable[Any], partitions: set[int]) -> None:
    """A meter that works would overwrite the adoption with its own counters; a halted one writes nothing more."""
    for worker in meters:
        held = {line["partition"] for line in worker["partitions"]} & partitions
        if held and not worker["halted"]:
            raise UsageError(f"{worker['name']} works on partition {min(held)}; stop the meter workers, then adopt")


def _end_halted(target: Target, meters: Iterable[Any]) -> None:
    if target.state is None:
        return
    halted = {worker["name"] for worker in meters if worker["halted"]}
    for process in target.processes:
        if process["name"] in halted and process["pid"]:
            os.kill(process["pid"], signal.SIGTERM)
