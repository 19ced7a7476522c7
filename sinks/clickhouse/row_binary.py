"""Reads ClickHouse's RowBinary: one row after the other, numbers little-endian, strings as a varint length and bytes. Pure.

For answers of few rows, where the driver's own reader, made for large columns, takes longer than the engine.
"""

from __future__ import annotations

import struct
from typing import Any, Final

from topics.errors import TidemarkError

MOST_SHIFT: Final = 63
"""Of a varint: the tenth byte's."""


class CutShort(TidemarkError):
    """An answer that is not what was asked for, or not all of it."""


class Cells:
    """Walks through an answer; what reaches past its end raises CutShort."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    @property
    def is_over(self) -> bool:
        """Whether all was read."""
        return self._at == len(self._data)

    def numbers(self, layout: struct.Struct) -> tuple[Any, ...]:
        """Some cells of fixed width."""
        end = self._at + layout.size
        if end > len(self._data):
            raise CutShort("the answer ends inside of a row")
        found = layout.unpack_from(self._data, self._at)
        self._at = end
        return found

    def text(self) -> bytes:
        """A String, or a LowCardinality(String), which is written alike."""
        begin = self._at + 1
        length = self._data[self._at] if begin <= len(self._data) else 0x80
        if length > 0x7F:
            length, begin = self._long()
        end = begin + length
        if end > len(self._data):
            raise CutShort("the answer ends inside of a string")
        self._at = end
        return self._data[begin:end]

    def count(self) -> int:
        """How many elements of an array follow."""
        length = self._data[self._at] if self._at < len(self._data) else 0x80
        if length > 0x7F:
            length, self._at = self._long()
        else:
            self._at += 1
        return length

    def skip(self, width: int, count: int) -> None:
        """Passes over some cells of fixed width."""
        self._at += width * count
        if self._at > len(self._data):
            raise CutShort("the answer ends inside of an array")

    def _long(self) -> tuple[int, int]:
        """A varint of any length, and where it ends."""
        number, at = 0, self._at
        for shift in range(0, MOST_SHIFT + 1, 7):
            if at >= len(self._data):
                break
            byte = self._data[at]
            at += 1
            number |= (byte & 0x7F) << shift
            if byte < 0x80:
                return number, at
        raise CutShort("the answer ends inside of a length")
