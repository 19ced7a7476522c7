"""How deliveries scale: `python -m tests.benchmarks.delivering`. Prints, asserts nothing.

1. The scheduler alone: CPU for each call and memory for each cell, with many cells waiting (no Kafka, no provider, a clock that is a number).
2. A small stack, all of it real but the provider (the sandbox): how long after the end of its grace a window's delivery is answered.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final, NamedTuple

import psutil
from confluent_kafka import Producer

from infra.embedded import stack
from sinks.calls import Call
from sinks.outcomes import Delivered
from sinks.receipts import Deliveries
from tests.benchmarks.goals import Figure
from tests.core.report_world import START_S, binding, item_of, total_of
from tests.oracle.hashes import java_partition
from tests.oracle.reading import Meter
from tests.system import wire
from tests.system.world import PARTITIONS, World
from topics.catalog import EVENTS, RECEIPTS
from topics.quantity import ONE
from topics.receipt import CellReceipt, decode_receipt
from topics.windows import parse_window_key

WINDOW_S: Final = 10
GRACE_S: Final = 1
CALLED: Final = 20_000
"""Calls of the scheduler that are timed: enough for a mean, few enough that a million waiting cells stay a million."""
ALLOWED: Final = 2_000
"""Calls a second of the sandbox, so that it is not the limit; the product's own setting is 400."""
PATIENCE_S: Final = 120

Say = Callable[[str], None]


class Scheduled(NamedTuple):
    """The scheduler with so many cells waiting: CPU to take a total in, CPU for a call (intent, call, answer, both records), memory of a cell."""

    cells: int
    take_us: float
    call_us: float
    cell_bytes: float


def scheduler(cells: int) -> Scheduled:
    """`cells` windows of a tenth as many items, all due; then some calls."""
    resident = psutil.Process().memory_info
    machine, now_ms, items = Deliveries(0, "default", 0), START_S * 1000, max(1, cells // 10)
    anchors = ((START_S - 86_400 * (1 + number % 27)) for number in range(items))
    machine.define([binding(f"c{n}", item_of(f"si_{n}", period_anchor_s=anchor), n) for n, anchor in enumerate(anchors)], now_ms)
    before, begun_s = resident().rss, time.process_time()
    for number in range(cells):
        machine.total(total_of(f"c{number % items}", START_S - 3600 * (1 + number // items), ONE, number), number, now_ms, now_ms)
    machine.advance(cells)
    take_s, bytes_ = time.process_time() - begun_s, resident().rss - before
    made, begun_s = 0, time.process_time()
    while made < min(CALLED, cells) and (write := machine.next_write(now_ms)) is not None:
        machine.written(write, now_ms)
        for call in machine.next_calls(now_ms, 64):
            assert isinstance(call, Call)
            machine.answered(call, Delivered(200, "req"), now_ms)
            made += 1
    return Scheduled(cells, take_s / cells * 1e6, (time.process_time() - begun_s) / max(1, made) * 1e6, bytes_ / cells)


class Delivery(NamedTuple):
    """Seconds from the end of a window's grace to its provider's answer, of all windows; and CPU of the report for each of them."""

    after_grace_s: list[float]
    report_us: float

    def at(self, share: float) -> float:
        """The quantile."""
        return sorted(self.after_grace_s)[min(len(self.after_grace_s) - 1, int(share * len(self.after_grace_s)))]


def deliver(directory: Path, customers: int, rounds: int, say: Say) -> Delivery:
    """A stack in `directory` (empty, taken down at the end): every window of every customer closes at the same second, `rounds` times."""
    world = World(directory / "stack", meters=(Meter("pings", "ping", window_s=WINDOW_S),))
    try:
        stack.up(world.directory, world.config, 1, sandbox_arguments=("--calls-per-second", str(ALLOWED)))
        names = [f"customer {number:04d}" for number in range(customers)]
        since_s = int(time.time()) - 7200
        for name in names:
            world.bind(name, ("pings",), since_s, kind="named")
        world.apply()
        say(f"{customers} customers are bound")
        report = psutil.Process(world.state.process("report").pid)
        before = report.cpu_times()
        _send(world, names, rounds)
        found = _delivered(world, customers * rounds, say)
        after = report.cpu_times()
        return Delivery(found, (after.user + after.system - before.user - before.system) / max(1, len(found)) * 1e6)
    finally:
        stack.down(world.directory)


def _send(world: World, names: list[str], rounds: int) -> None:
    """One event of each customer in each window, in its middle."""
    producer = Producer({"bootstrap.servers": world.bootstrap, "acks": "all"})
    first_s = int(time.time()) // WINDOW_S * WINDOW_S + WINDOW_S
    for at_s in range(first_s, first_s + rounds * WINDOW_S, WINDOW_S):
        time.sleep(max(0.0, at_s + WINDOW_S / 2 - time.time()))
        stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(at_s + 1))
        for name in names:
            value = f'{{"specversion":"1.0","id":"{at_s}","source":"bench","type":"ping","subject":"{name}","time":"{stamp}","data":{{}}}}'
            producer.produce(EVENTS, value.encode(), key=name, partition=java_partition(name.encode(), PARTITIONS))
        if producer.flush(60):
            raise RuntimeError("events were not acknowledged")


def _delivered(world: World, wanted: int, say: Say) -> list[float]:
    """When each window was answered, once all of them are or patience is over."""
    until_s = time.time() + PATIENCE_S
    while True:
        found = _answers(world)
        if len(found) >= wanted or time.time() > until_s:
            say(f"{len(found)} of {wanted} windows were delivered")
            return list(found.values())
        time.sleep(2)


def _answers(world: World) -> dict[str, float]:
    """By cell: seconds after its grace at which it was first answered."""
    found: dict[str, float] = {}
    for record in wire.read_log(world.bootstrap, RECEIPTS).records:
        receipt = decode_receipt(record.value, RECEIPTS) if record.value is not None else None
        if isinstance(receipt, CellReceipt) and receipt.state == "delivered" and receipt.reported_at_ms is not None:
            end_s = max(parse_window_key(part.window).end_s for part in receipt.windows)
            found.setdefault(receipt.cell, receipt.reported_at_ms / 1000 - end_s - GRACE_S)
    return found


def figures(directory: Path, scale: float, say: Say) -> list[Figure]:
    """The goal "close → delivered" (tests/benchmarks/goals.py)."""
    customers = max(20, int(500 * scale))
    found = deliver(directory, customers, 10, say)
    if not found.after_grace_s:
        return [Figure("delivery", None, why="nothing was delivered")]
    how = f"{len(found.after_grace_s):,} windows of {WINDOW_S} s, {customers} at a time, p50 {found.at(0.5):.1f} s; embedded stack, sandbox"
    return [Figure("delivery", found.at(0.99), how=how)]


def main() -> None:
    """Parse arguments, run, print."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.delivering", description=__doc__)
    parser.add_argument("--cells", type=int, nargs="*", default=[1_000, 100_000], help="cells that wait (default 1,000 and 100,000)")
    parser.add_argument("--customers", type=int, default=500, help="windows that close at the same second; 0: no stack (default 500)")
    parser.add_argument("--rounds", type=int, default=10, help="how often they do, each ten seconds (default 10)")
    arguments = parser.parse_args()
    for cells in arguments.cells:
        one = scheduler(cells)
        print(f"{cells:>9,} cells wait: {one.take_us:5.0f} µs CPU a total, {one.call_us:5.0f} µs CPU a call, {one.cell_bytes:6,.0f} bytes a cell")
    if arguments.customers:
        with tempfile.TemporaryDirectory(prefix="tidemark-delivering-") as name:
            found = deliver(Path(name), arguments.customers, arguments.rounds, print)
        print(f"close → delivered after grace: p50 {found.at(0.5):.2f} s, p99 {found.at(0.99):.2f} s, max {found.at(1.0):.2f} s")
        print(f"the report's CPU: {found.report_us:,.0f} µs a delivered window, its idling in between included")


if __name__ == "__main__":
    main()
