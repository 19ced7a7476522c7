"""Delivery's columns are what aiokafka's own reader yields record by record, whatever lies in the fetch."""

from __future__ import annotations

import gc
import random
import sys
import weakref
from collections import Counter
from collections.abc import Callable
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka.consumer.fetcher import FetchResult, PartitionRecords
from aiokafka.errors import CorruptRecordException
from aiokafka.record.default_records import DefaultRecordBatchBuilder
from aiokafka.record.memory_records import MemoryRecords
from aiokafka.record.util import calc_crc32c
from aiokafka.structs import TopicPartition

from infra.checksum import fastest
from infra.delivery_columns import ColumnRecords, Columns, in_columns
from infra.delivery_frames import HEADERS, KEY, KEY_LENGTH, OFFSET, VALUE, VALUE_LENGTH, Frames, unpacked
from infra.delivery_headers import MendingRecords
from infra.delivery_thread import Session, batches_of
from tests.core.fetched import Written, fetch_of, flipped, spoilt
from topics.batch import Batch

TP = TopicPartition("usage.events", 2)
READ_UNCOMMITTED, READ_COMMITTED = 0, 1

Row = tuple[int, int, bytes | None, bytes | None, tuple[Any, ...]]


class Position:
    """aiokafka's state of a partition, as far as a fetch result looks into it."""

    paused = False

    def __init__(self, position: int) -> None:
        self.position = position

    def consumed_to(self, position: int) -> None:
        """The consumer stands here now."""
        self.position = position


def fetched(written: Written, start: int, isolation: int) -> tuple[FetchResult, Position]:
    """A fetch that has arrived, before anybody read of it."""
    state = Position(start)
    assignment = SimpleNamespace(active=True, state_value=lambda _tp: state)
    records = PartitionRecords(TP, MendingRecords(written.since(start)), list(written.aborted), start, None, None, True, isolation)
    return FetchResult(TP, assignment=assignment, partition_records=records, backoff=0), state


def ordinary(result: FetchResult, state: Position, most: int) -> list[tuple[list[Row], int]]:
    """Poll by poll: the records and the position after them, as aiokafka gives them."""
    polls: list[tuple[list[Row], int]] = []
    start = state.position
    while result.has_more():
        found = [(r.offset, r.timestamp, r.key, r.value, r.headers) for r in result.getall(most)]
        if not found and polls:
            polls[-1] = (polls[-1][0], state.position)  # a cut right before what holds no record
        elif state.position > start:
            polls.append((found, state.position))
    return polls


def columnar(result: FetchResult, state: Position, most: int) -> list[tuple[list[Row], int]]:
    """Batch by batch, as delivery makes them, and where each ends; what a batch says of itself is checked on the way."""
    in_columns(SimpleNamespace(_records={TP: result}), TP)
    assert isinstance(result._partition_records, ColumnRecords)
    result._partition_records.max_records = most
    session = Session(7, state.position)
    batches = list(batches_of(TP, session, result.getall(), state.position))
    assert not result.has_more()
    found = [(rows_of(batch, session), batch.next_offset) for batch in batches]
    assert session.position == state.position
    return found


def rows_of(batch: Batch, session: Session) -> list[Row]:
    """The batch's records; the session is moved behind it."""
    assert (batch.tp, batch.epoch, batch.start_offset) == (TP, session.epoch, session.position)
    assert len(batch.offsets) == len(batch.timestamps_ms) == len(batch.keys) == len(batch.values) == len(batch.headers) == len(batch)
    assert batch.headed() == tuple(at for at, headers in enumerate(batch.headers) if headers)
    runs = batch.runs()
    begins = [0, *(end for end, _ in runs[:-1])]
    assert [ms for begin, (end, ms) in zip(begins, runs, strict=bool(runs)) for _ in range(begin, end)] == list(batch.timestamps_ms)
    assert all(one[1] != other[1] for one, other in pairwise(runs))
    whole = len(batch) > 0 and batch.offsets[-1] - batch.offsets[0] == len(batch) - 1
    assert isinstance(batch.offsets, range) == whole
    session.position = batch.next_offset
    columns = zip(batch.offsets, batch.timestamps_ms, batch.keys, batch.values, batch.headers, strict=True)
    return [(offset, ms, key, value, tuple(headers)) for offset, ms, key, value, headers in columns]


@pytest.mark.parametrize("seed", range(150))
def test_columns_are_aiokafkas_records(seed: int) -> None:
    """Offsets, times, keys, bodies, headers and the position after every poll: any mix of transactions, holes, sizes, formats, starts and cuts."""
    rng = random.Random(seed)
    written = fetch_of(rng)
    start = rng.choice((0, rng.randrange(written.end + 1)))
    most = rng.choice((1, rng.randrange(1, 40), 20_000))
    isolation = READ_COMMITTED if rng.random() < 0.8 else READ_UNCOMMITTED
    wanted = ordinary(*fetched(written, start, isolation), most)
    assert columnar(*fetched(written, start, isolation), most) == wanted


def test_the_mix_has_everything() -> None:
    """The property above is not empty: its fetches hold aborted records, markers, holes, all formats and codecs, headers, nulls, spoilt names."""
    seen = {what for seed in range(150) for what in fetch_of(random.Random(seed)).holds}
    assert seen == {
        "aborted", "committed", "marker", "hole between", "hole inside", "hole behind", "format 0", "format 1", "log append time",
        "gzip", "snappy", "lz4", "zstd",
        "headers", "null key", "null value", "spoilt name", "empty batch", "cut off",
    }  # fmt: skip


@pytest.mark.parametrize("seed", range(60))
def test_damage_is_refused_as_aiokafka_refuses_it(seed: int) -> None:
    """A flipped byte anywhere in a batch: by its checksum, with nothing handed over that aiokafka would not have."""
    rng = random.Random(seed)
    written = fetch_of(rng, plain=True)
    bad = flipped(rng, written)
    outcome = []
    for read in (ordinary, columnar):
        result, state = fetched(bad, 0, READ_COMMITTED)
        with pytest.raises(CorruptRecordException, match="Invalid CRC") as caught:
            read(result, state, 20_000)
        outcome.append((str(caught.value), state.position))
    assert outcome[0] == outcome[1]
    assert str(TP) in outcome[0][0]


def outcome_of(read: Callable[..., Any], written: Written) -> tuple[Any, ...]:
    """What came of reading all of it: rows and positions, or the error; and where the consumer stands."""
    result, state = fetched(written, 0, READ_COMMITTED)
    try:
        return "read", read(result, state, 20_000), state.position
    except Exception as error:  # noqa: BLE001 - whichever it is, it must be the same for both
        return type(error), str(error), state.position


@pytest.mark.parametrize("seed", range(600))
def test_what_is_no_row_of_records_is_refused_in_aiokafkas_words(seed: int) -> None:
    """Records whose bytes were spoilt before their checksum was made: read alike where they can be read, else the same error."""
    rng = random.Random(seed)
    bad = spoilt(rng, fetch_of(rng, plain=rng.random() < 0.7))
    assert outcome_of(columnar, bad) == outcome_of(ordinary, bad)


def test_the_spoilt_ones_are_of_both_kinds() -> None:
    """The test above is not empty: some can be read, some not, each for several reasons."""
    rngs = [random.Random(seed) for seed in range(600)]
    found = Counter(outcome_of(ordinary, spoilt(rng, fetch_of(rng, plain=rng.random() < 0.7)))[0] for rng in rngs)
    assert found["read"] > 50
    assert found[CorruptRecordException] > 50


@pytest.mark.parametrize("deltas", [(0, 2, 1, 3), (0, 0, 1), (5, 4), (3, 2**31 - 1), (0, 1)])
@pytest.mark.parametrize("first", [0, 2**60 - 5, 2**61])
def test_offsets_no_broker_would_give(deltas: tuple[int, ...], first: int) -> None:
    """Offsets that fall, stand still, leap or lie beyond all reason are read as aiokafka reads them."""
    builder = DefaultRecordBatchBuilder(2, 0, 0, -1, 0, 0, 1 << 20)
    for delta in deltas:
        builder.append(delta, 1_000 + delta, b"k", b"%d" % delta, [])
    written = Written(b"", [], first)
    written.append(written._dressed(bytearray(builder.build()), max(deltas) + 1, None), max(deltas) + 1)
    assert outcome_of(columnar, written) == outcome_of(ordinary, written)


@pytest.mark.parametrize("seed", range(200))
def test_a_frame_lies_within_its_batch(seed: int) -> None:
    """Whatever the bytes are, checked or not: no key, value or header lies outside of what was fetched, and offsets rise."""
    rng = random.Random(seed)
    data = bytearray(fetch_of(rng, plain=rng.random() < 0.5).data)
    for _ in range(rng.randrange(30) if data else 0):
        data[rng.randrange(len(data))] = rng.choice((0, 1, 2, 0x7F, 0x80, 0xFF, rng.randrange(256)))
    data = data[: rng.randrange(len(data) + 1)] if rng.random() < 0.3 else data
    frames = Frames(bytes(data), 0)
    for at in frames._batches:
        if (framed := frames.of(at)) is None:
            continue
        table = framed.frames[:, framed.begin : framed.end]
        for start, length in ((table[KEY], table[KEY_LENGTH]), (table[VALUE], table[VALUE_LENGTH])):
            assert ((start > at) & (length >= -1) & (start + length <= len(data))).all()
        assert ((table[HEADERS] == -1) | ((table[HEADERS] > at) & (table[HEADERS] < len(data)))).all()
        assert (table[OFFSET, 1:] > table[OFFSET, :-1]).all()
        assert all(headers for _, headers in framed.headers(framed.begin, framed.end))


def test_usual_batches_have_frames() -> None:
    """What a producer writes is framed, packed or not: the fast way is the way taken."""
    for codec in range(5):
        builder = DefaultRecordBatchBuilder(2, codec, 0, -1, 0, 0, 1 << 20)
        for delta in range(50):
            builder.append(delta, 1_000, b"key", b"value" * 20, [("a", b"b")] * (delta == 7))
        records = MendingRecords(bytes(builder.build()))
        frames = Frames(records.answer(), records.begin())
        batch = records.next_batch()
        framed = unpacked(batch.plain, batch.data) if codec else frames.of(batch.begin)
        assert framed is not None
        assert list(framed.headers(framed.begin, framed.end)) == [(7, [("a", b"b")])]


@pytest.mark.parametrize("seed", range(20))
def test_the_fast_checksum_is_aiokafkas(seed: int) -> None:
    """Every batch that aiokafka takes for whole or for damaged is so here too, at any length."""
    rng = random.Random(seed)
    for written in (fetch_of(rng, plain=True), flipped(rng, fetch_of(rng, plain=True))):
        ours, theirs = MendingRecords(written.data), MemoryRecords(written.data)
        while ours.has_next():
            assert ours.next_batch().validate_crc() == theirs.next_batch().validate_crc()
    data = rng.randbytes(rng.randrange(5000))
    assert fastest()(data) == calc_crc32c(data)


def test_a_checksum_without_its_c_part_is_aiokafkas_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the fast one is not installed, or only in Python, aiokafka's own is taken."""
    monkeypatch.setitem(sys.modules, "google_crc32c", None)
    assert fastest() is calc_crc32c
    monkeypatch.setitem(sys.modules, "google_crc32c", SimpleNamespace(implementation="python", value=None))
    assert fastest() is calc_crc32c
    monkeypatch.setitem(sys.modules, "google_crc32c", SimpleNamespace(implementation="c", value=len))
    assert fastest() is len


def test_only_markers_move_the_position() -> None:
    """A fetch of nothing but a marker makes a batch without records that ends behind it (law 9: the log's end is reached)."""
    written = Written(b"", [], 0)
    written.add_records(random.Random(1), 3, producer=5)
    start = written.end
    written.finish(5, commit=False)
    result, state = fetched(written, start, READ_COMMITTED)
    in_columns(SimpleNamespace(_records={TP: result}), TP)
    found = list(batches_of(TP, Session(1, start), result.getall(), state.position))
    assert [(len(batch), batch.start_offset, batch.next_offset, batch.runs(), batch.headed()) for batch in found] == [(0, start, start + 1, [], ())]


def test_what_is_not_ours_is_left_alone() -> None:
    """A fetch of a partition that is not buffered, an error in its place, and one that is read already are not touched."""
    result, _ = fetched(fetch_of(random.Random(3)), 0, READ_COMMITTED)
    records: dict[Any, Any] = {TP: result}
    in_columns(SimpleNamespace(_records=records), TopicPartition("usage.events", 9))
    assert type(result._partition_records) is PartitionRecords
    in_columns(SimpleNamespace(_records=records), TP)
    reader = result._partition_records
    in_columns(SimpleNamespace(_records=records), TP)
    assert result._partition_records is reader
    in_columns(SimpleNamespace(_records={TP: SimpleNamespace()}), TP)


@pytest.mark.parametrize("seed", range(20))
def test_a_batch_made_by_hand_counts_its_runs_and_headers(seed: int) -> None:
    """`runs` and `headed` of a batch that was not made by delivery are those that delivery would have given."""
    rng = random.Random(seed)
    count = rng.randrange(30)
    records = [
        SimpleNamespace(offset=at, timestamp=rng.randrange(3), key=None, value=b"", headers=[("a", b"")] * (rng.random() < 0.3))
        for at in range(count)
    ]
    columns = Columns(0)
    columns.read(records)
    made = columns.batch(TP, 1, 0, count)
    by_hand = Batch(
        topic=TP.topic, partition=2, epoch=1, start_offset=0, offsets=list(range(count)), timestamps_ms=[r.timestamp for r in records],
        keys=list(made.keys), values=list(made.values), headers=[r.headers for r in records], next_offset=count,
    )  # fmt: skip
    assert by_hand.runs() == made.runs()
    assert list(by_hand.headed()) == list(made.headed()) == [at for at in range(count) if records[at].headers]


def test_an_answer_that_was_read_is_let_go_of() -> None:
    """Nothing holds a fetch once its batches are gone, without the collector: a worker must not keep what it has read until that comes by."""
    gc.disable()
    try:
        result, _ = fetched(fetch_of(random.Random(3)), 0, READ_COMMITTED)
        plain = weakref.ref(result._partition_records)
        in_columns(SimpleNamespace(_records={TP: result}), TP)
        columns = weakref.ref(result._partition_records)
        assert result.getall()
        del result
        assert (plain(), columns()) == (None, None)
    finally:
        gc.enable()
