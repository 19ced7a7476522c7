"""Where the records of a fetched answer lie in its bytes: one compiled pass over the whole answer, no object a record.

Kafka's format 2 (KIP-98): a head of 61 bytes, then for each record its length, attributes, time and offset as deltas, key, value and headers,
all numbers in zigzag varints. The pass trusts no byte: whatever lies in the answer, it reads within a batch's own bounds, and what is not
exactly a row of whole records with rising offsets gets no frame. Such a batch, and every batch of an older format, is read by aiokafka's
reader, so what it refuses, and in which words, stays its own. Frames say nothing of checksums or transactions: they are asked for first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from aiokafka import codec
from aiokafka.record.util import decode_varint
from numpy.typing import NDArray

from infra.delivery_headers import readable
from topics.batch import Headers
from topics.compiled import compiled
from topics.spans import Spans

Cells = NDArray[np.int64]

OFFSET, STAMP, KEY, KEY_LENGTH, VALUE, VALUE_LENGTH, HEADERS = range(7)
"""Rows of a table of frames; a column is a record. A key or value that is null has the length -1; `HEADERS` is where the count of its
headers lies, -1 where there are none."""
ROWS: Final = 7
BEGIN, FIRST, COUNT, HEADED, LOWEST, HIGHEST = range(6)
"""Rows of a table of batches: where it begins, its first record's column, how many it has (-1: no frame), how many of them have headers, and
the offsets of its first and last record."""
BATCH_ROWS: Final = 6

NO_FRAME: Final = (0, -1, -1, 0, 0)

FORMAT: Final = 2
CODEC_BITS: Final = 7
LENGTH_AT, FORMAT_AT, LOW_ATTRIBUTES_AT, FIRST_TIME_AT, COUNT_AT, HEAD_BYTES = 8, 16, 22, 27, 57, 61
"""Where the head of a batch has what is read of it; its length counts what lies behind the length."""
LENGTH_END: Final = 12
CODECS: Final[dict[int, Callable[[bytes], bytes]]] = {
    1: codec.gzip_decode,
    2: codec.snappy_decode,
    3: codec.lz4_decode,
    4: codec.zstd_decode,
}
LEAST_RECORD_BYTES: Final = 7
"""A record of nothing: a byte each of length, attributes, two deltas, two lengths and the count of headers."""
LAST_BYTE: Final = 0x80
"""From here on a byte of a varint has one behind it."""
MAX_SHIFT: Final = 56
"""The ninth byte of a varint; a tenth would need a 64th bit, and no number here is that large."""
MAX_DELTA: Final = 2**31 - 1
FAR: Final = 2**60
"""Beyond it neither a time nor an offset is true, and sums could overflow."""

_DATA: Final = 'Array(uint8, 1, "C", readonly=True)'
_CELLS: Final = 'Array(int64, 2, "C")'


@compiled(f"UniTuple(int64, 2)({_DATA}, int64, int64)")
def _varint(data: Any, at: int, end: int) -> tuple[int, int]:
    """The number at `at` and where the next one begins, -1 where it does not end before `end`."""
    found: Any = 0
    shift = 0
    while at < end and shift <= MAX_SHIFT:
        byte = np.int64(data[at])
        at += 1
        found |= (byte & (LAST_BYTE - 1)) << shift
        if byte < LAST_BYTE:
            return (found >> 1) ^ -(found & 1), at
        shift += 7
    return 0, -1


@compiled(f"int64({_DATA}, int64, int64)")
def _behind_headers(data: Any, at: int, end: int) -> int:
    """Where a record's headers end, from their count on; -1 where they do not fit before `end`."""
    count, at = _varint(data, at, end)
    if count < 0:
        return -1
    while count > 0 and at >= 0:
        length, at = _varint(data, at, end)
        if at < 0 or length < 0 or length > end - at:
            return -1
        at += length
        length, at = _varint(data, at, end)
        if at < 0 or length > end - at:
            return -1
        at += max(length, 0)
        count -= 1
    return at


@compiled(f"int64({_DATA}, int64, int64, int64, int64, int64, {_CELLS}, int64)")
def _frame(data: Any, at: int, end: int, count: int, base_offset: int, base_ms: int, frames: Any, first: int) -> int:
    """Frame exactly `count` records that lie from `at` to `end`, into the columns from `first` on.

    Returns how many of them have headers, or -1 where they are not such records; what was written then means nothing.
    """
    if count < 0 or first < 0 or count > frames.shape[1] - first or at < 0 or end > len(data):
        return -1
    if base_offset < 0 or base_offset > FAR or base_ms < -FAR or base_ms > FAR:
        return -1
    before, headed = -1, 0
    for column in range(first, first + count):
        length, at = _varint(data, at, end)
        if at < 0 or length < LEAST_RECORD_BYTES - 1 or length > end - at or data[at] >= LAST_BYTE:
            return -1
        stop = at + length
        delta_ms, at = _varint(data, at + 1, stop)
        if at < 0 or delta_ms > FAR or delta_ms < -FAR:
            return -1
        delta, at = _varint(data, at, stop)
        if at < 0 or delta <= before or delta > MAX_DELTA:
            return -1
        before = delta
        key_length, at = _varint(data, at, stop)
        if at < 0 or key_length > stop - at:
            return -1
        key, at = at, at + max(key_length, 0)
        value_length, at = _varint(data, at, stop)
        if at < 0 or value_length > stop - at:
            return -1
        value, at = at, at + max(value_length, 0)
        headers = -1
        if at >= stop:
            return -1
        if data[at] == 0:
            at += 1
        else:
            headers = at
            headed += 1
            at = _behind_headers(data, at, stop)
        if at != stop:
            return -1
        frames[OFFSET, column] = base_offset + delta
        frames[STAMP, column] = base_ms + delta_ms
        frames[KEY, column] = key
        frames[KEY_LENGTH, column] = max(key_length, -1)
        frames[VALUE, column] = value
        frames[VALUE_LENGTH, column] = max(value_length, -1)
        frames[HEADERS, column] = headers
    return headed if at == end else -1


@compiled(f"int64({_DATA}, int64, int64)")
def _number(data: Any, at: int, size: int) -> int:
    """The signed number of so many bytes that Kafka wrote at `at`."""
    found: Any = np.int64(data[at])
    if found >= LAST_BYTE:
        found -= 2 * LAST_BYTE
    for step in range(1, size):
        found = (found << 8) | np.int64(data[at + step])
    return int(found)


@compiled(f"int64({_DATA}, int64)")
def _end_of(data: Any, at: int) -> int:
    """Where the batch at `at` ends; -1 where none lies there whole."""
    if at < 0 or at + FORMAT_AT >= len(data):
        return -1
    end = at + LENGTH_END + _number(data, at + LENGTH_AT, 4)
    return end if at + FORMAT_AT < end <= len(data) else -1


@compiled(f"int64({_DATA}, int64, int64)")
def _records_of(data: Any, at: int, end: int) -> int:
    """How many records the batch from `at` to `end` may have, as its head says and its bytes allow; -1 where it can have no frame."""
    if end - at < HEAD_BYTES or data[at + FORMAT_AT] != FORMAT or data[at + LOW_ATTRIBUTES_AT] & CODEC_BITS:
        return -1
    count = _number(data, at + COUNT_AT, 4)
    return count if 0 <= count <= (end - at) // LEAST_RECORD_BYTES else -1


@compiled(f"void({_DATA}, int64, int64[::1])")
def _measure(data: Any, at: int, sizes: Any) -> None:
    """How many batches and records lie from `at` on."""
    end = _end_of(data, at)
    while end >= 0:
        sizes[0] += 1
        sizes[1] += max(_records_of(data, at, end), 0)
        at, end = end, _end_of(data, end)


@compiled(f"void({_DATA}, int64, {_CELLS}, {_CELLS})")
def _frame_all(data: Any, at: int, batches: Any, frames: Any) -> None:
    """Frame all that `_measure` found."""
    first = 0
    for number in range(batches.shape[1]):
        end = _end_of(data, at)
        if end < 0:
            return
        count = _records_of(data, at, end)
        headed = -1
        if count >= 0:
            headed = _frame(data, at + HEAD_BYTES, end, count, _number(data, at, 8), _number(data, at + FIRST_TIME_AT, 8), frames, first)
        batches[BEGIN, number] = at
        batches[FIRST, number] = first
        batches[COUNT, number] = count if headed >= 0 else -1
        batches[HEADED, number] = headed
        if headed >= 0 and count > 0:
            batches[LOWEST, number] = frames[OFFSET, first]
            batches[HIGHEST, number] = frames[OFFSET, first + count - 1]
        first += max(count, 0)
        at = end


@dataclass(slots=True)
class Part:
    """Records that lie side by side: columns `begin` to `end` of a table of frames, over `data`."""

    data: bytes
    frames: Cells
    begin: int
    end: int


@dataclass(slots=True)
class Framed(Part):
    """The records of one batch, not looked at yet; `lowest` and `highest` are the offsets of its first and last, where it has any."""

    headed: bool
    lowest: int
    highest: int

    def headers(self, begin: int, end: int) -> Iterator[tuple[int, Headers]]:
        """Column and headers of each record that has some, names as aiokafka reads them, and with `?` for what is no text."""
        for column in (begin + np.flatnonzero(self.frames[HEADERS, begin:end] >= 0)).tolist():
            count, at = decode_varint(self.data, int(self.frames[HEADERS, column]))
            found: list[tuple[str, Any]] = []
            for _ in range(count):
                name, at = self._piece(at)
                value, at = self._piece(at)
                found.append((readable(name or b"").decode(), value))
            if found:
                yield column, found

    def _piece(self, at: int) -> tuple[bytes | None, int]:
        length, at = decode_varint(self.data, at)
        return (None, at) if length < 0 else (self.data[at : at + length], at + length)


class Frames:
    """The frames of the batches of one answer that lie there unpacked."""

    def __init__(self, data: bytes, at: int) -> None:
        self._data = data
        flat, sizes = np.frombuffer(data, np.uint8), np.zeros(2, np.int64)
        _measure(flat, at, sizes)
        batches, self._frames = np.zeros((BATCH_ROWS, sizes[0]), np.int64), np.empty((ROWS, sizes[1]), np.int64)
        _frame_all(flat, at, batches, self._frames)
        self._batches = {begin: rest for begin, *rest in batches.T.tolist()}

    def of(self, at: int) -> Framed | None:
        """The frame of the batch that begins there; None where it has none."""
        first, count, headed, lowest, highest = self._batches.get(at, NO_FRAME)
        return None if count < 0 else Framed(self._data, self._frames, first, first + count, headed > 0, lowest, highest)


def unpacked(batch: Any, data: memoryview) -> Framed | None:
    """A packed batch, unpacked by aiokafka's codecs and framed; None where its reader must say what it makes of it."""
    unpack = CODECS.get(batch.compression_type) if batch.magic == FORMAT else None
    if unpack is None:
        return None
    try:
        plain = bytes(unpack(data[HEAD_BYTES:].tobytes()))
    except Exception:  # noqa: BLE001 - each codec has its own errors; aiokafka's reader meets the same one and says it in its words
        return None
    count = int.from_bytes(data[COUNT_AT:HEAD_BYTES], "big", signed=True)
    if not 0 <= count <= len(plain) // LEAST_RECORD_BYTES:
        return None
    frames = np.empty((ROWS, count), np.int64)
    headed = _frame(np.frombuffer(plain, np.uint8), 0, len(plain), count, batch.base_offset, batch.first_timestamp, frames, 0)
    if headed < 0:
        return None
    lowest, highest = (int(frames[OFFSET, 0]), int(frames[OFFSET, -1])) if count else (0, 0)
    return Framed(plain, frames, 0, count, headed > 0, lowest, highest)


def framed_lists(offsets: Sequence[int], keys: Sequence[bytes | None], values: Sequence[bytes | None]) -> Part:
    """Records that are objects already, as if they had been framed. Their times and headers are read from them."""
    spans, count = Spans.of([*keys, *values]), len(offsets)
    frames = np.full((ROWS, count), -1, np.int64)
    frames[OFFSET] = offsets
    frames[KEY], frames[VALUE] = spans.starts[:count], spans.starts[count:]
    frames[KEY_LENGTH], frames[VALUE_LENGTH] = spans.lengths[:count], spans.lengths[count:]
    return Part(spans.buffer.tobytes(), frames, 0, count)
