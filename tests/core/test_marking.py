"""How far everything is closed: the meter's word by which an invoice is let go (topics/closed.py)."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from streams.emitting import say_closed
from streams.marking import MARK_EVERY_MS
from streams.sends import Send
from tests.core.meterlog import NOW_MS
from tests.core.test_closing import Bench
from topics.catalog import DEFINITIONS
from topics.closed import Closed
from topics.definitions import Definitions, decode_definition, definition_key


def asked(bench: Bench) -> None:
    """Somebody wants the words."""
    bench.partition.closing.marking.every_ms = MARK_EVERY_MS


def told(bench: Bench, now_ms: int) -> int | None:
    """A tick with its barrier, no emission; the word that may be said."""
    if bench.partition.tick(now_ms, None):
        bench.partition.tick(now_ms, bench.log.end)
    closed = bench.partition.closed()
    return None if closed is None else closed.until_ms


def test_a_word_comes_without_any_usage() -> None:
    """An idle partition says how far it is all the same: a customer who used nothing must not hold an invoice back."""
    bench = Bench()
    asked(bench)
    assert told(bench, NOW_MS) == NOW_MS


def test_nobody_who_does_not_ask_is_told() -> None:
    """Where no gate wants it, nothing is asked of Kafka and nothing is written."""
    bench = Bench()
    assert not bench.partition.tick(NOW_MS, None)
    assert bench.partition.closed() is None


def test_no_word_while_something_is_not_counted() -> None:
    """With a backlog below the barrier the word waits, however late it is."""
    bench = Bench()
    asked(bench)
    bench.event(1, NOW_MS + 1000)
    assert told(bench, NOW_MS + 600_000) is None
    bench.catch_up()
    bench.emitted(NOW_MS + 600_001)
    assert told(bench, NOW_MS + 600_001) == NOW_MS + 600_000


def test_no_word_while_a_due_total_is_not_out() -> None:
    """A window that is due is named only once its total was acknowledged."""
    bench = Bench()
    asked(bench)
    bench.event(1, NOW_MS + 1000)
    bench.catch_up()
    assert told(bench, NOW_MS + 70_000) is None
    due = bench.partition.due(NOW_MS + 70_000)
    assert len(due) == 1
    assert bench.partition.closed() is None
    bench.partition.end_emission(due)
    assert told(bench, NOW_MS + 70_001) == NOW_MS + 70_000


def test_no_word_while_a_late_event_is_merged() -> None:
    """What came late and waits for its revision belongs to the period too, and is out before the word."""
    bench = Bench()
    asked(bench)
    bench.event(1, NOW_MS + 1000)
    bench.catch_up()
    assert bench.emitted(NOW_MS + 70_000)
    bench.event(2, NOW_MS + 2000, NOW_MS + 71_000)
    bench.catch_up()
    assert told(bench, NOW_MS + 72_000) == NOW_MS + 70_000, "the older word stands, of an instant before the late event"
    bench.partition.closing.marking.said(NOW_MS + 70_000)
    at_ms = NOW_MS + MARK_EVERY_MS
    bench.event(3, NOW_MS + 3000, at_ms - 1000)
    bench.catch_up()
    assert told(bench, at_ms) is None
    assert bench.emitted(at_ms + 30_000) == [("3", 3)]
    assert told(bench, at_ms + 30_001) == at_ms


def test_a_word_is_said_once_in_five_minutes() -> None:
    """The topic gets a record in each span of five minutes, not one a turn."""
    bench = Bench()
    asked(bench)
    words = set()
    for second in range(0, 3600, 7):
        until_ms = told(bench, NOW_MS + second * 1000)
        if until_ms is not None:
            words.add(until_ms)
            bench.partition.closing.marking.said(until_ms)
    assert len(words) == 3600_000 // MARK_EVERY_MS


def test_the_word_is_written_and_read() -> None:
    """It is one record of a key of its own partition on usage.definitions, and changes no definition."""

    class Outbox:
        def __init__(self) -> None:
            self.sent: list[Send] = []

        async def send_all(self, sends: Sequence[Send]) -> None:
            self.sent += sends

    bench, outbox = Bench(), Outbox()
    asked(bench)
    assert told(bench, NOW_MS) == NOW_MS
    asyncio.run(say_closed(bench.partition, outbox, lambda: True))
    asyncio.run(say_closed(bench.partition, outbox, lambda: True))
    (send,) = outbox.sent
    assert (send.topic, send.partition) == (DEFINITIONS, 0)
    read = decode_definition(send.value or b"", "here")
    assert isinstance(read, Closed)
    assert (definition_key(read), read.until_ms, read.offset) == (send.key, NOW_MS, bench.log.end)
    definitions = Definitions()
    definitions.apply(read)
    assert (definitions.version, definitions.all()) == (0, [])
