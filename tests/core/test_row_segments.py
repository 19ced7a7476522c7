"""Rows in the changelog: two stored forms that say the same, and a merge by max that is the plain rule of law 4 whatever form each segment has."""

from __future__ import annotations

from random import Random

import msgspec
import numpy as np
import pytest

from streams.merging import merge_rows
from streams.row_segments import NUMBERS, Column, PackedRows, RowColumns, RowRecord, RowSegment, pack_rows, spelled_names
from streams.rows import NEVER, Row, Rows, revision
from streams.segments import ROWS, Extent, decode_segment, encode_segment
from streams.state import PartitionState, Retired
from topics.content_hash import MODULUS
from topics.errors import CorruptState
from topics.quantity import ONE
from topics.windows import Window

START_S = 1_790_000_000 // 60 * 60
SUMS = (0, 1, -1, ONE, -7 * ONE, 5 * 10**6 * ONE, 10**9 * ONE, (1 << 63) - 1, -(1 << 63), 1 << 90, -(1 << 127), 1 << 130, 10**27 * ONE)


def some_rows(rng: Random, many: int, sums: tuple[int, ...] = SUMS) -> Rows:
    """Rows of one to many customers and meters, some emitted, some under a test clock."""
    rows = Rows()
    names = ["acme", "", "日本", "x" * 300, *(f"customer {n}" for n in range(rng.choice([1, 5, many])))]
    for at in range(many):
        row = Row(Window(rng.choice(names), rng.choice(["calls", "tokens"]), START_S + 60 * at, START_S + 60 * (at + rng.choice([1, 1, 30]))))
        rows.add(row)
        row.scaled, row.events, row.own = rng.choice(sums), rng.choice([1, 2, 1 << 40]), rng.random() < 0.1
        row.first_offset, row.content_hash = rng.randrange(1 << 40), rng.randrange(MODULUS)
        row.rev = revision(rng.randrange(3), rng.choice([0, rng.randrange(1 << 40), (1 << 63) - 1]))
        row.emitted = rng.choice([NEVER, row.rev, revision(0, 1)])
    return rows


def packed(rows: Rows) -> PackedRows:
    """All of them, as version 2."""
    return pack_rows(rows.store, rows.store.live(), 3, 1 << 50)


def read(stored: PackedRows | RowSegment) -> RowColumns:
    """As a recovery reads it."""
    found = decode_segment(ROWS, encode_segment(stored), "there")
    assert isinstance(found, RowColumns)
    return found


def test_rows_with_spelled_names_are_the_same_record() -> None:
    """What the changelog writes, without making texts of names, is to the byte what is written with them."""
    rng = Random(5)
    for many in (1, 2, 40, 400):
        rows = some_rows(rng, many)
        wanted = encode_segment(packed(rows))
        assert encode_segment(pack_rows(rows.store, rows.store.live(), 3, 1 << 50, spelled_names)) == wanted


def as_record(row: Row) -> RowRecord:
    """A row as version 1 said it, without the columns."""
    window, size = row.window, (row.scaled.bit_length() + 8) // 8
    emitted = (row.emitted >> 64, row.emitted & (1 << 64) - 1) if row.emitted >= 0 else (-1, -1)
    return RowRecord(
        *window, row.scaled.to_bytes(size, "little", signed=True), row.events, row.first_offset, row.rev >> 64, row.through_offset, *emitted,
        row.content_hash.to_bytes(32, "little"), row.own,
    )  # fmt: skip


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("sums", [SUMS, (ONE, 3 * ONE, 10**9 * ONE), (1, -5)])
def test_both_forms_say_what_the_rows_are(seed: int, sums: tuple[int, ...]) -> None:
    """Version 2 and version 1 are read as the same rows, and as those that were written: the largest sums, names and revisions included."""
    rows = some_rows(Random(seed), Random(seed).choice([1, 2, 40]), sums)
    wanted = [as_record(row) for row in rows.all()]
    assert read(packed(rows)).records() == wanted
    assert read(RowSegment(3, 1 << 50, wanted)).records() == wanted


def test_a_row_costs_little_more_than_its_hash() -> None:
    """Four thousand rows of one hour and meter with whole quantities: under 64 bytes each with their customers' names, 32 of them the hash."""
    rows = Rows()
    rows.make([Window(f"customer_{at:05}", "calls", START_S, START_S + 3600) for at in range(4000)], own=False)
    for at, row in enumerate(rows.all()):
        row.scaled, row.events, row.first_offset, row.rev, row.content_hash = at * ONE, 2, at, revision(0, at + 900_000), Random(at).getrandbits(256)
    assert len(encode_segment(packed(rows))) < 64 * 4000


def test_what_does_not_fit_together_halts_by_name() -> None:
    """A column too short or too wide, a name that is not there or there twice, numbers that no row has: halted at the segment, checksum and all."""
    rows = some_rows(Random(5), 10, (1 << 130, ONE))
    good = packed(rows)
    read(good)
    wrong: list[PackedRows] = [
        msgspec.structs.replace(good, rows=9),
        msgspec.structs.replace(good, rows=0),
        msgspec.structs.replace(good, customers=good.customers[:-1]),
        msgspec.structs.replace(good, customers=[good.customers[0]] * len(good.customers)),
        msgspec.structs.replace(good, meters=[]),
        msgspec.structs.replace(good, unit=7),
        msgspec.structs.replace(good, hashes=good.hashes[1:]),
        msgspec.structs.replace(good, wide={10: b"x"}),
        msgspec.structs.replace(good, wide={-1: b"x"}),
        msgspec.structs.replace(good, generation=1),
        msgspec.structs.replace(good, upto=-1),
        msgspec.structs.replace(good, columns=good.columns[:-1]),
    ]
    for name, least in (("customer", -1), ("meter", 9), ("end_s", 0), ("events", 0), ("first_offset", -1), ("generation", -1), ("through", -1),
                        ("emitted_generation", -2), ("emitted_through", -2), ("customer", (1 << 64) - 1)):  # fmt: skip
        columns = list(good.columns)
        columns[NUMBERS.index(name)] = Column(least, 0, b"")
        wrong.append(msgspec.structs.replace(good, columns=columns))
    for width, data in ((1, b""), (9, bytes(90)), (-1, b"")):
        wrong.append(msgspec.structs.replace(good, columns=[Column(0, width, data), *good.columns[1:]]))
    for bad in wrong:
        with pytest.raises(CorruptState, match=r"^there: "):
            read(bad)


# ── the merge ────────────────────────────────────────────────────────────────────────────────────────────────────────────
class Plain:
    """Law 4 in a dict: of two records of a row the greater revision, of equal ones the later with what either knows to be emitted."""

    def __init__(self) -> None:
        self.rows: dict[Window, tuple[RowRecord, int]] = {}

    def take(self, record: RowRecord, number: int) -> None:
        """One record of a segment."""
        window = Window(record.customer, record.meter, record.start_s, record.end_s)
        held = self.rows.get(window)
        if held is not None and _rev(held[0]) == _rev(record):
            emitted = max((held[0].emitted_generation, held[0].emitted_offset), (record.emitted_generation, record.emitted_offset))
            record = msgspec.structs.replace(record, emitted_generation=emitted[0], emitted_offset=emitted[1])
        if held is None or _rev(record) >= _rev(held[0]):
            self.rows[window] = (record, number)


def _rev(record: RowRecord) -> tuple[int, int]:
    return record.generation, record.through_offset


def a_copy(rng: Random, window: Window) -> RowRecord:
    """What some flush said of a row: a function of its revision, but for what was emitted."""
    generation, through = rng.randrange(2), rng.randrange(1, 6)
    value = Random(f"{window} {generation} {through}")
    scaled, hashed = value.choice(SUMS), value.getrandbits(256)
    emitted = rng.choice([(-1, -1), (0, rng.randrange(6)), (generation, through)])
    data = scaled.to_bytes((scaled.bit_length() + 8) // 8, "little", signed=True)
    return RowRecord(*window, data, through + 1, 0, generation, through, *emitted, hashed.to_bytes(32, "little"), False)


def repacked(records: list[RowRecord]) -> PackedRows:
    """The same as version 2."""
    state = PartitionState(0, 1, bytes(16))
    merge_rows(state, read(RowSegment(1, 100, records)), Extent(1, 100, (100,)), 1, "")
    return pack_rows(state.rows.store, state.rows.store.live(), 1, 100)


@pytest.mark.parametrize("seed", range(30))
def test_a_merge_of_both_forms_is_the_plain_maximum(seed: int) -> None:
    """Segments of both versions in any order, with rows of a dead flush and rows let go among them, give what a dict gives row by row."""
    rng, plain, state = Random(seed), Plain(), PartitionState(0, 1, bytes(16), generation=1)
    state.retired = Retired(until_s=START_S - 600)
    extent = Extent(1, 5, (5,))
    windows = [Window(f"c{at % 7}", "calls", START_S + 60 * (at - 15), START_S + 60 * (at - 14)) for at in range(40)]
    for number in range(1, 25):
        records = [a_copy(rng, window) for window in rng.sample(windows, rng.randrange(1, 20))]
        stored = repacked(records) if rng.random() < 0.5 else RowSegment(1, 100, records)
        merge_rows(state, read(stored), extent, number, "there")
        for record in read(stored).records():
            if record.through_offset < 5 and record.end_s > state.retired.until_s:
                plain.take(record, number)
    state.rows.schedule(state.rows.store.live())
    assert {row.window: (as_record(row), row.segment) for row in state.rows.all()} == plain.rows


@pytest.mark.parametrize("old_first", [True, False])
def test_two_totals_under_one_revision_halt_across_versions(old_first: bool) -> None:
    """One revision with two sums, counts or hashes is corruption, whichever form holds which."""
    good = a_copy(Random(1), Window("c", "calls", START_S, START_S + 60))
    for change in ({"scaled": b"\7"}, {"events": 99}, {"content_hash": bytes(32)}, {"scaled": (1 << 131).to_bytes(20, "little")}):
        state = PartitionState(0, 1, bytes(16), generation=1)
        other = msgspec.structs.replace(good, **change)
        first, second = (RowSegment(1, 100, [good]), repacked([other])) if old_first else (repacked([good]), RowSegment(1, 100, [other]))
        merge_rows(state, read(first), Extent(1, 100, (100,)), 1, "one")
        with pytest.raises(CorruptState, match=r"^other: .*two totals under one revision"):
            merge_rows(state, read(second), Extent(1, 100, (100,)), 2, "other")


def test_one_row_twice_in_a_segment_is_merged_like_any_two() -> None:
    """The greater of both stands, and a segment of no row is none."""
    window = Window("c", "calls", START_S, START_S + 60)
    copies = sorted((a_copy(Random(seed), window) for seed in range(9)), key=_rev)
    state = PartitionState(0, 1, bytes(16), generation=1)
    merge_rows(state, read(RowSegment(1, 100, [copies[-1], *copies])), Extent(1, 100, (100,)), 1, "there")
    merge_rows(state, read(RowSegment(1, 100, [])), Extent(1, 100, (100,)), 2, "there")
    (row,) = state.rows.all()
    assert (row.rev >> 64, row.through_offset) == _rev(copies[-1])
    assert np.array_equal(state.rows.store.live(), [row.slot])
