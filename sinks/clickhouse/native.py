"""A block of rows in ClickHouse's Native format, for the one table where the cost of writing it counts. Pure.

The driver's own writer goes through every cell of every column; here a column is one join, and one whose cells are all the same, or whose
arrays are all empty, is a few bytes repeated. `tests/contract/test_archive_shorter_rows.py` reads back what it writes.

Format (revision 0, as over HTTP): number of columns and of rows as varints; for each column its name, its type, its data. Strings are a
varint length and bytes; arrays are their cumulated ends as UInt64, then all elements; Nullable is a byte for each cell before the cells.
"""

from __future__ import annotations

import sys
from array import array
from collections.abc import Callable, Sequence
from decimal import Decimal
from itertools import accumulate, chain
from typing import Any, Final

from sinks.clickhouse.bounds import scaled_of


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


def block(columns: Sequence[tuple[str, str, Sequence[Any]]]) -> bytes:
    """Columns of equal length as (name, type, cells)."""
    rows = len(columns[0][2])
    parts = [varint(len(columns)), varint(rows)]
    for name, kind, cells in columns:
        if len(cells) != rows:
            raise ValueError(f"column {name} has {len(cells)} cells, not {rows}")
        parts += (_string(name.encode()), _string(kind.encode()), _WRITERS[kind](cells))
    return b"".join(parts)


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


def _arrays(write: Callable[[Sequence[Any]], bytes]) -> Callable[[Sequence[Sequence[Any]]], bytes]:
    def write_all(cells: Sequence[Sequence[Any]]) -> bytes:
        if cells and not cells[0] and cells.count(cells[0]) == len(cells):
            return bytes(8 * len(cells))
        flat = list(chain.from_iterable(cells))
        # As many elements as arrays, and none of these empty: one in each.
        is_single = len(flat) == len(cells) and all(cells)
        return _uint64(array("Q", range(1, len(cells) + 1) if is_single else accumulate(map(len, cells)))) + write(flat)

    return write_all


def _nullable_strings(cells: Sequence[bytes | None]) -> bytes:
    return bytes([cell is None for cell in cells]) + strings([cell or b"" for cell in cells])


_DATE: Final = "DateTime64({}, 'UTC')"
_WRITERS: Final[dict[str, Callable[[Sequence[Any]], bytes]]] = {
    "String": strings,
    "Bool": bytes,
    "UInt8": bytes,
    "UInt32": _integers("I"),
    "UInt64": _uint64,
    **{_DATE.format(places): _int64 for places in (0, 3, 6)},
    "Array(String)": _arrays(strings),
    "Array(Nullable(String))": _arrays(_nullable_strings),
    "Array(Decimal(38, 12))": _arrays(decimals),
    _DATE.format(0).join(("Array(", ")")): _arrays(_int64),
}
"""How each type is written. LowCardinality columns are sent as what they hold; the engine makes their dictionary anyway."""
