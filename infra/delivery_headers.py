"""Header names that are no UTF-8: Kafka takes any bytes for a name, aiokafka's reader raises, and a partition would stand still for ever.

One record of one careless producer must not stop the billing of all (facts of aiokafka 0.14: `_read_msg` decodes strictly, in C as in Python).
A batch is read by aiokafka's fast reader; only where that fails are the bytes of such names replaced by `?`, and the batch is read again.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from aiokafka.consumer import fetcher
from aiokafka.errors import CorruptRecordException
from aiokafka.record.default_records import DefaultRecordBatch, _DefaultRecordBatchPy
from aiokafka.record.memory_records import _MemoryRecordsPy
from aiokafka.record.util import decode_varint_py

from infra.checksum import is_whole

_HIGHEST_ASCII: Final = 127


def read_any_header_name() -> None:
    """Let every consumer of this process read such batches."""
    fetcher.MemoryRecords = MendingRecords


class MendingRecords(_MemoryRecordsPy):
    """What a fetch brought, as aiokafka reads it."""

    def next_batch(self, *unused: Any) -> Any:
        """The next batch, or None."""
        data, begin = self._next_slice, self.begin()
        batch = super().next_batch()
        return MendingBatch(batch, data, begin) if isinstance(batch, DefaultRecordBatch) else batch

    def begin(self) -> int:
        """Where the next batch begins in the answer."""
        begin: int = self._pos - len(self._next_slice or b"")
        return begin

    def answer(self) -> bytes:
        """All of what the fetch brought."""
        return bytes(self._buffer)  # which is no copy of what is bytes already


class MendingBatch:
    """A batch that reads as aiokafka's own does, and once more with mended names where that fails."""

    def __init__(self, batch: Any, data: Any, begin: int) -> None:
        self.plain = batch
        """aiokafka's own: its records can be read once, and reading them raises UnicodeDecodeError at such a name."""
        self.data = data
        """Its bytes; `begin` is where they lie in what the fetch brought."""
        self.begin = begin

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
        return is_whole(self.data)

    def mended(self) -> Iterator[Any]:
        """All records from the beginning, names mended."""
        mended = _DefaultRecordBatchPy(self.data)
        mended._maybe_uncompress()
        mend_names(mended._buffer, mended._pos, mended._num_records)
        return iter(mended)


def mend_names(buffer: bytearray, position: int, records: int) -> None:
    """Replace in place, byte by byte, what is no ASCII in header names that are no UTF-8. `buffer` holds records of format 2, uncompressed.

    Raises CorruptRecordException where they are not whole records: what reads them next looks at no bound.
    """
    try:
        for _ in range(records):
            position = _mend_record(buffer, position)
    except (IndexError, ValueError) as error:
        raise CorruptRecordException(f"Found invalid record structure: {error!r}") from error


def _mend_record(buffer: bytearray, position: int) -> int:
    length, start = decode_varint_py(buffer, position)
    position = start
    for _ in range(3):  # attributes, deltas of time and offset
        _, position = decode_varint_py(buffer, position)
    for _ in range(2):  # key, value
        _, position = _piece(buffer, position)
    headers, position = decode_varint_py(buffer, position)
    if headers < 0:
        raise ValueError(f"{headers} headers")
    for _ in range(headers):
        begin, position = _piece(buffer, position)
        buffer[begin:position] = readable(bytes(buffer[begin:position]))
        _, position = _piece(buffer, position)
    if position != start + length:
        raise ValueError(f"a record of {length} bytes has {position - start}")
    return position


def _piece(buffer: bytearray, position: int) -> tuple[int, int]:
    """Where bytes that say their length begin and end."""
    size, begin = decode_varint_py(buffer, position)
    end = begin + max(size, 0)
    if end > len(buffer):
        raise IndexError(f"{size} bytes at {begin} of {len(buffer)}")
    return begin, end


def readable(name: bytes) -> bytes:
    """The name, with `?` for each byte that is no ASCII where it is no UTF-8."""
    try:
        name.decode()
    except UnicodeDecodeError:
        return bytes(byte if byte <= _HIGHEST_ASCII else ord("?") for byte in name)
    return name
