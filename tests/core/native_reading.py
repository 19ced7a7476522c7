"""Blocks in ClickHouse's Native format read back by its rules alone, cell by cell; shares no code with what writes them."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from decimal import Context, Decimal
from itertools import pairwise
from typing import Any

from sinks.clickhouse.raw_block import Piece, raw_block
from sinks.clickhouse.tables import Columns

_NUMBERS = {"UInt8": "B", "Bool": "?", "UInt32": "I", "UInt64": "Q"}
_EXACT = Context(prec=60)


class Reading:
    """A place in a block."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 0

    def take(self, size: int) -> bytes:
        """So many bytes."""
        found = self.data[self.at : self.at + size]
        assert len(found) == size
        self.at += size
        return found

    def varint(self) -> int:
        """A length."""
        found = shift = 0
        while True:
            byte = self.take(1)[0]
            found |= (byte & 0x7F) << shift
            if byte < 0x80:
                return found
            shift += 7

    def string(self) -> bytes:
        """A text with its length."""
        return self.take(self.varint())

    def cells(self, kind: str, count: int) -> list[Any]:
        """So many cells of a type."""
        if kind.startswith("Array("):
            ends = [0, *struct.unpack(f"<{count}Q", self.take(8 * count))]
            flat = self.cells(kind[6:-1], ends[-1])
            return [flat[begin:end] for begin, end in pairwise(ends)]
        if kind == "Nullable(String)":
            nulls = self.take(count)
            return [None if null else found for null, found in zip(nulls, self.cells("String", count), strict=True)]
        if kind == "String":
            return [self.string() for _ in range(count)]
        if kind == "Decimal(38, 12)":
            return [Decimal(int.from_bytes(self.take(16), "little", signed=True)).scaleb(-12, _EXACT) for _ in range(count)]
        code = _NUMBERS.get(kind) or "q"
        return list(struct.unpack(f"<{count}{code}", self.take(struct.calcsize("<" + code) * count)))


def read_block(data: bytes) -> dict[str, list[Any]]:
    """Columns by name."""
    reading = Reading(data)
    columns, rows = reading.varint(), reading.varint()
    found: dict[str, list[Any]] = {}
    for _ in range(columns):
        name, kind = reading.string().decode(), reading.string().decode()
        found[name] = reading.cells(kind, rows)
    assert reading.at == len(data)
    return found


def columns_of_pieces(pieces: Sequence[Piece]) -> Columns:
    """What a store is sent, as columns of `tables.RAW`."""
    found = read_block(raw_block(pieces))
    assert set(found.pop("layout")) <= {1}
    return list(found.values())
