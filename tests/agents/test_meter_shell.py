"""The meter's shell against chance: kills, freezes, revokes that time out, sends that fail or land late; and each of its guards alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest

from streams.changelog import Changelog
from streams.sends import Send
from streams.starting import check_committed, check_fresh, out_of_range
from tests.agents.meter_lives import inside, small_segments, turns
from tests.agents.meter_world import TP, SendFailed, Worker, World, live
from tests.core.meterlog import batch_of
from topics.errors import LostLog

SEEDS = 40
"""Schedules a case; `python -m tests.agents.meter_world FIRST LAST` runs any number of others."""


@pytest.fixture(autouse=True)
def quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    """Segments are small and halts silent."""
    small_segments(monkeypatch)


@pytest.mark.parametrize("first", range(0, 5 * SEEDS, SEEDS))
def test_every_schedule_ends_exact(first: int) -> None:
    """Whatever is killed, frozen, revoked or delayed between any two awaits: totals, verdict counts and revisions are the naive ones."""
    found = {seed: faults for seed in range(first, first + SEEDS) if (faults := live(seed))}
    assert not found


def _forget_identity(worker: Worker) -> None:
    worker.meter._watch = lambda partition, held: lambda: True  # type: ignore[method-assign]


def _swallow_failures(worker: Worker) -> None:
    send_all = worker.outbox.send_all

    async def careless(sends: Sequence[Send]) -> None:
        try:
            await send_all(sends)
        except SendFailed:
            return

    worker.outbox.send_all = careless  # type: ignore[method-assign]


def _tombstone_at_once(_worker: Worker) -> None:
    Changelog.unproven = lambda self, key, upto: None  # type: ignore[method-assign]


@pytest.mark.parametrize("mutate", [_forget_identity, _swallow_failures, _tombstone_at_once])
def test_schedules_notice_a_missing_guard(mutate: Callable[[Worker], None], monkeypatch: pytest.MonkeyPatch) -> None:
    """A shell that goes on after its assignment, ignores failed sends or tombstones a paused writer's segments is found out (H1, H7, H11)."""
    monkeypatch.setattr(Changelog, "unproven", Changelog.unproven)  # restored afterwards, whatever the mutant did
    assert any(live(seed, mutate=mutate) for seed in range(400))


def test_no_commit_before_the_last_acknowledgement() -> None:
    """A changelog record whose acknowledgement never comes holds every later offset back, however long (law 5)."""

    async def life(world: World) -> None:
        worker = Worker(world)
        await worker.assign()
        world.produce(30)
        await turns()
        before = world.committed
        worker.outbox.running.clear()
        world.produce(30)
        await turns(2000)
        assert worker.meter.held[0].core.next_offset == world.log.end
        assert world.committed == before
        worker.outbox.running.set()
        await turns()
        assert world.committed == world.log.end
        await worker.kill()

    inside(life)


def test_a_failed_send_ends_the_worker_and_passes_nothing() -> None:
    """One refused record ends the turn's task, so the app crashes; the offsets behind it are not committed and nothing is held any more."""

    async def life(world: World) -> None:
        worker = Worker(world)
        await worker.assign()
        await turns()
        before = world.committed
        world.fail_rate = 1.0
        world.produce(5)
        await turns()
        assert isinstance(worker.crash, SendFailed)
        assert world.committed == before
        assert not worker.meter.held
        await worker.kill()

    inside(life)


def test_a_batch_of_another_assignment_is_dropped() -> None:
    """A batch that waited in the queue over a rebalance is not applied, even where its offsets would fit (H1)."""

    async def life(world: World) -> None:
        worker = Worker(world)
        await worker.assign()
        await turns()
        assert worker.feeding is not None
        worker.feeding.cancel()
        world.produce(3)
        at = worker.meter.held[0].core.next_offset
        found = [record for record in world.log.records if record.offset >= at]
        await worker.meter.take(batch_of(found, at, world.log.end, epoch=worker.epochs - 1))
        assert worker.meter.held[0].core.next_offset == at
        await worker.meter.take(batch_of(found, at, world.log.end, epoch=worker.epochs))
        assert worker.meter.held[0].core.next_offset == world.log.end
        await worker.kill()

    inside(life)


def test_a_slow_broker_stops_the_agent() -> None:
    """While too many records are not durable the agent takes no more, and goes on when there is room again."""

    async def life(world: World) -> None:
        worker = Worker(world, pressure_records=20)
        worker.outbox.running.clear()
        await worker.assign()
        world.produce(200)
        await turns(3000)
        stuck_at = worker.meter.held[0].core.next_offset
        assert stuck_at < world.log.end
        await turns(3000)
        assert worker.meter.held[0].core.next_offset == stuck_at
        worker.outbox.running.set()
        await turns(6000)
        assert worker.meter.held[0].core.next_offset == world.log.end
        await worker.kill()

    inside(life)


def test_a_halted_meter_stays_and_does_nothing() -> None:
    """After a halt nothing is applied, flushed or committed any more; the reason is shown, once, with the command that goes on."""

    async def life(world: World) -> None:
        worker = Worker(world)
        await worker.assign()
        await turns()
        before, landed = world.committed, world.disk.offset
        await worker.meter.on_out_of_range(TP, 12, 40, 90)
        await worker.meter.on_out_of_range(TP, 13, 41, 91)
        world.produce(20)
        await turns()
        assert worker.meter.halted is not None
        assert "offsets 12 to 39 (28 of them)" in worker.meter.halted
        assert "tidemark adopt --partition 0" in worker.meter.halted
        assert worker.meter.status()["halted"] == worker.meter.halted
        assert (world.committed, world.disk.offset) == (before, landed)
        assert worker.crash is None
        await worker.revoke(30)
        assert not worker.meter.held
        await worker.kill()

    inside(life)


def test_a_log_without_meters_halts_with_the_command() -> None:
    """A partition that does not begin with a meters record halts its worker and names `tidemark apply`."""

    async def life(world: World) -> None:
        world.log.records[0] = world.log.records[0]._replace(value=b"{}")
        worker = Worker(world)
        await worker.assign()
        await turns()
        assert worker.meter.halted is not None
        assert "tidemark apply" in worker.meter.halted
        assert world.committed is None
        await worker.kill()

    inside(life)


def test_lost_state_is_read_again_or_halts() -> None:
    """A committed offset ahead of the state means lost state: read again while the log has it, halt with both offsets where it has not (H7)."""
    assert check_committed(TP, next_offset=5, committed=5, begin=0) is None
    assert check_committed(TP, next_offset=5, committed=None, begin=9) is None
    warning = check_committed(TP, next_offset=5, committed=9, begin=5)
    assert warning is not None
    assert "reading again from 5" in warning
    with pytest.raises(LostLog, match=r"ends at 5.*begins at 6"):
        check_committed(TP, next_offset=5, committed=9, begin=6)
    check_fresh(TP, committed=None, begin=9)
    check_fresh(TP, committed=9, begin=0)
    with pytest.raises(LostLog, match="holds nothing, and the log begins at 9"):
        check_fresh(TP, committed=12, begin=9)


def test_out_of_range_says_which_end() -> None:
    """Offsets that retention took and a log that was cut are told apart."""
    assert "never counted and are gone" in out_of_range(TP, 3, 5, 9)
    assert "truncated or recreated" in out_of_range(TP, 12, 5, 9)
