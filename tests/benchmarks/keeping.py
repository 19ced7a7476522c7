"""What a rebalance costs a worker for a partition that it keeps: CPU seconds with its state read again, and with its state kept.

`python -m tests.benchmarks.keeping --rows 300000 --ids 2000000`; asserts nothing but that both ways end at the same counters. One process, one run;
without fetching and without Faust's handing over of each record, which come on top of a state that is read.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from infra.id_blocks import FileBlocks
from streams.bases import Bases
from streams.changelog import Changelog
from streams.partition import MeterPartition
from streams.ports import ChangelogRecord, Kept
from tests.benchmarks.ids import BATCH, digests
from tests.benchmarks.state import PART, START_S, a_state, fill
from topics.catalog import STATE

FLUSHES = 4
"""An hour of ids each."""


def durable(rows: int, ids: int) -> tuple[MeterPartition, Bases]:
    """A partition with so many open windows and remembered ids, all of it flushed, and its changelog as recovery would collect it."""
    state, bases = a_state(), Bases()
    core = MeterPartition(state, Changelog(b"12345678"))
    core.stand_on((0, 0))
    state.facts.definitions += state.definitions.all()
    batches, offset = digests(1), 0
    for first in range(0, max(rows, 1), PART):
        fill(state.rows, first, min(PART, rows - first), rows)
        core._dirty.append(state.rows.store.live()[first:])
    for number in range(FLUSHES):
        bucket = START_S // 3600 + number
        for _ in range(ids // FLUSHES // BATCH):
            some = next(batches)
            state.ids.put(some, bucket, 0)
            state.new_ids.append((bucket, some))
        state.id_counts = state.ids.counts(0)
        state.counters.counted = state.counters.postings = 2 * rows
        state.counters.next_offset = 2 * rows + 1 + number
        flush = core.begin_flush()
        if flush is None:
            raise AssertionError("nothing to flush")
        for send in (*flush.first, flush.counters, *flush.last):
            if send.topic == STATE:
                bases.collect(0, ChangelogRecord(send.key or b"", send.value, offset))
                offset += 1
        core.end_flush(flush)
    return core, bases


def main(arguments: list[str]) -> int:
    """Print what was measured."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.keeping")
    parser.add_argument("--rows", type=int, default=300_000)
    parser.add_argument("--ids", type=int, default=2_000_000)
    chosen = parser.parse_args(arguments)
    core, bases = durable(chosen.rows, chosen.ids)
    core.tick(START_S * 1000, None)
    extent = core.durable_extent()
    if extent is None:
        raise AssertionError("not durable")
    collected = list(bases._collected[0].values())
    size = sum(len(record.key) + len(record.value or b"") for record in collected)
    print(f"{core.state.rows.count:,} windows, {core.state.live_ids():,} ids: {len(collected):,} changelog records, {size / 1e6:.0f} MB")
    with tempfile.TemporaryDirectory() as directory:
        begun = time.process_time()
        again = MeterPartition.recover(
            0, 1, collected, writer_epoch=b"87654321", id_key=bytes(16), cluster_id="c", keep=FileBlocks(Path(directory))
        )  # fmt: skip
        again.tick(START_S * 1000, None)
        print(f"read again: {time.process_time() - begun:.3f} s of CPU")
        begun = time.process_time()
        bases.keep(0, Kept(core, *extent))
        bases.begin({0})
        stands = bases.stands(0, *extent)
        bases.complete({0})
        kept = bases.take(0).core
        if kept is None or not stands:
            raise AssertionError("it was not kept")
        kept.go_on(b"87654321")
        kept.tick(START_S * 1000, None)
        print(f"kept: {time.process_time() - begun:.6f} s of CPU")
    if (again.counters, again.state.rows.count, again.state.live_ids()) != (kept.counters, kept.state.rows.count, kept.state.live_ids()):
        raise AssertionError("the two differ")
    lows = [np.sort(one.state.rows.store.columns["low"][one.state.rows.store.live()]) for one in (again, kept)]
    if not np.array_equal(lows[0], lows[1]):
        raise AssertionError("the totals differ")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
