"""`tidemark apply`: publishes what changed as control records and waits for every partition's answer (law 0).

Numbered effects: 1 the control records are acknowledged on `usage.events`; 2 the meter folds them and publishes what it put in force to
`usage.definitions` (or a `bad_control` verdict). A crash between leaves a record that the next `apply` repeats; repeating changes nothing.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from typing import TYPE_CHECKING, Final, NamedTuple

from aiokafka import TopicPartition

from infra.kafka_io import consumer, end_offsets, producer, reader
from infra.proposal import Answer, Proposal, Publication, answers_to, newest, publications, unchanged
from topics.catalog import DEFINITIONS, EVENTS, VERDICTS
from topics.definitions import Definition, Definitions, decode_definition
from topics.verdict import Verdict, decode_verdict

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from aiokafka.structs import ConsumerRecord

Said = defaultdict[tuple[int, str], list[Definition]]
"""What partitions published since, by partition and digest."""
DEFAULT_TIMEOUT_S = 60.0
"""A meter that takes over a partition recovers within seconds; a minute without any answer means that none runs."""


RUNS: Final = 5
"""How often what lost a race is proposed again: each loss means that somebody else was faster."""


async def definitions_in_force(bootstrap: str, partitions: int) -> list[Definitions]:
    """What each partition last published as in force. Raises Unreachable, MalformedRecord."""
    return list(await asyncio.gather(*(_definitions_of(bootstrap, partition) for partition in range(partitions))))


async def _definitions_of(bootstrap: str, partition: int) -> Definitions:
    found = Definitions()
    async for record in reader(bootstrap, DEFINITIONS, partition, 0):
        if record.value is not None:
            found.apply(decode_definition(record.value, _place(record)))
    return found


async def apply(bootstrap: str, proposal: Proposal, partitions: int, *, wait: bool = True, timeout_s: float = DEFAULT_TIMEOUT_S) -> list[Answer]:
    """Publishes what differs from what is in force; answers for every partition and customer.

    What was refused is proposed again where something else is in force by now: a webhook, or another `apply`, was faster, and the record named
    what it found no more. What would be the same record again is refused for itself, and stays so.
    """
    run = await _run(bootstrap, proposal, partitions, wait=wait, timeout_s=timeout_s)
    found = run.answers
    for _ in range(RUNS):
        refused = run.refused
        if not refused or refused >= set(publications(proposal, await definitions_in_force(bootstrap, partitions))):
            break
        run = await _run(bootstrap, proposal, partitions, wait=wait, timeout_s=timeout_s)
        found = newest(found, run.answers)
    return found


class _Run(NamedTuple):
    """What one attempt published, and what was said to it."""

    published: list[Publication]
    answers: list[Answer]

    @property
    def refused(self) -> set[Publication]:
        """The records that were refused."""
        said = {(answer.partition, answer.customer) for answer in self.answers if answer.state == "refused"}
        return {each for each in self.published if (each.partition, each.customer) in said}


async def _run(bootstrap: str, proposal: Proposal, partitions: int, *, wait: bool, timeout_s: float) -> _Run:
    """One attempt."""
    # Before what is in force is read: an answer to an earlier record that arrives in between must be seen once, not never.
    starts = {topic: await end_offsets(bootstrap, topic, range(partitions)) for topic in (DEFINITIONS, VERDICTS)}
    in_force = await definitions_in_force(bootstrap, partitions)
    to_publish = publications(proposal, in_force)
    offsets = await publish(bootstrap, to_publish)
    if not wait:
        published = [Answer(publication.partition, publication.customer, "published") for publication in to_publish]
        return _Run(to_publish, unchanged(proposal, in_force) + published)
    said = await answers(bootstrap, to_publish, offsets, starts, timeout_s)
    return _Run(to_publish, unchanged(proposal, in_force) + said)


async def publish(bootstrap: str, to_publish: Sequence[Publication]) -> list[int]:
    """The offset that each control record was acknowledged at; in the order given, so that meters come before items."""
    if not to_publish:
        return []
    async with producer(bootstrap) as client:
        # An idempotent producer keeps the order within a partition, so all may be under way at once.
        sent = [
            await client.send(EVENTS, publication.event.value, publication.event.key, partition=publication.partition) for publication in to_publish
        ]
        return [(await future).offset for future in sent]


async def answers(
    bootstrap: str, to_publish: Sequence[Publication], offsets: Sequence[int], starts: Mapping[str, Mapping[int, int]], timeout_s: float
) -> list[Answer]:
    """Reads definitions and verdicts from before the publication until each is answered or the time is out."""
    if not to_publish:
        return []
    open_ = {(publication.partition, offset): publication for publication, offset in zip(to_publish, offsets, strict=True)}
    said: Said = defaultdict(list)
    found: dict[tuple[int, int], Answer] = {}
    deadline = asyncio.get_running_loop().time() + timeout_s
    async with consumer(bootstrap) as client:
        pairs = {TopicPartition(topic, partition): starts[topic][partition] for topic in starts for partition, _ in open_}
        client.assign(list(pairs))
        for pair, start in pairs.items():
            client.seek(pair, start)
        while len(found) < len(open_) and asyncio.get_running_loop().time() < deadline:
            for records in (await client.getmany(timeout_ms=200)).values():
                _take(records, open_, said, found)
    sentence = f"no meter answered within {timeout_s:g} s; is one running (`tidemark status`)? The record is published and will be taken."
    return [
        found.get(coordinate, Answer(publication.partition, publication.customer, "no answer", sentence=sentence))
        for coordinate, publication in open_.items()
    ]


def _take(
    records: Sequence[ConsumerRecord],
    open_: Mapping[tuple[int, int], Publication],
    said: Said,
    found: dict[tuple[int, int], Answer],
) -> None:
    for record in records:
        if record.topic == DEFINITIONS and record.value is not None:
            definition = decode_definition(record.value, _place(record))
            said[record.partition, getattr(definition, "digest", "")].append(definition)
        elif record.topic == VERDICTS:
            verdict = decode_verdict(record.value, _place(record))
            publication = open_.get((verdict.partition, getattr(verdict, "offset", -1)))
            if isinstance(verdict, Verdict) and publication is not None:
                refused = Answer(publication.partition, publication.customer, "refused", sentence=verdict.sentence)
                found[verdict.partition, verdict.offset] = refused
    for coordinate, publication in open_.items():
        versions = said.get((publication.partition, publication.event.digest))
        if coordinate not in found and versions and (answer := answers_to(publication, versions)) is not None:
            found[coordinate] = answer


def _place(record: ConsumerRecord) -> str:
    return f"{record.topic}-{record.partition}@{record.offset}"
