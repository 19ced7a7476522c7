"""`tidemark adopt`: accept a recreated, truncated or mirrored topic as a new generation of the same state.

The rows, ids and versions stay: events that the new log holds again are duplicates by their ids, new ones raise the totals under revisions of the
next generation, which are greater than all before.
"""

from __future__ import annotations

import msgspec

from streams.changelog import Changelog
from streams.durability import counters_of
from streams.segments import encode_segment
from streams.sends import Send
from streams.state import Identity, PartitionState
from topics.catalog import STATE
from topics.verdict import Counters


def adopt(state: PartitionState, changelog: Changelog, *, begin: int, cluster_id: str) -> Send:
    """The counters record that makes `begin` the base of the next generation; write it while no worker holds the partition."""
    record = counters_of(state)
    record.generation += 1
    # Segments of the old log beyond this belong to a flush that died: they must not become part of the new one's state.
    record.closed = [*state.closed, state.counters.next_offset]
    record.counters = Counters(base=begin, next_offset=begin, postings=state.counters.postings)
    record.clocks = msgspec.structs.replace(state.clocks, close_offset=-1)
    record.identity = Identity(cluster_id=cluster_id)
    return Send(STATE, state.partition, changelog.counters_key(), encode_segment(record))
