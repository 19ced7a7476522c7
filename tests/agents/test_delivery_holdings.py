"""Delivery's bookkeeping without Kafka: epochs only rise, marks only rise, nothing crosses an assignment."""

from __future__ import annotations

import logging

from hypothesis import given
from hypothesis import strategies as st

from infra.delivery_holdings import Holdings
from infra.delivery_log import QUIET_AFTER_S, OncePerOutage
from topics.batch import NOT_ASSIGNED, Batch

TP = ("usage.events", 3)


def batch(epoch: int, start: int, end: int) -> Batch:
    """A batch that only moves the position."""
    return Batch(
        topic=TP[0],
        partition=TP[1],
        epoch=epoch,
        start_offset=start,
        offsets=[],
        timestamps_ms=[],
        keys=[],
        values=[],
        headers=[],
        next_offset=end,
    )


def test_a_batch_of_an_older_epoch_is_not_admitted() -> None:
    """After a revoke, also of the same partition to the same worker, batches fetched before are void."""
    holdings = Holdings()
    first = holdings.begin([TP])
    assert not holdings.admits(batch(first, 0, 5)), "not opened yet"
    holdings.open({TP: 0}, first)
    assert holdings.admits(batch(first, 0, 5))
    assert holdings.leave() == {TP}
    assert holdings.epoch(TP) == NOT_ASSIGNED
    assert not holdings.admits(batch(first, 0, 5))
    holdings.forget([TP])
    second = holdings.begin([TP])
    holdings.open({TP: 2}, second)
    assert second > first
    assert not holdings.admits(batch(first, 0, 5))
    assert holdings.admits(batch(second, 2, 5))


def test_a_batch_must_start_where_the_last_one_ended() -> None:
    """A hole or an overlap between two batches of one epoch is seen, also where the offsets themselves have holes."""
    holdings = Holdings()
    epoch = holdings.begin([TP])
    holdings.open({TP: 10}, epoch)
    assert holdings.follows(batch(epoch, 10, 14))
    holdings.advance(batch(epoch, 10, 14))
    assert holdings.position(TP) == 14
    assert not holdings.follows(batch(epoch, 15, 16))
    assert not holdings.follows(batch(epoch, 13, 16))


def test_marks_are_taken_until_the_partition_is_forgotten() -> None:
    """What an app flushes while it lets go is committed; what it flushes after it was left behind is not."""
    holdings = Holdings()
    holdings.mark(TP, 3)
    assert holdings.committable() == [], "not held"
    holdings.open({TP: 0}, holdings.begin([TP]))
    holdings.leave()
    holdings.mark(TP, 7)
    assert holdings.marked(TP) == 7
    holdings.forget([TP])
    holdings.mark(TP, 9)
    assert holdings.marked(TP) is None


def test_a_closed_or_leaving_partition_is_not_opened() -> None:
    """A start that was computed for an epoch that has ended opens nothing."""
    holdings = Holdings()
    epoch = holdings.begin([TP])
    holdings.leave()
    holdings.open({TP: 0}, epoch)
    assert holdings.open_epochs() == {}
    holdings.forget([TP])
    newer = holdings.begin([TP])
    holdings.open({TP: 0}, epoch)
    assert holdings.open_epochs() == {}
    holdings.open({TP: 0}, newer)
    holdings.close(TP)
    assert holdings.open_epochs() == {}
    assert holdings.epoch(TP) == newer, "still held, only not read"


@given(st.lists(st.integers(0, 100)))
def test_marks_only_rise(marks: list[int]) -> None:
    """Whatever the order in which flushes end, the committed offset is the greatest that was marked."""
    holdings = Holdings()
    holdings.begin([TP])
    for offset in marks:
        holdings.mark(TP, offset)
    assert holdings.marked(TP) == (max(marks) if marks else None)


def test_each_trouble_is_said_once_per_outage() -> None:
    """A sentence repeats only after it was not said for a minute; information and other sentences pass."""
    now = 0.0
    once = OncePerOutage(lambda: now)

    def says(text: str, level: int = logging.ERROR) -> bool:
        return once.filter(logging.LogRecord("aiokafka", level, "", 0, text, (), None))

    assert says("cannot connect to %s")
    for _ in range(10):
        now += QUIET_AFTER_S / 2
        assert not says("cannot connect to %s")
    assert says("something else")
    assert says("cannot connect to %s", logging.INFO)
    now += QUIET_AFTER_S
    assert says("cannot connect to %s")
