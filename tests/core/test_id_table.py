"""Law 6's memory against a dict: seals, splits, spills, moves, hours that die, and numbers that begin anew."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from infra.id_blocks import FileBlocks
from streams.duplicates import HOUR_MS, U64, distinct
from streams.id_index import IdIndex
from streams.id_log import in_memory
from streams.id_pages import PAGE
from streams.id_table import IdTable
from topics.errors import CorruptState

Model = dict[tuple[int, int], int]
KINDS = ("random", "equal first words", "one page", "few marks", "tiny numbers")


def drawn(rng: np.random.Generator, kind: str, count: int) -> U64:
    """Distinct digests, many of which were or will be drawn again; all but the first kind are such as no keyed digest ever makes."""
    pool = rng.integers(0, 900, count).astype(np.uint64)
    mixed = pool * np.uint64(0x9E3779B97F4A7C15)
    found = {
        "random": np.stack([mixed, mixed * np.uint64(0xBF58476D1CE4E5B9)], axis=1),
        "equal first words": np.stack([mixed & np.uint64(7), mixed], axis=1),
        "one page": np.stack([mixed << np.uint64(40), mixed << np.uint64(30)], axis=1),
        "few marks": np.stack([mixed >> np.uint64(16), mixed], axis=1),
        "tiny numbers": np.stack([pool & np.uint64(31), pool >> np.uint64(5)], axis=1),
    }[kind]
    return np.asarray(np.unique(found, axis=0))


def check(table: IdTable, model: Model, floor: int, rng: np.random.Generator) -> None:
    """The table says of every id what the model says; of those below the floor it may say 0."""
    asked = np.array(list(model), np.uint64)[rng.permutation(len(model))]
    for (high, low), held in zip(asked.tolist(), table.find(asked).tolist(), strict=True):
        wanted = model[high, low]
        assert held == wanted or (wanted < floor and held == 0), (high, low, held, wanted, floor)
    live = [bucket for bucket in model.values() if bucket >= floor]
    counts = table.counts(floor)
    assert counts == {bucket: live.count(bucket) for bucket in set(live)}
    for bucket in counts:
        held = [tuple(row) for row in table.in_bucket(bucket).tolist()]
        assert sorted(held) == sorted(key for key, value in model.items() if value == bucket)
        portions = [table.in_bucket(bucket, start, 37).tolist() for start in range(0, table.entries(bucket), 37)]
        assert [tuple(row) for portion in portions for row in portion] == held


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", range(4))
def test_it_answers_as_a_dict_does(seed: int, kind: str, tmp_path: Any) -> None:
    """Random puts, moves to newer hours, floors that rise and ids that come again, in memory and in files, through every boundary of blocks,
    pages and numbers: the same answers, counts and hours as a dict of digest to greatest bucket."""
    rng = np.random.default_rng([seed, KINDS.index(kind)])
    keep = FileBlocks(tmp_path) if seed % 2 else in_memory
    table, model, floor = IdTable(keep, block_bits=int(rng.integers(3, 8)), places=2000 if seed < 2 else 1 << 32), Model(), 0
    for step in range(80):
        bucket = 100 + step // 5
        floor = max(floor, bucket - int(rng.integers(2, 6)))
        if rng.random() < 0.1:
            bucket -= 1  # no fold does this; the table is right all the same
        digests = drawn(rng, kind, int(rng.integers(1, 150)))
        found = table.find(digests)
        for key, held in zip(digests.tolist(), found.tolist(), strict=True):
            wanted = model.get((key[0], key[1]), 0)
            assert held == wanted or (wanted < floor and held == 0)
        digests = digests[rng.permutation(len(digests))]
        if rng.random() < 0.5:
            digests = digests[table.find(digests) == 0]
            table.put(digests, bucket, floor, absent=True)
        else:
            table.put(digests, bucket, floor)
        for high, low in digests.tolist():
            model[high, low] = max(bucket, model.get((high, low), 0))
        model = {key: value for key, value in model.items() if value >= floor - 3 or table.find(np.array([key], np.uint64))[0]}
        if step % 8 == 7:
            check(table, model, floor, rng)
    assert not list(tmp_path.iterdir())


def random_digests(rng: np.random.Generator, count: int) -> U64:
    """As a keyed digest makes them."""
    return rng.integers(0, 2**64, (count, 2), dtype=np.uint64)


@pytest.mark.parametrize("seed", range(3))
def test_growth_by_splits_loses_nobody(seed: int) -> None:
    """Through many rounds of splits every id keeps its hour, and hardly any finds both of its pages full."""
    rng = np.random.default_rng(seed)
    table, parts = IdTable(block_bits=12), []
    for number in range(60):
        parts.append(random_digests(rng, int(rng.integers(1, 3000))))
        table.put(parts[-1], 100 + number, 0, absent=bool(number % 2))
    for number, part in enumerate(parts):
        assert (table.find(part) == 100 + number).all()
        assert np.array_equal(np.sort(table.in_bucket(100 + number), axis=0), np.sort(part, axis=0))
    assert table.spilled * 1000 < table.held
    assert not table.find(random_digests(rng, 20_000)).any()


def test_hours_that_die_make_room_for_new_ones() -> None:
    """In the steady state, an hour dying for each one that comes, the index stays as large as it is and blocks of dead hours are let go."""
    rng = np.random.default_rng(1)
    table, sizes = IdTable(block_bits=10), []
    live: list[U64] = []
    for hour in range(100, 160):
        digests = random_digests(rng, 2000)
        table.put(digests, hour, hour - 10)
        live = [*live, digests][-10:]
        sizes.append((table.memory_bytes, table.kept_bytes))
    assert sizes[-1][0] <= sizes[20][0] * 1.1
    assert sizes[-1][1] <= 16 * (11 * 2000 + 2 * 1024)
    for age, digests in enumerate(reversed(live)):
        assert (table.find(digests) == 159 - age).all()


def test_a_presized_table_is_the_same() -> None:
    """Recovery makes room for all ids at once: the same answers, without a split on the way."""
    rng = np.random.default_rng(2)
    digests = random_digests(rng, 30_000)
    grown, presized = IdTable(), IdTable()
    presized.reserve(len(digests))
    before = presized.memory_bytes
    for start in range(0, len(digests), 700):
        grown.put(digests[start : start + 700], 100 + start, 0)
        presized.put(digests[start : start + 700], 100 + start, 0)
    assert np.array_equal(grown.find(digests), presized.find(digests))
    assert grown.counts(0) == presized.counts(0)
    assert presized.memory_bytes - before <= 16 * len(digests) * 2  # the newest digests alone


def test_two_ids_with_one_first_word_are_two() -> None:
    """Half a digest alike is another id, also where both come in one batch, from then on and in another hour."""
    table = IdTable()
    digests = np.array([[5, 1], [5, 2], [5, 3]], np.uint64)
    table.put(digests[:2], 100, 0)
    assert table.find(digests).tolist() == [100, 100, 0]
    table.put(digests[1:], 101, 0)
    assert table.find(digests).tolist() == [100, 101, 101]
    assert table.counts(0) == {100: 1, 101: 2}


def test_a_dead_id_that_comes_again_moves_to_its_new_hour() -> None:
    """It counts there alone, is merged there alone, and dies with the new hour."""
    table = IdTable(block_bits=3)
    digests = np.arange(40, dtype=np.uint64).reshape(-1, 2)
    table.put(digests, 100, 0)
    table.put(digests[::4], 110, 100)
    assert table.counts(100) == {100: 15, 110: 5}
    assert {tuple(row) for row in table.in_bucket(100).tolist()} == {tuple(row) for at, row in enumerate(digests.tolist()) if at % 4}
    table.put(np.array([[900, 901]], np.uint64), 112, 105)
    assert table.counts(105) == {110: 5, 112: 1}
    assert (table.find(digests) >= 105).sum() == 5
    assert table.held == 6


def test_an_older_hour_does_not_take_an_id_back() -> None:
    """Of two hours the greater stays, whatever order they are put in."""
    table = IdTable()
    digests = np.array([[1, 2], [3, 4]], np.uint64)
    table.put(digests[:1], 200, 0)
    table.put(digests, 150, 0)
    assert table.find(digests).tolist() == [200, 150]
    assert table.counts(0) == {150: 1, 200: 1}


def test_more_ids_than_can_be_numbered_halt() -> None:
    """Where even the live ids have no numbers left the table says so; it never answers by a number that means two ids."""
    table = IdTable(block_bits=4, places=1000)
    rng = np.random.default_rng(3)
    for hour in range(100, 140):  # numbers begin anew many times
        digests = random_digests(rng, 100)
        table.put(digests, hour, hour - 5)
        assert (table.find(digests) == hour).all()
    with pytest.raises(CorruptState, match=r"shorten timing\.dedup"):
        table.put(random_digests(rng, 600), 140, 100)


def test_a_file_that_cannot_be_made_keeps_its_block_in_memory(tmp_path: Any, caplog: Any) -> None:
    """A full or missing disk costs memory and one warning, never a stop and never an id."""
    (tmp_path / "taken").write_text("a file, where a directory should be")
    table = IdTable(FileBlocks(tmp_path / "taken"), block_bits=4)
    digests = random_digests(np.random.default_rng(4), 200)
    table.put(digests, 100, 0)
    assert (table.find(digests) == 100).all()
    assert len([record for record in caplog.records if "stay in memory" in record.message]) == 1


def test_two_workers_on_one_directory_share_no_file(tmp_path: Any) -> None:
    """Files have no names: two tables on one directory hold their own ids, and nothing is left of either."""
    rng = np.random.default_rng(5)
    tables, parts = [IdTable(FileBlocks(tmp_path), block_bits=6) for _ in range(2)], [random_digests(rng, 1000) for _ in range(2)]
    for table, digests in zip(tables, parts, strict=True):
        table.put(digests, 100, 0)
        assert table.kept_bytes > 0
    assert not list(tmp_path.iterdir())
    for table, own, other in zip(tables, parts, reversed(parts), strict=True):
        assert (table.find(own) == 100).all()
        assert not table.find(other).any()


def test_kept_blocks_cannot_be_written(tmp_path: Any) -> None:
    """What lies in a file is read only: a slip of ours raises instead of changing an id."""
    block: NDArray[np.uint64] = np.arange(32, dtype=np.uint64).reshape(-1, 2)
    kept = FileBlocks(tmp_path)(block)
    assert np.array_equal(kept, block)
    with pytest.raises(ValueError, match="read-only"):
        kept[0, 0] = 1


def test_each_digest_once() -> None:
    """`distinct` drops copies, and only copies, whether or not first words repeat."""
    rng = np.random.default_rng(6)
    digests = random_digests(rng, 500)
    assert np.array_equal(distinct(digests), digests)
    alike = np.concatenate([digests, digests[:50], digests[:50] ^ np.array([0, 1], np.uint64)])
    assert {tuple(row) for row in distinct(alike).tolist()} == {tuple(row) for row in alike.tolist()}
    assert len(distinct(alike)) == 550


def test_one_page_of_digests_spills_and_is_found() -> None:
    """Digests that all name one page, which nobody without the key can make, are slower and not wrong."""
    index_room = PAGE
    digests = np.stack([np.arange(1, 200, dtype=np.uint64) << np.uint64(48), np.zeros(199, np.uint64)], axis=1)
    table = IdTable()
    table.put(digests, HOUR_MS, 0)
    assert (table.find(digests) == HOUR_MS).all()
    assert table.spilled == 199 - index_room
    assert IdIndex().spilled == 0
