"""A block of rows in ClickHouse's Native format, for the one table where the cost of writing it counts. Pure.

The driver's own writer goes through every cell of every column; here a column is one join of lists of cells, or one compiled pass over spans of
bytes. What is written of some rows (`Cells`, one a column) is joined into a block with what is written of others.
`tests/contract/test_archive_shorter_rows.py` reads back what it writes.

Format (revision 0, as over HTTP): number of columns and of rows as varints; for each column its name, its type, its data. Strings are a
varint length and bytes; arrays are their cumulated ends as UInt64, then all elements; Nullable is a byte for each cell before the cells.
"""

from __future__ import annotations

import sys
from array import array
from collections.abc import Callable, Iterator, Sequence
from decimal import Decimal
from itertools import chain
from typing import Any, Final, NamedTuple

import numpy as np
from numpy import uint64
from numpy.typing import NDArray

from sinks.clickhouse.bounds import scaled_of
from topics.compiled import compiled

I64 = NDArray[np.int64]
U8 = NDArray[np.uint8]
_BYTES: Final = 'Array(uint8, 1, "C", readonly=True)'
_INTS: Final = 'Array(int64, 1, "C", readonly=True)'
_LONGEST_VARINT: Final = 10


def varint(number: int) -> bytes:
    """LEB128, as lengths are written."""
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


_LENGTHS: Final = [varint(length) for length in range(1 << 12)]
"""Lengths of nearly all strings, written once."""


class Cells(NamedTuple):
    """Cells of one column as written: `parts`, each of which goes on in the same part of the rows behind. `ends`: of arrays, how many elements there
    are up to the end of each; their parts are those of the elements."""

    parts: tuple[Any, ...]
    ends: I64 | None = None


def block(columns: Sequence[tuple[str, str, Sequence[Any]]]) -> bytes:
    """Columns of equal length as (name, type, cells)."""
    rows = len(columns[0][2])
    for name, _, cells in columns:
        if len(cells) != rows:
            raise ValueError(f"column {name} has {len(cells)} cells, not {rows}")
    return joined([(name, kind) for name, kind, _ in columns], [[written(kind, cells) for _, kind, cells in columns]], rows)


def joined(columns: Sequence[tuple[str, str]], pieces: Sequence[Sequence[Cells]], rows: int) -> bytes:
    """The block of these columns, (name, type) each, with the rows of all pieces one behind the other."""
    out: list[Any] = [varint(len(columns)), varint(rows)]
    for at, (name, kind) in enumerate(columns):
        found = [piece[at] for piece in pieces]
        out += (_string(name.encode()), _string(kind.encode()), *_ends(found))
        for parts in zip(*(cells.parts for cells in found if cells.parts), strict=True):
            out += parts
    return b"".join(out)


def _ends(found: Sequence[Cells]) -> Iterator[bytes]:
    before = 0
    for cells in found:
        if cells.ends is not None and len(cells.ends):
            yield (cells.ends + before).astype("<u8").tobytes()
            before += int(cells.ends[-1])


def written(kind: str, cells: Sequence[Any]) -> Cells:
    """Cells of a type that `tables.RAW` has."""
    element = kind.removeprefix("Array(").removesuffix(")") if kind.startswith("Array(") else None
    if element is None:
        return Cells((_WRITERS[kind](cells),))
    flat = list(chain.from_iterable(cells))
    parts = _nullable_strings(flat) if element == _NULLABLE else (_WRITERS[element](flat),)
    return arrays(np.cumsum(np.fromiter(map(len, cells), np.int64, len(cells))), parts)


def arrays(ends: I64, elements: tuple[Any, ...] | Cells) -> Cells:
    """Cells that are arrays."""
    return Cells(elements.parts if isinstance(elements, Cells) else elements, ends)


def alike(cell: bytes, count: int) -> Cells:
    """So many times the same cell, as it is written."""
    return Cells((cell * count,))


def numbers(cells: NDArray[Any]) -> Cells:
    """Numbers of as many bits as their column has, or of twice 64 bits, low half first."""
    return Cells((cells.astype(cells.dtype.newbyteorder("<"), copy=False).tobytes(),))


def strings_within(data: U8, starts: I64, lengths: I64) -> Cells:
    """Stretches of one buffer, which lie within it; a length below 0 is written as 0."""
    size = int(np.maximum(lengths, 0).sum()) + _LONGEST_VARINT * len(starts)
    out = np.empty(size, np.uint8)
    return Cells((out[: _write_strings(data, starts, lengths, out)],))


@compiled(f"int64({_BYTES}, {_INTS}, {_INTS}, uint8[::1])")
def _write_strings(data: U8, starts: I64, lengths: I64, out: U8) -> Any:
    """There is room for all. Returns how many bytes were written."""
    at = uint64(0)
    for row in range(uint64(len(starts))):
        length, begin = uint64(max(lengths[row], 0)), uint64(starts[row])
        left = length
        while left > uint64(0x7F):
            out[at] = (left & uint64(0x7F)) | uint64(0x80)
            left >>= uint64(7)
            at += uint64(1)
        out[at] = left
        at += uint64(1)
        for place in range(length):
            out[at + place] = data[begin + place]
        at += length
    return at


def _string(data: bytes) -> bytes:
    return varint(len(data)) + data


class _Written(dict[bytes, bytes]):
    """Strings of one column as written."""

    def __missing__(self, cell: bytes) -> bytes:
        found = self[cell] = _string(cell)
        return found


_SAMPLE: Final = 2_048
"""Cells that are looked at to see whether a column says the same few strings again and again, as customers and sources do; a twentieth of a block."""


def strings(cells: Sequence[bytes]) -> bytes:
    """Cells of a String column, quickest where all are alike, of one length (ids), or few that come again and again."""
    if not cells:
        return b""
    if cells.count(cells[0]) == len(cells):
        return _string(cells[0]) * len(cells)
    sizes = list(map(len, cells))
    if sizes.count(sizes[0]) == len(sizes):
        length = varint(sizes[0])
        return length + length.join(cells)
    sample = cells[:_SAMPLE]
    if len(set(sample)) * 2 <= len(sample):
        return b"".join(map(_Written().__getitem__, cells))
    try:
        return b"".join(chain.from_iterable(zip(map(_LENGTHS.__getitem__, sizes), cells, strict=True)))
    except IndexError:
        return b"".join(map(_string, cells))


def _integers(code: str) -> Callable[[Sequence[int]], bytes]:
    def write(cells: Sequence[int]) -> bytes:
        found = array(code, cells)
        if sys.byteorder == "big":
            found.byteswap()
        return found.tobytes()

    return write


_int64, _uint64 = _integers("q"), _integers("Q")
_SCALED: Final[dict[Decimal, bytes]] = {}
_MEMO_LIMIT: Final = 1 << 16
"""Quantities remembered as written; a busy meter's are nearly all small whole numbers."""


def _decimal(value: Decimal) -> bytes:
    if len(_SCALED) >= _MEMO_LIMIT:
        _SCALED.clear()
    found = _SCALED[value] = scaled_of(value).to_bytes(16, "little", signed=True)
    return found


def decimals(cells: Sequence[Decimal]) -> bytes:
    """Cells of a Decimal(38, 12) column: the value × 10¹² as 128 bits."""
    known = _SCALED.get
    return b"".join([known(value) or _decimal(value) for value in cells])


def _nullable_strings(cells: Sequence[bytes | None]) -> tuple[bytes, bytes]:
    """Which of them are null, then all of them."""
    return bytes([cell is None for cell in cells]), strings([cell or b"" for cell in cells])


_NULLABLE: Final = "Nullable(String)"
_DATE: Final = "DateTime64({}, 'UTC')"
_WRITERS: Final[dict[str, Callable[[Sequence[Any]], bytes]]] = {
    "String": strings,
    "Bool": bytes,
    "UInt8": bytes,
    "UInt32": _integers("I"),
    "UInt64": _uint64,
    **{_DATE.format(places): _int64 for places in (0, 3, 6)},
    "Decimal(38, 12)": decimals,
}
"""How cells of each type are written, and elements of arrays of it.
LowCardinality columns are sent as what they hold; the engine makes their dictionary anyway."""
