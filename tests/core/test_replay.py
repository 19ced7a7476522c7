"""`tidemark replay`: the archive's copy folded again beside what runs, and corrections where a table was damaged."""

from __future__ import annotations

import msgspec
import pytest

from infra.replaying import run
from infra.replaying.applying import NoBase, corrections
from infra.replaying.compare import Wanted
from infra.replaying.run import PartitionReplay, Replay
from streams.partition import MeterPartition
from streams.row_segments import RowSegment
from streams.rows import Row
from streams.segments import ROWS, decode_segment, encode_segment
from tests.core.meterlog import PARTITIONS, Stored
from tests.core.plain_rows import plain
from tests.core.restore_world import LostWorld, NewCluster, restored, rows_of
from tests.core.test_fold import HOME
from topics.catalog import STATE, WINDOWS
from topics.content_hash import MODULUS
from topics.quantity import ONE
from topics.window_total import decode_window_total

ALWAYS = Wanted(from_s=0, to_s=1 << 33)
PROOF = "0" * 64


@pytest.fixture(autouse=True)
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody archives here while a replay waits."""
    monkeypatch.setattr(run, "ARCHIVE_WAIT_S", 0.0)


async def replayed(lost: LostWorld, wanted: Wanted = ALWAYS) -> PartitionReplay:
    """One replay of the world's partition."""
    return await Replay(lost.world, lost.archive, PARTITIONS, wanted, lambda _: None).run()


def open_row(lost: LostWorld) -> Row:
    """A live row that events may still change, and that was emitted as it stands."""
    state = lost.state
    final_us = state.clocks.final_until_us
    rows = [row for row in state.rows.all() if row.events > 1 and not row.pending]
    return next(row for row in rows if row.window.end_s * 10**6 > state.definitions.final_us(row.window.customer, final_us))


def damage(lost: LostWorld, row: Row, scaled: int) -> None:
    """The table says another sum for a row: in every segment that holds the row's newest revision, and in the worker that recovers from them."""

    def damaged(record: Stored) -> Stored:
        segment = plain(decode_segment(ROWS, record.value or b"", "a test"))
        window = (row.window.customer, row.window.meter, row.window.start_s, row.window.end_s)
        wrong = scaled.to_bytes(16, "little", signed=True)
        rows = [
            msgspec.structs.replace(held, scaled=wrong)
            if (held.customer, held.meter, held.start_s, held.end_s) == window and held.through_offset == row.through_offset
            else held
            for held in segment.rows
        ]
        return record._replace(value=encode_segment(RowSegment(segment.generation, segment.upto, rows)))

    lost.world.change(STATE, lambda record: (record.key or b"")[:1] == ROWS and record.value is not None, damaged)
    recover(lost)


def recover(lost: LostWorld) -> None:
    """Another worker takes the partition."""
    records = [(record.key, record.value, record.offset) for record in lost.world.logs[STATE].records]
    rng = lost.rng
    lost.world.meter = MeterPartition.recover(0, PARTITIONS, records, writer_epoch=rng.randbytes(8), id_key=rng.randbytes(16), cluster_id="test")


def apply(lost: LostWorld, found: PartitionReplay) -> int:
    """Publishes what can be corrected; how many records that were."""
    drafts = [each.draft for each in corrections([found], "the table was damaged", "ann") if each.draft is not None]
    for draft in drafts:
        event = draft.event()
        lost.world.events.add(event.key, event.value, lost.world.meter.log_now_ms)
    lost.world.go_on()
    lost.world.emit()
    lost.archive_again()
    return len(drafts)


@pytest.mark.parametrize("seed", range(6))
async def test_a_replay_of_a_healthy_partition_finds_nothing(seed: int) -> None:
    """Every window, live and let go, through all logs, is the same in sum, count, hash and revision; a range takes only what overlaps it."""
    lost = LostWorld(seed, logs=1 + seed % 3)
    lost.world.emit()
    lost.archive_again()
    found = await replayed(lost)
    assert (found.lines, found.wrong, found.newer) == ([], [], 0)
    known = set(lost.archive.emitted) | {row.window for row in lost.state.rows.all()}
    assert found.equal == len(known)
    row = lost.state.rows.all()[0].window
    one = await replayed(lost, Wanted(from_s=row.start_s, to_s=row.end_s, customer=row.customer, meter=row.meter))
    assert (one.lines, one.equal) == ([], 1)
    after = Wanted(from_s=row.end_s, to_s=row.end_s + 600, customer=row.customer)
    overlapping = [w for w in known if w.customer == row.customer and w.end_s > row.end_s and w.start_s < row.end_s + 600]
    assert (await replayed(lost, after)).equal == len(overlapping)


async def test_what_is_not_archived_yet_is_not_compared() -> None:
    """Totals with events beyond the archive are counted as newer, never as differing, and the offsets are named."""
    lost = LostWorld(2, lag=30)
    found = await replayed(lost)
    assert found.lines == []
    assert found.newer > 0
    assert "not archived yet" in found.notes[0]


@pytest.mark.parametrize("seed", range(4))
async def test_a_damaged_total_is_found_and_corrected_once(seed: int) -> None:
    """A sum that the table holds wrongly is named with both sums; its correction emits the right one under a higher revision; a second replay, the
    audit's recount and a restore all come to the same."""
    lost = LostWorld(seed, logs=1 + seed % 2)
    lost.world.emit()
    lost.archive_again()
    row = open_row(lost)
    right, window = row.scaled, row.window
    damage(lost, row, right + 7 * ONE)
    (line,) = (await replayed(lost)).lines
    assert (line.window, line.difference_scaled, line.is_final) == (window, -7 * ONE, False)
    assert apply(lost, await replayed(lost)) == 1
    healed = lost.state.rows.get(window)
    assert healed is not None
    assert healed.scaled == right
    emitted = [decode_window_total(record.value, "a test") for record in lost.world.logs[WINDOWS].records]
    newest = max((total for total in emitted if total.window == window), key=lambda total: (total.generation, total.through_offset))
    assert (newest.scaled, newest.generation, newest.through_offset) == (right, healed.rev >> 64, healed.through_offset)
    again = await replayed(lost)
    assert (again.lines, apply(lost, again)) == ([], 0)
    audit = await lost.world.audited()
    assert [each for each in audit.findings.kept if each.window == window and each.kind == "row"] == []
    cluster = NewCluster()
    await restored(lost, cluster)
    assert rows_of(cluster.recovered(lost.rng).state)[window] == rows_of(lost.state)[window]


async def test_a_correction_of_a_total_that_has_moved_on_is_refused() -> None:
    """Where an event came between the replay and its correction, the meter refuses it, and the next replay finds what is left."""
    lost = LostWorld(1)
    lost.world.emit()
    lost.archive_again()
    row = open_row(lost)
    damage(lost, row, row.scaled + ONE)
    found = await replayed(lost)
    first = apply(lost, found)
    assert first == 1
    lost_again = await replayed(lost)
    assert lost_again.lines == []
    before = rows_of(lost.state)
    assert apply(lost, found) == 1  # the same correction once more: its revision is gone
    assert rows_of(lost.state) == before


async def test_final_windows_and_a_proof_alone_are_told_apart() -> None:
    """A window that no event can change any more is not corrected but sent to a person; one in which other events are counted neither."""
    lost = LostWorld(3)
    lost.world.emit()
    lost.archive_again()
    row = open_row(lost)
    damage(lost, row, row.scaled + ONE)
    (line,) = (await replayed(lost)).lines
    said = PartitionReplay(0, lines=[line._replace(is_final=True), line._replace(running=None)])
    final, other = corrections([said], "why", "ann")
    assert (final.draft, other.draft) == (None, None)
    assert "by hand" in final.sentence
    assert "audit" in other.sentence


async def test_an_archive_that_lacks_records_corrects_nothing() -> None:
    """Where a raw row is gone the totals differ, the partition's copy is said not to be what was counted, and nothing may be corrected by it."""
    lost = LostWorld(4)
    lost.world.emit()
    lost.archive_again()
    rows, _ = lost.archive.logs[-1]
    counted = {row.through_offset for row in lost.state.rows.all()}
    rows[:] = [row for row in rows if row[0] != max(counted)]
    found = await replayed(lost)
    assert found.lines
    assert "is not what was counted" in found.wrong[0]
    with pytest.raises(NoBase):
        corrections([found], "why", "ann")


def test_a_rebuilt_total_is_read_strictly() -> None:
    """A correction whose rebuilt total or hash cannot be read, or that names no revision, is refused by its record alone."""
    from infra.amending.drafts import rebuild
    from topics.amendments import read_amendment
    from topics.event import Event, parse_event
    from topics.windows import Window

    draft = rebuild(Window(HOME[0], "calls", 0, 60), 5 * ONE, PROOF, (0, 9), "why", "ann")
    (entry,) = draft.record.postings
    assert entry.rebuilt is not None
    for wrong in (
        msgspec.structs.replace(entry, rebuilt=msgspec.structs.replace(entry.rebuilt, quantity="x")),
        msgspec.structs.replace(entry, rebuilt=msgspec.structs.replace(entry.rebuilt, hash="F" * 64)),
        msgspec.structs.replace(entry, generation=-1, through_offset=-1),
    ):
        event = parse_event(draft._replace(record=msgspec.structs.replace(draft.record, postings=(wrong,))).event().value)
        assert isinstance(event, Event)
        assert isinstance(read_amendment(event), str)
    fine = parse_event(draft.event().value)
    assert isinstance(fine, Event)
    assert not isinstance(read_amendment(fine), str)
    assert int(PROOF, 16) < MODULUS
