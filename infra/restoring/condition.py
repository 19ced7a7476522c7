"""Whether a partition's state is lost, there, or already restored: decided from what Kafka and the archive hold of it. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, NamedTuple

from infra.replaying.folding import Reach
from streams.changelog import Changelog
from streams.recovery import recover
from streams.segments import COUNTERS

Condition = Literal["lost", "there", "restored", "begun", "empty"]
"""`lost`: to be restored. `there`: the state in Kafka is as far as the archive, or further. `restored`: it is of a later log than the archive's
newest. `begun`: the cluster has begun to count anew, so two accounts would meet. `empty`: neither side knows anything."""
Changes = Iterable[tuple[bytes | None, bytes | None, int]]
"""Records of usage.state: key, value, offset."""


class Found(NamedTuple):
    """What a partition's usage.state holds: its prefix, or that it holds none."""

    generation: int
    next_offset: int
    is_fresh: bool


def found_in(partition: int, partitions: int, records: Changes) -> Found:
    """What the changelog stands for. An idle meter that found nothing says so too: counters at offset 0. Raises CorruptState."""
    kept = list(records)
    state = recover(partition, partitions, kept, changelog=Changelog(bytes(8)), id_key=bytes(16), base=0)
    last = {key: value for key, value, _ in kept}
    has_counters = any(key is not None and key[:1] == COUNTERS and value is not None for key, value in last.items())
    is_idle = state.generation == 0 and state.counters.next_offset == 0
    return Found(state.generation, state.counters.next_offset, not has_counters or is_idle)


def condition_of(found: Found, archived: Reach | None) -> Condition:
    """The condition of a partition; `archived` None: the archive has no mark of it."""
    is_archived = archived is not None and (archived.generation, archived.offset) > (0, 0)
    if found.is_fresh:
        return "lost" if is_archived else "empty"
    if archived is None or not is_archived:
        return "there"
    if found.generation > archived.generation:
        return "restored"
    return "there" if (found.generation, found.next_offset) >= tuple(archived) else "begun"


SENTENCES: dict[Condition, str] = {
    "lost": "Kafka holds nothing of it, the archive does",
    "there": "the state is in Kafka; nothing of it is lost",
    "restored": "it was restored (or adopted) already",
    "begun": "the cluster has begun to count it anew, while the archive knows more: stop the workers, delete and make the eight topics anew "
    "(`tidemark topics apply`), then restore",
    "empty": "nothing was ever counted of it",
}
