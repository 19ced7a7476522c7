"""What a committed offset promises (laws 5 and 13), looked at in the moment of the commit: nothing below it lives in a worker's memory only."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Final

from streams.partition import MeterPartition
from streams.segments import COUNTERS, CounterRecord, decode_segment
from tests.simulation.broker import Broker
from tests.simulation.plan import PARTITIONS
from topics.batch import TopicPartition
from topics.catalog import RECEIPTS, STATE
from topics.receipt import WindowReceipt, decode_receipt
from topics.window_total import decode_window_total
from topics.windows import window_key

LOOKED_AT: Final = 0.05
"""How often a whole recovery is tried at a commit: it costs more than all else of a short history."""
Promise = Callable[[Broker, TopicPartition, int, int], list[str]]


def meter(broker: Broker, tp: TopicPartition, _before: int, offset: int) -> list[str]:
    """A worker that started now would begin at least here; every so often it is seen what it would recover."""
    held = [record for record in broker.logs[STATE, tp[1]].records if record.value is not None and (record.key or b"")[:1] == COUNTERS]
    newest = max((_counted(record.value) for record in held), default=0)
    if newest >= offset and broker.kernel.chance.random() < LOOKED_AT:
        records = [(record.key, record.value, record.offset) for record in broker.logs[STATE, tp[1]].committed(0)]
        newest = MeterPartition.recover(tp[1], PARTITIONS, records, writer_epoch=bytes(8), id_key=bytes(16), cluster_id="simulated").next_offset
    return [] if newest >= offset else [f"{tp} is committed up to {offset}, only {newest} is in the changelog"]


@lru_cache(maxsize=4096)
def _counted(value: bytes | None) -> int:
    record = decode_segment(COUNTERS, value or b"", "usage.state")
    return record.counters.next_offset if isinstance(record, CounterRecord) else 0


def report(broker: Broker, tp: TopicPartition, before: int, offset: int) -> list[str]:
    """Every total below it is in a receipt, with its revision or a later one."""
    if before == offset:
        return []
    held: dict[str, tuple[int, int]] = {}
    for value in {record.key: record.value for record in broker.logs[RECEIPTS, tp[1]].committed(0)}.values():
        for window, revision in _held(value):
            held[window] = max(held.get(window, (-1, -1)), revision)
    totals = [decode_window_total(record.value, "windows") for record in broker.logs[tp].committed(before, offset)]
    lost = [total for total in totals if held.get(window_key(total.window), (-1, -1)) < total.revision]
    return [f"{total.window} {total.revision} is committed, and in no receipt" for total in lost]


@lru_cache(maxsize=4096)
def _held(value: bytes | None) -> tuple[tuple[str, tuple[int, int]], ...]:
    """The windows of a receipt; the same bytes are looked at by every commit of a history."""
    receipt = decode_receipt(value, "receipts")
    if isinstance(receipt, WindowReceipt):
        return ((receipt.window, receipt.revision),)
    return tuple((part.window, part.revision) for part in receipt.windows)


def archive(_broker: Broker, _tp: TopicPartition, _before: int, _offset: int) -> list[str]:
    """Its commits are for other tools; what counts is its own progress, which the verdict checks."""
    return []


PROMISES: Final[dict[str, Promise]] = {"meter": meter, "report": report, "archive": archive}
