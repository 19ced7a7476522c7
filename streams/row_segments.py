"""Rows as the changelog holds them: absolute values, so that the newest one alone is enough.

Version 2 is columns: each the least of its values and what each is more, in as few bytes as the largest needs; names once a segment. Version 1 was
a msgpack array a row; topics hold it until its rows are said again, so it is read for ever.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from streams.grouping import group
from streams.name_table import Names
from streams.probing import MASK, Slots
from streams.row_store import RowStore
from topics.quantity import ONE

_LEAST, _MOST = -(1 << 63), (1 << 63) - 1
_GENERATIONS: Final = 1 << 31
NUMBERS: Final = (
    "customer", "meter", "start_s", "end_s", "scaled", "events", "first_offset",
    "generation", "through", "emitted_generation", "emitted_through", "own",
)  # fmt: skip
"""The columns in their order. `end_s` is stored as the window's length, `scaled` in the segment's unit."""


class RowRecord(msgspec.Struct, array_like=True, gc=False):
    """One row of version 1."""

    customer: str
    meter: str
    start_s: int
    end_s: int
    scaled: bytes
    events: int
    first_offset: int
    generation: int
    through_offset: int
    emitted_generation: int
    emitted_offset: int
    content_hash: bytes
    own: bool = False


class RowSegment(msgspec.Struct, array_like=True, gc=False):
    """Rows of a flush, version 1."""

    generation: int
    upto: int
    rows: list[RowRecord]


class Column(msgspec.Struct, array_like=True, gc=False):
    """Integers: `least`, and of each what it is more, little-endian in `width` bytes."""

    least: int
    width: int
    data: bytes


class PackedRows(msgspec.Struct, array_like=True, gc=False):
    """Rows of a flush, version 2. `customers`, `meters`: names that the columns number. `unit`: of `scaled`, in 10⁻¹². `wide`: sums that do not fit
    64 bits, by position. `hashes`: 32 bytes a row."""

    generation: int
    upto: int
    rows: int
    customers: list[str]
    meters: list[str]
    unit: int
    columns: list[Column]
    wide: dict[int, bytes]
    hashes: bytes


@dataclass(frozen=True, slots=True)
class RowColumns:
    """Rows of a segment of either version, as the table takes them: columns by the names of `streams.row_store.ROW`, `customer` and `meter` as
    positions in the lists of names. `wide`: sums that 128 bits do not hold."""

    generation: int
    upto: int
    customers: list[str]
    meters: list[str]
    columns: dict[str, NDArray[Any]]
    wide: dict[int, int]

    def __len__(self) -> int:
        return len(self.columns["start_s"])

    def take(self, which: Slots) -> RowColumns:
        """Some of the rows."""
        wide = {at: self.wide[was] for at, was in enumerate(which.tolist()) if was in self.wide} if self.wide else {}
        return replace(self, columns={name: values[which] for name, values in self.columns.items()}, wide=wide)

    def scaled(self, at: int) -> int:
        """Sum × 10¹² of one row."""
        if at in self.wide:
            return self.wide[at]
        return (int(self.columns["high"][at]) << 64) + int(self.columns["low"][at])

    def records(self) -> list[RowRecord]:
        """Row by row, for whoever looks at single ones."""
        columns = {name: values.tolist() for name, values in self.columns.items() if name != "hash"}
        return [
            RowRecord(
                self.customers[columns["customer"][at]],
                self.meters[columns["meter"][at]],
                columns["start_s"][at],
                columns["end_s"][at],
                _signed(self.scaled(at)),
                columns["events"][at],
                columns["first_offset"][at],
                columns["generation"][at],
                columns["through"][at],
                columns["emitted_generation"][at],
                columns["emitted_through"][at],
                self.columns["hash"][at].tobytes(),
                columns["own"][at],
            )
            for at in range(len(self))
        ]


def _signed(number: int) -> bytes:
    return number.to_bytes((number.bit_length() + 8) // 8, "little", signed=True)


# ── writing ──────────────────────────────────────────────────────────────────────────────────────────────────────────────
def pack_rows(store: RowStore, slots: Slots, generation: int, upto: int, names: Callable[[Names, Slots], Any] = Names.names) -> PackedRows:
    """The stored form of rows as they stand. `names` may also be `spelled_names`: then it can only be encoded."""
    held = store.table[slots]
    customers, customer = _numbered_once(held["customer"])
    meters, meter = _numbered_once(held["meter"])
    low = held["low"].view(np.int64)
    fits = held["high"] == low >> 63
    large = {at: store.read(int(slots[at]), "scaled") for at in np.flatnonzero(~fits | np.isin(slots, list(store.wide))).tolist()}
    small = low.copy()
    small[list(large)] = 0
    unit = ONE if not (small % ONE).any() and not any(scaled % ONE for scaled in large.values()) else 1
    small //= unit
    wide: dict[int, bytes] = {}
    for at, scaled in large.items():
        if _LEAST <= scaled // unit <= _MOST:
            small[at] = scaled // unit
        else:
            wide[at] = _signed(scaled)
    columns = {name: held[name] for name in NUMBERS if name != "scaled"} | {"customer": customer, "meter": meter, "scaled": small}
    columns["end_s"] = held["end_s"] - held["start_s"]
    return PackedRows(
        generation,
        upto,
        len(slots),
        names(store.customers, customers),
        names(store.meters, meters),
        unit,
        [_column(columns[name].astype(np.int64)) for name in NUMBERS],
        wide,
        held["hash"].tobytes(),
    )


def spelled_names(held: Names, numbers: Slots) -> msgspec.Raw:
    """Names as they will stand in a segment, without an object each."""
    return msgspec.Raw(held.spelled(numbers))


def _numbered_once(numbers: Slots) -> tuple[Slots, Slots]:
    """Each number once, and which of them stands at each place."""
    of, firsts = group(numbers.astype(np.int64))
    return numbers[firsts], of


def _column(values: NDArray[np.int64]) -> Column:
    least = int(values.min())
    more = values.view(np.uint64) - np.uint64(least & MASK)
    width = (int(more.max()).bit_length() + 7) // 8
    return Column(least, width, more.view(np.uint8).reshape(-1, 8)[:, :width].tobytes())


# ── reading ──────────────────────────────────────────────────────────────────────────────────────────────────────────────
def unpack_rows(packed: PackedRows) -> RowColumns | None:
    """The columns of version 2; None where its parts do not fit together."""
    rows, columns = packed.rows, dict[str, NDArray[Any]]()
    if len(packed.columns) != len(NUMBERS) or rows < 1 or len(packed.hashes) != 32 * rows or packed.unit not in {1, ONE}:
        return None
    for name, column in zip(NUMBERS, packed.columns, strict=True):
        if not (0 <= column.width <= 8 and _LEAST <= column.least <= _MOST and len(column.data) == column.width * rows):
            return None
        more = np.zeros((rows, 8), np.uint8)
        more[:, : column.width] = np.frombuffer(column.data, np.uint8).reshape(rows, column.width)
        columns[name] = (more.view(np.uint64)[:, 0] + np.uint64(column.least & MASK)).view(np.int64)
    columns["end_s"] = columns["start_s"] + columns["end_s"]
    columns["own"] = columns["own"] != 0
    columns["hash"] = np.frombuffer(packed.hashes, np.uint64).reshape(rows, 4)
    small = columns.pop("scaled")
    odd = np.flatnonzero((small > _MOST // packed.unit) | (small < -(_MOST // packed.unit))).tolist()
    sums = {at: int(small[at]) * packed.unit for at in odd} | {at: int.from_bytes(data, "little", signed=True) for at, data in packed.wide.items()}
    small = small * packed.unit
    columns["low"], columns["high"] = small.view(np.uint64), small >> 63
    if sums and not 0 <= min(sums) <= max(sums) < rows:
        return None
    found = RowColumns(packed.generation, packed.upto, packed.customers, packed.meters, columns, {})
    _put_sums(found, sums)
    return found if _is_possible(found) else None


def _put_sums(found: RowColumns, sums: dict[int, int]) -> None:
    for at, scaled in sums.items():
        if not -(1 << 127) <= scaled < 1 << 127:
            found.wide[at] = scaled
            scaled = 0
        found.columns["low"][at], found.columns["high"][at] = scaled & MASK, scaled >> 64


def columns_of(segment: RowSegment) -> RowColumns | None:
    """The columns of version 1; None where a number could not have been written."""
    rows = segment.rows
    try:
        columns: dict[str, NDArray[Any]] = {
            name: np.array([getattr(row, field) for row in rows], np.int64)
            for name, field in _FIELDS
        }
    except OverflowError:
        return None
    if any(len(row.content_hash) != 32 for row in rows):
        return None
    customers, meters = _numbered(row.customer for row in rows), _numbered(row.meter for row in rows)
    columns["customer"] = np.array([customers[row.customer] for row in rows], np.int64)
    columns["meter"] = np.array([meters[row.meter] for row in rows], np.int64)
    columns["own"] = np.array([row.own for row in rows], bool)
    columns["hash"] = np.frombuffer(b"".join(row.content_hash for row in rows), np.uint64).reshape(-1, 4)
    columns["low"], columns["high"] = np.zeros(len(rows), np.uint64), np.zeros(len(rows), np.int64)
    never = columns["emitted_generation"] < 0
    columns["emitted_generation"][never] = columns["emitted_through"][never] = -1
    found = RowColumns(segment.generation, segment.upto, list(customers), list(meters), columns, {})
    _put_sums(found, {at: int.from_bytes(row.scaled, "little", signed=True) for at, row in enumerate(rows)})
    return found if _is_possible(found) else None


_FIELDS: Final = (
    ("start_s", "start_s"), ("end_s", "end_s"), ("events", "events"), ("first_offset", "first_offset"), ("generation", "generation"),
    ("through", "through_offset"), ("emitted_generation", "emitted_generation"), ("emitted_through", "emitted_offset"),
)  # fmt: skip


def _numbered(names: Iterable[str]) -> dict[str, int]:
    found: dict[str, int] = {}
    for name in names:
        found.setdefault(name, len(found))
    return found


def _is_possible(rows: RowColumns) -> bool:
    """False where a number could not have been written: a checksum only says that the bytes are those of the writer."""
    columns = rows.columns
    if not len(rows):
        return True
    least = {name: int(values.min()) for name, values in columns.items()}
    most = {name: int(values.max()) for name, values in columns.items()}
    names = len(set(rows.customers)) == len(rows.customers) and len(set(rows.meters)) == len(rows.meters)
    names = names and 0 <= least["customer"] <= most["customer"] < len(rows.customers) and 0 <= least["meter"] <= most["meter"] < len(rows.meters)
    generations = 0 <= least["generation"] <= most["generation"] <= rows.generation < _GENERATIONS
    emitted = -1 <= least["emitted_generation"] <= most["emitted_generation"] < _GENERATIONS and least["emitted_through"] >= -1
    offsets = min(least["first_offset"], least["through"]) >= 0 and bool((columns["start_s"] < columns["end_s"]).all())
    return names and generations and emitted and offsets and least["events"] > 0
