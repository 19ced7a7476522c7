"""Room for large arrays: zero, kept when it grows, and back at the system when nobody holds it; names in it against a plain dict."""

from __future__ import annotations

import gc
import mmap
from random import Random

import numpy as np
import pytest

from streams.name_table import COMPACT_BYTES, Names
from streams.room import HUGE_BYTES, OWN_BYTES, Numbers, Stretching, grown, zeros


@pytest.mark.parametrize("size_bytes", [0, 8, OWN_BYTES - 8, OWN_BYTES, HUGE_BYTES + 8])
def test_room_is_zero_and_can_be_written(size_bytes: int) -> None:
    """An array of any size begins with zeros, is aligned and takes what is written."""
    held = zeros(size_bytes // 8, np.int64)
    assert held.nbytes == size_bytes
    assert not held.any()
    assert held.flags.writeable and held.flags.aligned and held.flags.c_contiguous
    held += 7
    assert (held == 7).all()


def test_large_room_is_a_mapping_that_goes_with_its_last_view(monkeypatch: pytest.MonkeyPatch) -> None:
    """A large array's memory is held by its views, and unmapped with the last of them."""
    living = set[int]()

    class Watched(mmap.mmap):
        def __new__(cls, *arguments: int, **chosen: int) -> Watched:
            found = super().__new__(cls, *arguments, **chosen)
            living.add(id(found))
            return found

        def __del__(self) -> None:
            living.discard(id(self))

    monkeypatch.setattr("streams.room.mmap.mmap", Watched)
    table = zeros(OWN_BYTES // 16, np.dtype([("one", "<i8"), ("other", "<i8")]))
    column = table["other"][10:]
    assert len(living) == 1
    del table
    gc.collect()
    column[0] = 5
    assert len(living) == 1 and int(column.sum()) == 5
    del column
    gc.collect()
    assert not living


def test_room_that_the_system_refuses_is_an_error_of_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the system has no more memory the caller hears what numpy would say."""

    def refuse(*_arguments: object, **_chosen: object) -> mmap.mmap:
        raise OSError(12, "Cannot allocate memory")

    monkeypatch.setattr("streams.room.mmap.mmap", refuse)
    with pytest.raises(MemoryError, match="1,048,576 bytes"):
        zeros(OWN_BYTES, np.uint8)


def test_grown_room_keeps_what_is_used_and_nothing_else() -> None:
    """Entries behind the used ones are zero, whatever the smaller array had there."""
    held = zeros(1000, np.int32)
    held[:] = np.arange(1000)
    found = grown(held, 600, OWN_BYTES)
    assert found[:600].tolist() == list(range(600))
    assert not found[600:].any()


@pytest.mark.parametrize("is_looked_at", [False, True])
@pytest.mark.parametrize("moves", [True, False])
def test_a_stretch_keeps_what_it_had(monkeypatch: pytest.MonkeyPatch, is_looked_at: bool, moves: bool) -> None:
    """Small or large, where the system moves pages, where it cannot, and where somebody holds a view: what was there stays, what comes is zero."""
    if not moves:

        class Fixed(mmap.mmap):
            def resize(self, newsize: int) -> None:
                raise SystemError("mmap: resizing not available--no mremap()")

        monkeypatch.setattr("streams.room.mmap.mmap", Fixed)
    stretch, model, rng = Stretching(100, np.uint32), np.zeros(0, np.uint32), np.random.default_rng(3)
    for count in (100, 101, 5000, OWN_BYTES // 4 + 3, OWN_BYTES, HUGE_BYTES // 4, HUGE_BYTES // 2 + 1):
        views = [stretch.values[:3]] if is_looked_at else []
        before = [view.tolist() for view in views]
        stretch.lengthen(count)
        assert [view.tolist() for view in views] == before
        assert len(stretch.values) == count
        assert (stretch.values[: len(model)] == model).all() and not stretch.values[len(model) :].any()
        model = rng.integers(0, 1 << 32, count).astype(np.uint32)
        stretch.values[:] = model


def test_numbers_are_a_list() -> None:
    """Added in parts of any size, they come back as they were, as a copy."""
    rng, numbers, model = Random(1), Numbers(), list[int]()
    for _ in range(300):
        part = [rng.randrange(-(1 << 31), 1 << 31) for _ in range(rng.choice([0, 1, 2, 500, 5000]))]
        numbers.add(np.array(part, np.int64))
        model += part
    assert len(model) * 4 > OWN_BYTES
    found = numbers.all()
    assert found.tolist() == model
    found[:] = 0
    assert numbers.all().tolist() == model


def test_many_names_are_a_dict() -> None:
    """More text than a small array holds, with names of every length, let go, compacted and given again."""
    rng, names, model = Random(2), Names(), dict[str, int]()
    for turn in range(6):
        new = [f"{turn}-{number}-" + "é\ud800x"[number % 3] * rng.choice([0, 1, 40]) for number in range(8000)]
        model |= dict(zip(new, names.numbers(new).tolist(), strict=True))
        assert len(set(model.values())) == len(model)
        gone = rng.sample(sorted(model), len(model) // 3)
        names.forget(np.array([model.pop(name) for name in gone]))
        assert names.find(gone[0]) == -1
        assert names.names(np.array(list(model.values()))) == list(model)
        assert names.numbers(model).tolist() == list(model.values())
    name, number = rng.choice(sorted(model.items()))
    assert names.find(name) == number and names.name(number) == name
    sizes_bytes = sum(len(name.encode("utf-8", "surrogatepass")) for name in model)
    assert sizes_bytes <= names.size_bytes <= 2 * sizes_bytes + COMPACT_BYTES
    assert int(names.sizes_bytes(np.array(list(model.values()))).sum()) == sizes_bytes
