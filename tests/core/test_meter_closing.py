"""Closing under fire: rows that never rest, clocks that jump, graces that change, counts that are exact, work that does not grow."""

from __future__ import annotations

import json
import random

import pytest

from streams.closing import MERGE_AT_MOST
from streams.rows import Row
from tests.core.meterlog import NOW_MS, Disk, Log, batch_of, control, customers, fresh, meters_record, usage
from topics.instants import format_us
from topics.meters import Meter, Timing, meters_digest

METER = Meter(slug="calls", event_type="api.request", window_s=60, grace_ms=5_000)
DELAY_MS = 1000
TIMING = Timing(revision_delay_ms=DELAY_MS)
HOME = customers(6)


class Turn:
    """The shell's turn, with events that arrive while the flush is on its way."""

    def __init__(self) -> None:
        self.log = Log()
        self.log.add(*meters_record((METER,), TIMING), NOW_MS)
        self.partition = fresh(Disk(), random.Random(1))
        self.said: dict[tuple[bytes | None, int], bytes] = {}
        self.wants = False
        self.fold()

    def event(self, customer: str, at_ms: int, stamp_ms: int) -> None:
        """One more event."""
        self.log.add(customer.encode(), usage(customer, f"e{self.log.end}", format_us(at_ms * 1000)), stamp_ms)

    def fold(self) -> None:
        """All that is in the log."""
        start = self.partition.next_offset
        self.partition.apply(batch_of([record for record in self.log.records if record.offset >= start], start, self.log.end))

    def take(self, now_ms: int, arriving: int = 0, limit: int = 5000) -> list[str]:
        """Flush, close, emit; `arriving` events for the first window are folded between the flush and its acknowledgement. Returns quantities."""
        flush = self.partition.begin_flush()
        for _ in range(arriving):
            self.event(HOME[0], NOW_MS + 1, now_ms)
        self.fold()
        if flush is not None:
            self.partition.end_flush(flush)
        self.wants = self.partition.tick(now_ms, self.log.end if self.wants else None)
        due = self.partition.due(now_ms, limit)
        durable = self.partition.durable_offset
        bodies = [json.loads(emission.send.value or b"") for emission in due]
        assert all(body["through_offset"] < durable for body in bodies)
        for emission, body in zip(due, bodies, strict=True):
            held = self.said.setdefault((emission.send.key, body["through_offset"]), emission.send.value or b"")
            assert held == emission.send.value
        self.partition.end_emission(due)
        return [body["quantity"] for body in bodies]


def test_a_window_that_never_rests_is_emitted_all_the_same() -> None:
    """Where every flush finds new events for a window, it still shows its durable totals, and in the end the last one (law 10's maximum)."""
    turn = Turn()
    turn.event(HOME[0], NOW_MS + 1, NOW_MS + 1)
    said: list[int] = []
    for number in range(200):
        said += [int(quantity) for quantity in turn.take(NOW_MS + 65_000 + number * 300, arriving=5)]
    assert len(said) >= 200 * 300 // (MERGE_AT_MOST * DELAY_MS) - 1
    assert said == sorted(set(said))
    for number in range(20):
        said += [int(quantity) for quantity in turn.take(NOW_MS + 130_000 + number * 300)]
    assert said[-1] == 1001
    assert turn.partition.windows(NOW_MS + 200_000) == (0, 0, 0)


@pytest.mark.parametrize("seed", range(30))
def test_each_window_is_counted_exactly_once(seed: int) -> None:
    """Random events, turns, limits, clock jumps and new graces: open, due and reopened are those of the rows, at every moment."""
    rng, turn = random.Random(seed), Turn()
    now_ms, grace_ms, held = NOW_MS + 1000, METER.grace_ms, (METER,)
    for _ in range(120):
        now_ms += rng.choice((0, 300, 300, 5000, 30_000, -20_000 if rng.random() < 0.2 else 300))
        for _ in range(rng.randrange(4)):
            turn.event(rng.choice(HOME), max(NOW_MS, now_ms - rng.randrange(120_000)), max(now_ms, NOW_MS))
        if rng.random() < 0.1:
            grace_ms = rng.choice((0, 5000, 60_000))
            new = (Meter(slug="calls", event_type="api.request", window_s=60, grace_ms=grace_ms),)
            if meters_digest(TIMING, new) != meters_digest(TIMING, held):
                turn.log.add(*meters_record(new, TIMING, meters_digest(TIMING, held)), max(now_ms, NOW_MS))
                held = new
        turn.take(now_ms, rng.randrange(2), rng.choice((1, 2, 5000)))
        if rng.random() < 0.5:
            turn.fold()
        counts = turn.partition.windows(now_ms)
        pending = sum(row.pending for row in turn.partition.state.rows.all())
        assert counts.open + counts.due == pending
        assert counts.reopened == sum(row.pending and row.emitted >= 0 for row in turn.partition.state.rows.all())
    for _ in range(40):
        now_ms += 30_000
        turn.take(now_ms)
    assert turn.partition.windows(now_ms) == (0, 0, 0)
    newest: dict[bytes | None, tuple[int, str]] = {}
    for (key, through), body in turn.said.items():
        newest[key] = max(newest.get(key, (-1, "")), (through, json.loads(body)["quantity"]))
    rows = {(row.window.customer, row.window.start_s): str(row.events) for row in turn.partition.state.rows.all()}
    assert {((key or b"").decode().split("|")[0], int((key or b"").split(b"|")[2])): total for key, (_, total) in newest.items()} == rows


def test_a_barrier_closes_what_was_due_when_it_was_asked_for() -> None:
    """A window that came due while the log's end was on its way waits for the next barrier: events of its last moments may lie beyond this one."""
    turn = Turn()
    turn.event(HOME[0], NOW_MS + 1, NOW_MS + 1)
    turn.event(HOME[0], NOW_MS + 61_000, NOW_MS + 61_000)
    assert turn.take(NOW_MS + 62_000) + turn.take(NOW_MS + 65_000) == []
    end = turn.log.end
    assert turn.wants
    turn.event(HOME[0], NOW_MS + 119_000, NOW_MS + 119_000)
    assert turn.partition.tick(NOW_MS + 126_000, end)
    assert [emission.row.window.start_s - NOW_MS // 1000 for emission in turn.partition.due(NOW_MS + 126_000)] == [0]


def test_a_close_record_leaves_open_what_began_after_it() -> None:
    """`tidemark.close` emits what began before it, waiting or late, and no window that began after it, though all were folded in one batch."""
    turn = Turn()
    turn.event(HOME[0], NOW_MS + 1, NOW_MS + 1)
    assert turn.take(NOW_MS + 65_000) + turn.take(NOW_MS + 65_000) + turn.take(NOW_MS + 65_000) == ["1"]
    turn.event(HOME[0], NOW_MS + 2, NOW_MS + 65_000)
    turn.event(HOME[1], NOW_MS + 61_000, NOW_MS + 65_000)
    turn.log.add(*control("tidemark.close", "all", {"v": 1}), NOW_MS + 65_000)
    turn.event(HOME[2], NOW_MS + 61_000, NOW_MS + 65_000)
    turn.take(NOW_MS + 65_001)
    assert sorted(turn.take(NOW_MS + 65_002)) == ["1", "2"]
    assert turn.partition.windows(NOW_MS + 65_003) == (1, 0, 0)


def test_a_clock_that_was_ahead_does_not_close_windows_early_for_ever() -> None:
    """After a wall clock that was a year ahead is right again, windows wait for their end and grace as before."""
    turn = Turn()
    for _ in range(3):
        turn.take(NOW_MS + 366 * 86_400_000)
    turn.event(HOME[1], NOW_MS + 1, NOW_MS + 1)
    for _ in range(3):
        turn.take(NOW_MS + 366 * 86_400_000)
    turn.event(HOME[0], NOW_MS + 61_000, NOW_MS + 61_000)
    said: list[str] = []
    for second in range(60, 124):
        said += turn.take(NOW_MS + second * 1000)
    assert said == []
    assert turn.take(NOW_MS + 126_000) + turn.take(NOW_MS + 126_300) == ["1"]


def test_a_late_row_does_not_wait_for_a_clock_that_went_back() -> None:
    """A late event that was seen while the clock was an hour ahead is emitted soon after it went back, not in an hour."""
    turn = Turn()
    turn.event(HOME[0], NOW_MS + 1, NOW_MS + 1)
    assert turn.take(NOW_MS + 65_000) + turn.take(NOW_MS + 65_000) == ["1"]
    turn.event(HOME[0], NOW_MS + 2, NOW_MS + 66_000)
    assert turn.take(NOW_MS + 3_600_000) + turn.take(NOW_MS + 3_600_000) == []
    assert turn.take(NOW_MS + 66_000) + turn.take(NOW_MS + 66_300) == ["2"]


def test_a_shorter_grace_closes_what_waits_and_a_longer_one_keeps_it() -> None:
    """A new grace holds for windows that wait already, once, and no window stands in two places."""
    turn = Turn()
    turn.event(HOME[0], NOW_MS + 1, NOW_MS + 1)
    turn.take(NOW_MS + 2000)
    long = Meter(slug="calls", event_type="api.request", window_s=60, grace_ms=100_000)
    turn.log.add(*meters_record((long,), TIMING, meters_digest(TIMING, (METER,))), NOW_MS + 3000)
    turn.event(HOME[0], NOW_MS + 2, NOW_MS + 3000)
    turn.take(NOW_MS + 4000)
    assert turn.partition.windows(NOW_MS + 70_000) == (1, 0, 0)
    assert turn.take(NOW_MS + 70_000) + turn.take(NOW_MS + 70_300) == []
    assert turn.take(NOW_MS + 160_000) + turn.take(NOW_MS + 160_300) == ["2"]
    assert turn.partition.windows(NOW_MS + 170_000) == (0, 0, 0)


def test_a_tick_and_a_status_look_at_nothing_that_did_not_change(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a thousand windows open and a thousand late ones at rest, a tick and a status touch no row."""
    turn = Turn()
    looked: list[int] = []
    names = customers(1000, prefix="many")
    for name in names:
        turn.event(name, NOW_MS + 1, NOW_MS + 1)
    for _ in range(3):
        turn.take(NOW_MS + 65_000)
    for name in names:
        turn.event(name, NOW_MS + 2, NOW_MS + 65_000)
        turn.event(name, NOW_MS + 61_000, NOW_MS + 65_000)
    turn.take(NOW_MS + 65_000)

    class Watched(Row):
        @property
        def pending(self) -> bool:
            looked.append(self.events)
            return self.rev > self.emitted

    monkeypatch.setattr(Row, "pending", Watched.pending)
    assert turn.partition.windows(NOW_MS + 65_001) == (1000, 1000, 1000)
    turn.partition.tick(NOW_MS + 65_001, None)
    assert looked == []
