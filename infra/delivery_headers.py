"""Header names that are no UTF-8: Kafka takes any bytes for a name, aiokafka's reader raises, and a partition would stand still for ever.

One record of one careless producer must not stop the billing of all (facts of aiokafka 0.14: `_read_msg` decodes strictly, in C as in Python).
A batch is read by aiokafka's fast reader; only where that fails are the bytes of such names replaced by `?`, and the batch is read again.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from aiokafka.consumer import fetcher
from aiokafka.record.default_records import DefaultRecordBatch, _DefaultRecordBatchPy
from aiokafka.record.memory_records import _MemoryRecordsPy
from aiokafka.record.util import decode_varint

from infra.checksum import is_whole

_HIGHEST_ASCII: Final = 127


def read_any_header_name() -> None:
    """Let every consumer of this process read such batches."""
    fetcher.MemoryRecords = MendingRecords


class MendingRecords(_MemoryRecordsPy):
    """What a fetch brought, as aiokafka reads it."""

    def next_batch(self, *unused: Any) -> Any:
        """The next batch, or None."""
        data = self._next_slice
        batch = super().next_batch()
        return MendingBatch(batch, data) if isinstance(batch, DefaultRecordBatch) else batch


class MendingBatch:
    """A batch that reads as aiokafka's own does, and once more with mended names where that fails."""

    def __init__(self, batch: Any, data: Any) -> None:
        self.plain = batch
        """aiokafka's own: its records can be read once, and reading them raises UnicodeDecodeError at such a name."""
        self._data = data

    def __getattr__(self, name: str) -> Any:
        return getattr(self.plain, name)

    def __iter__(self) -> Iterator[Any]:
        try:
            return iter(list(self.plain))
        except UnicodeDecodeError:
            return self.mended()

    def __next__(self) -> Any:
        return next(self.plain)

    def validate_crc(self) -> bool:
        """Whether the batch is as its producer or the broker wrote it."""
        return is_whole(self._data)

    def mended(self) -> Iterator[Any]:
        """All records from the beginning, names mended."""
        mended = _DefaultRecordBatchPy(self._data)
        mended._maybe_uncompress()
        mend_names(mended._buffer, mended._pos, mended._num_records)
        return iter(mended)


def mend_names(buffer: bytearray, position: int, records: int) -> None:
    """Replace in place, byte by byte, what is no ASCII in header names that are no UTF-8. `buffer` holds records of format 2, uncompressed."""
    for _ in range(records):
        length, start = decode_varint(buffer, position)
        position = start
        for _ in range(3):  # attributes, deltas of time and offset
            _, position = decode_varint(buffer, position)
        size, position = decode_varint(buffer, position)
        position += max(size, 0)
        size, position = decode_varint(buffer, position)
        position += max(size, 0)
        headers, position = decode_varint(buffer, position)
        for _ in range(headers):
            size, position = decode_varint(buffer, position)
            buffer[position : position + size] = _mended(bytes(buffer[position : position + size]))
            position += size
            size, position = decode_varint(buffer, position)
            position += max(size, 0)
        position = start + length


def _mended(name: bytes) -> bytes:
    try:
        name.decode()
    except UnicodeDecodeError:
        return bytes(byte if byte <= _HIGHEST_ASCII else ord("?") for byte in name)
    return name
