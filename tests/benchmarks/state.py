"""What open windows cost: bytes of memory each, bytes of changelog each, and how long a worker takes to have them back.

`python -m tests.benchmarks.state --rows 1000000 [--customers N]`; asserts nothing. CPU seconds (user and system), resident bytes.
Each measure runs in a process of its own, so that no memory of an earlier one is counted.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from infra.heap import give_back
from streams.changelog import Changelog
from streams.durability import counters_of
from streams.partition import MeterPartition
from streams.rows import Rows
from streams.segments import encode_segment
from streams.state import PartitionState
from tests.benchmarks.goals import Figure
from topics.meters import BEGINNING_S, Meter, MeterVersion, Timing, TimingVersion

START_S = 1_790_000_000 // 3600 * 3600
PART = 50_000
"""Rows that become durable together."""


def _resident() -> int:
    gc.collect()
    return int(psutil.Process().memory_info().rss)


def fill(rows: Rows, first: int, more: int, customers: int) -> None:
    """Rows as the fold leaves them: a customer after the other, then the next hour; none emitted."""
    store = rows.store
    at = np.arange(first, first + more)
    names = [f"customer_{number:07d}" for number in (at % customers).tolist()]
    codes = store.customers.numbers(names)
    starts_s = START_S + at // customers * 3600
    slots = store.make(codes, np.full(more, store.meters.number("api_calls")), starts_s, starts_s + 3600)
    columns, rng = store.columns, np.random.default_rng(first)
    columns["low"][slots] = (rng.integers(1, 100_000, more) * 10**12).astype(np.uint64)
    columns["events"][slots], columns["first_offset"][slots] = 2, at
    columns["generation"][slots], columns["through"][slots] = 0, at * 2 + 1
    columns["hash"][slots] = rng.integers(0, 1 << 63, (more, 4)).astype(np.uint64)
    rows.schedule(slots)


def a_state() -> PartitionState:
    """One meter of an hour."""
    state = PartitionState(0, 1, bytes(16))
    state.definitions.apply(TimingVersion(timing=Timing(), offset=0, digest="d"))
    meter = Meter(slug="api_calls", event_type="e", window_s=3600)
    state.definitions.apply(MeterVersion(meter=meter, valid_from_s=BEGINNING_S, offset=1, digest="d"))
    state.clocks.now_ms = START_S * 1000
    return state


def held(rows: int, customers: int) -> dict[str, float]:
    """A partition that holds so many open windows, all sorted into closing and written to the changelog."""
    before = _resident()
    state, changelog = a_state(), Changelog(b"12345678")
    partition = MeterPartition(state, changelog)
    written, cpu_s = 0, 0.0
    for first in range(0, rows, PART):
        fill(state.rows, first, min(PART, rows - first), customers)
        begun = time.process_time()
        slots = state.rows.store.live()[first:]
        partition.closing.touch(slots)
        partition.tick(START_S * 1000, None)
        written += sum(len(value) for _, value in changelog.write_rows(state, slots))
        cpu_s += time.process_time() - begun
    return {"bytes": _resident() - before, "changelog": written, "flush_s": cpu_s}


def written(directory: Path, rows: int, customers: int) -> None:
    """The changelog of such a partition, as files."""
    state, changelog = a_state(), Changelog(b"12345678")
    with (directory / "segments").open("wb") as file:

        def put(records: list[tuple[bytes, bytes]]) -> None:
            for key, value in records:
                file.write(len(value).to_bytes(4, "little") + key + value)

        put(changelog.write_definitions(state, state.definitions.all()))
        for first in range(0, rows, PART):
            fill(state.rows, first, min(PART, rows - first), customers)
            state.counters.next_offset = 2 * (first + PART) + 2
            put(changelog.write_rows(state, state.rows.store.live()[first:]))
        state.counters.counted = state.counters.postings = 2 * rows
        put([(changelog.counters_key(), encode_segment(counters_of(state)))])


def recovered(directory: Path, rows: int) -> dict[str, float]:
    """Recover it, as a worker does that was assigned the partition."""
    data = (directory / "segments").read_bytes()
    records, at = list[tuple[bytes | None, bytes | None, int]](), 0
    while at < len(data):
        size, key_end = int.from_bytes(data[at : at + 4], "little"), at + 4 + 17
        records.append((data[at + 4 : key_end], data[key_end : key_end + size], len(records)))
        at = key_end + size
    del data
    before, begun = _resident(), time.process_time()
    partition = MeterPartition.recover(0, 1, records, writer_epoch=b"87654321", id_key=bytes(16), cluster_id="c")
    partition.tick(START_S * 1000, None)
    cpu_s, peak = time.process_time() - begun, psutil.Process().memory_info().rss - before
    give_back()  # as the worker does; the records, which it has no more by then, were counted before
    if partition.state.rows.count != rows:
        raise AssertionError(f"{partition.state.rows.count} of {rows} rows came back")
    return {"recovery_s": cpu_s, "peak": float(peak), "held": float(_resident() - before)}


def _apart(what: str, rows: int, customers: int, directory: Path) -> dict[str, float]:
    chosen = ["--only", what, "--rows", str(rows), "--customers", str(customers), "--in", str(directory)]
    command = [sys.executable, "-m", "tests.benchmarks.state", *chosen]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=os.environ)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def measure(directory: Path, rows: int, customers: int, say: Callable[[str], None]) -> dict[str, float]:
    """All of it."""
    found = _apart("held", rows, customers, directory)
    say(f"{rows:,} open windows of {customers:,} customers: {found['bytes'] / rows:.0f} bytes of memory each (goal: at most 250)")
    say(f"sorted into closing and written: {found['flush_s'] / rows * 1e6:.2f} µs of CPU, {found['changelog'] / rows:.1f} bytes of changelog each")
    written(directory, rows, customers)
    found |= _apart("recovered", rows, customers, directory)
    (directory / "segments").unlink()
    say(f"recovery of {rows:,}: {found['recovery_s']:.2f} s of CPU (goal of 1,000,000: at most 15), {found['held'] / rows:.0f} bytes each afterwards")
    return found


def figures(directory: Path, scale: float, say: Callable[[str], None]) -> list[Figure]:
    """For `make bench`: each row of a customer of its own, which is the dearest case."""
    rows = max(PART, int(1_000_000 * scale))
    found = measure(directory, rows, rows, say)
    how = f"{rows:,} windows of as many customers, one partition"
    return [
        Figure("window_bytes", found["bytes"] / rows, how=how),
        Figure("recovery", found["recovery_s"] * 1_000_000 / rows, how=f"{how}, CPU"),
    ]


def main(arguments: list[str]) -> int:
    """Print what was measured."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.state")
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--customers", type=int, default=0, help="0: each row has its own")
    parser.add_argument("--in", dest="directory", type=Path, default=None, help="where the changelog lies meanwhile (60 bytes a row)")
    parser.add_argument("--only", choices=("held", "recovered"))
    chosen = parser.parse_args(arguments)
    customers = chosen.customers or chosen.rows
    if chosen.only:
        found: dict[str, Any] = held(chosen.rows, customers) if chosen.only == "held" else recovered(chosen.directory, chosen.rows)
        print(json.dumps(found))
        return 0
    import tempfile

    with tempfile.TemporaryDirectory() as directory:
        measure(chosen.directory or Path(directory), chosen.rows, customers, print)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
