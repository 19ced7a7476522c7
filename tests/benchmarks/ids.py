"""`python -m tests.benchmarks.ids`: what remembered ids cost at scale: bytes, time to find and put, the longest batch, recovery.

One partition's ids alone, batches of 20,000 random digests, old blocks in files: growth from nothing; a restart from the changelog's segments with
all ids; on it the steady state, in which an hour dies for each that comes. CPU time of this process; goals are printed, nothing is asserted.
For `make bench` (`figures`) growth and recovery run in a process of their own each, so that no memory of one is counted for the other.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import psutil

from infra.heap import give_back
from infra.id_blocks import FileBlocks
from streams.changelog import Changelog
from streams.duplicates import U64
from streams.durability import counters_of
from streams.id_table import IdTable
from streams.recovery import recover
from streams.segments import IDS, IdSegment, SegmentKey, encode_segment
from streams.state import PartitionState
from tests.benchmarks.goals import Figure

BATCH = 20_000
HOURS = 168
"""7 days, the default `dedup`."""
FIRST_HOUR = 490_000
GOAL_BYTES = 24
GOAL_FIND_US = 0.15
GOAL_BATCH_MS = 100
GOAL_RECOVERY_S = 60


def main() -> None:
    """Parse arguments, run, print."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.ids", description=__doc__)
    parser.add_argument("--ids", type=int, default=10_000_000, help="ids to remember (default 10,000,000; 100,000,000 needs 6 GB)")
    parser.add_argument("--grow", type=int, default=10_000_000, help="how far to grow from nothing before (default 10,000,000; at most --ids)")
    parser.add_argument("--steady", type=float, default=0.2, help="share of the ids that dies and comes anew afterwards (default 0.2)")
    parser.add_argument("--only", choices=("grown", "recovered"), help="one of the two, its figures as JSON in the last line")
    arguments = parser.parse_args()
    if arguments.only:
        print(json.dumps(grown(arguments.ids) if arguments.only == "grown" else recovered(arguments.ids, arguments.steady)))
        return
    with tempfile.TemporaryDirectory(prefix="tidemark-ids-") as name:
        before, first = resident(), min(arguments.ids, arguments.grow)
        if first:
            table = IdTable(FileBlocks(Path(name)))
            grow(table, digests(1), first, per_hour(first))
            size(table, before)
            del table
        hours = per_hour(arguments.ids)
        table = recovery(Path(name), arguments.ids, hours)
        size(table, before)
        steady(table, digests(2), int(arguments.ids * arguments.steady), arguments.ids, hours)
        ask(table)


def grown(ids: int) -> dict[str, float]:
    """Bytes of memory and of files an id, by the system's account, of a table that grew from nothing; its longest batch."""
    with tempfile.TemporaryDirectory(prefix="tidemark-ids-") as name:
        # What a first batch brings into the process (compiled functions, this benchmark's own arrays) belongs to no id.
        grow(IdTable(FileBlocks(Path(name))), digests(9), BATCH, BATCH)
        before, table = resident(), IdTable(FileBlocks(Path(name)))
        longest_s = grow(table, digests(1), ids, per_hour(ids))
        now = resident()
        size(table, before)
        return {
            "memory": (now["own"] - before["own"]) / table.held,
            "files": table.kept_bytes / table.held,
            "longest_ms": longest_s * 1000,
        }


def recovered(ids: int, steady_share: float) -> dict[str, float]:
    """The longest batch of the steady state after a recovery, which says its own cost."""
    hours = per_hour(ids)
    with tempfile.TemporaryDirectory(prefix="tidemark-ids-") as name:
        table = recovery(Path(name), ids, hours)
        longest_s = steady(table, digests(2), int(ids * steady_share), ids, hours)
    return {"longest_ms": longest_s * 1000}


def figures(_directory: Path, scale: float, say: Callable[[str], None]) -> list[Figure]:
    """For `make bench`: ten million ids of a week. What lies in local files is said beside what must be memory."""
    ids = max(50 * BATCH, int(10_000_000 * scale))
    size_of, back = _apart("grown", ids, say), _apart("recovered", ids, say)
    how = f"{ids:,} ids; and {size_of['files']:.1f} B in local files; longest batch of 20,000: {size_of['longest_ms']:.0f} ms of CPU"
    return [
        Figure("id_bytes", size_of["memory"], how=how),
        Figure("id_longest_batch_ms", back["longest_ms"], how=f"{ids:,} ids, an hour dies for each that comes; CPU"),
    ]


def _apart(what: str, ids: int, say: Callable[[str], None]) -> dict[str, float]:
    command = [sys.executable, "-m", "tests.benchmarks.ids", "--only", what, "--ids", str(ids)]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    for line in lines[:-1]:
        say(line)
    found: dict[str, float] = json.loads(lines[-1])
    return found


def per_hour(ids: int) -> int:
    """Ids of one hour, in whole batches."""
    return max(BATCH, ids // HOURS // BATCH * BATCH)


def digests(seed: int) -> Iterator[U64]:
    """Batches as the keyed digest makes them: random."""
    rng = np.random.default_rng(seed)
    while True:
        yield rng.integers(0, 2**64, (BATCH, 2), dtype=np.uint64)


def resident() -> dict[str, int]:
    """Bytes of this process: in memory of its own, and of files."""
    info = psutil.Process().memory_info()
    shared = getattr(info, "shared", 0)
    return {"all": info.rss, "own": info.rss - shared, "files": shared}


def grow(table: IdTable, batches: Iterator[U64], ids: int, hours: int) -> float:
    """From nothing to `ids`, said tenth by tenth. Returns the seconds of the longest batch."""
    done, tenth, longest_s = 0, max(BATCH, ids // 10), 0.0
    timing = Timing()
    while done < ids:
        timing.put(table, next(batches), FIRST_HOUR + done // hours, 0)
        done += BATCH
        if done % tenth < BATCH:
            timing.say(f"grown to {done:,}")
            longest_s, timing = max(longest_s, timing.longest_s), Timing()
    return longest_s


def steady(table: IdTable, batches: Iterator[U64], more: int, ids: int, hours: int) -> float:
    """An hour dies for each that comes. Returns the seconds of the longest batch."""
    timing, span = Timing(), ids // hours
    for done in range(ids, ids + more, BATCH):
        hour = FIRST_HOUR + done // hours
        timing.put(table, next(batches), hour, hour - span)
    timing.say(f"steady, {more:,} more")
    print(f"  {table.held:,} held, index and newest digests {table.memory_bytes / table.held:.2f} B an id")
    return timing.longest_s


class Timing:
    """CPU seconds of finds and puts, and the longest batch."""

    def __init__(self) -> None:
        self.ids = 0
        self.find_s = self.put_s = self.longest_s = 0.0

    def put(self, table: IdTable, batch: U64, hour: int, floor: int) -> None:
        """What the fold does with a batch of new ids."""
        start_s = time.process_time()
        absent = not table.find(batch).any()
        found_s = time.process_time()
        table.put(batch, hour, floor, absent=absent)
        end_s = time.process_time()
        self.ids += len(batch)
        self.find_s += found_s - start_s
        self.put_s += end_s - found_s
        self.longest_s = max(self.longest_s, end_s - start_s)

    def say(self, what: str) -> None:
        """One line."""
        find_us, put_us = self.find_s / self.ids * 1e6, self.put_s / self.ids * 1e6
        longest = f"longest batch {self.longest_s * 1000:4.0f} ms ({verdict(self.longest_s * 1000, GOAL_BATCH_MS, 'ms')})"
        print(f"{what:28} find {find_us:.3f} µs ({verdict(find_us, GOAL_FIND_US, 'µs')})  put {put_us:.3f} µs  {longest}", flush=True)


def size(table: IdTable, before: dict[str, int]) -> None:
    """Bytes an id, by the table's own account and by the system's."""
    now, held = resident(), table.held
    own, files = (now["own"] - before["own"]) / held, (now["files"] - before["files"]) / held
    counted = (table.memory_bytes + table.kept_bytes) / held
    print(f"bytes an id: {counted:.2f} in all ({verdict(counted, GOAL_BYTES, 'B')}): {table.memory_bytes / held:.2f} memory, "
          f"{table.kept_bytes / held:.2f} files; resident by the system: {own:.2f} memory, {files:.2f} files; {table.spilled:,} spilled")  # fmt: skip


def ask(table: IdTable) -> None:
    """Batches of known ids, from everywhere and from the newest hour."""
    rng, known = np.random.default_rng(3), list(table.counts(0))
    pools = {"the newest hour": table.in_bucket(known[-1]), "20 hours": np.concatenate([table.in_bucket(hour) for hour in known[::9][:20]])}
    for name, pool in pools.items():
        used_s, asked = 0.0, [pool[rng.integers(0, len(pool), BATCH)] for _ in range(20)]
        for batch in asked:
            start_s = time.process_time()
            found = table.find(batch)
            used_s += time.process_time() - start_s
            assert found.all()
        print(f"{'duplicates of ' + name:28} find {used_s / 20 / BATCH * 1e6:.3f} µs")


def recovery(directory: Path, ids: int, hours: int) -> IdTable:
    """Segments as flushes write them, then the state from them, whose ids are returned."""
    state = PartitionState(0, 4, b"k" * 16)
    records: list[tuple[bytes | None, bytes | None, int]] = []
    for done, batch in zip(range(0, ids, BATCH), digests(5), strict=False):
        hour = FIRST_HOUR + done // hours
        state.id_counts[hour] = state.id_counts.get(hour, 0) + BATCH
        segment = IdSegment(0, 0, hour, batch.tobytes(), state.digester.name)
        records.append((SegmentKey(IDS, b"benchmar", len(records)).to_bytes(), encode_segment(segment), len(records)))
    records.append((Changelog(b"counters").counters_key(), encode_segment(counters_of(state)), len(records)))
    start_s = time.process_time()
    recovered = recover(0, 4, records, changelog=Changelog(b"another1"), id_key=b"", base=0, keep=FileBlocks(directory))
    used_s = time.process_time() - start_s
    count = len(records)
    records.clear()
    give_back()  # as the worker does
    held = recovered.ids.held
    print(f"recovery of {held:,} ids in {count:,} records: {used_s:.1f} s of CPU ({used_s / held * 1e6:.2f} µs an id; "
          f"goal for 100 M: {GOAL_RECOVERY_S} s, so {used_s / held * 1e8:.0f} s)", flush=True)  # fmt: skip
    return recovered.ids


def verdict(value: float, goal: float, unit: str) -> str:
    """The goal, and whether it was reached."""
    return f"goal ≤ {goal:g} {unit}{'' if value <= goal else ': NOT reached'}"


if __name__ == "__main__":
    main()
