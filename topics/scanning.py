"""Events of a batch as columns, read from their bytes without an object each: compiled.

A record is plain here where its value is one JSON object of ordinary size with the fields of a CloudEvent (`topics.event`), each once and written
without escapes, and its key is the subject. Only then do its columns mean anything. Whatever else it is, the reference says.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from topics.compiled import compiled
from topics.scan_times import instant_us
from topics.scan_values import (
    BYTES,
    CLOSE_OBJECT,
    COMMA,
    OPEN_OBJECT,
    QUOTE,
    Bytes,
    key_end,
    number_end,
    same,
    skip_space,
    string_end,
    value_at,
    value_end,
)  # fmt: skip

I64 = NDArray[np.int64]
Mask = NDArray[np.bool_]
MAX_PLAIN_BYTES: Final = 64 * 1024
"""A plain record, its key or its headers are far smaller; larger ones go to the reference, where sizes are counted exactly."""
# What a value is.
MISSING, NUMBER, TEXT, TRUE, FALSE, OTHER = range(6)
# Columns of spans (position, length): those of a record's fields, and `data`'s come behind them.
ID, SOURCE, TYPE, SUBJECT, TIME = range(5)
HEADS: Final = 5
_VERSION, _DATA, _UNKNOWN = 5, 6, 7
_MEMBERS: Final = np.frombuffer(b"idsourcetypesubjecttimespecversiondata", np.uint8)
_STARTS: Final = np.array([0, 2, 8, 12, 19, 23, 34], np.int64)
_OF_LENGTH: Final = np.array([7, 7, ID, 7, _DATA, 7, SOURCE, SUBJECT, 7, 7, 7, _VERSION], np.int64)
"""Which field has a name of so many bytes; three have four."""
_REQUIRED: Final = 1 << ID | 1 << SOURCE | 1 << TYPE | 1 << SUBJECT | 1 << _VERSION
_ONE_POINT_ZERO: Final = np.frombuffer(b'"1.0"', np.uint8)
_SPANS: Final = "Array(int64, 2, 'C')"
_INTS: Final = "Array(int64, 1, 'C', readonly=True)"


@compiled(f"int64({BYTES}, int64, int64)")
def _member(buffer: Bytes, at: int, length: int) -> int:
    """Which of a CloudEvent's fields a key names."""
    if length > 11:
        return _UNKNOWN
    member: int = _OF_LENGTH[length]
    if length == 4 and buffer[at] != 0x64:
        member = TIME if buffer[at + 1] == 0x69 else TYPE
    if member < _UNKNOWN and same(buffer, at, length, _MEMBERS, _STARTS[member], length):
        return member
    return _UNKNOWN


@compiled(f"int64({BYTES}, int64, int64, {BYTES}, {_INTS})")
def _field(buffer: Bytes, at: int, length: int, names: Bytes, ends: I64) -> int:
    """Which of the wanted names of `data` a key is; their number where it is none."""
    begin = 0
    for field in range(len(ends)):
        if length == ends[field] - begin and same(buffer, at, length, names, begin, length):
            return field
        begin = ends[field]
    return len(ends)


@compiled(f"int64({BYTES}, int64, int64, Array(int64, 1, 'C'), int64)")
def _wanted(buffer: Bytes, at: int, end: int, row: I64, place: int) -> int:
    """Behind a value that is wanted: writes its kind, position and length. Text with escapes is BAD: its bytes are not what it says."""
    first = buffer[at]
    if first == QUOTE:
        stop = string_end(buffer, at + 1, end, False)
        if stop < 0:
            return -1
        row[place], row[place + 1], row[place + 2] = TEXT, at + 1, stop - at - 1
        return stop + 1
    if first == 0x2D or 0x30 <= first <= 0x39:
        stop = number_end(buffer, at, end)
        if stop == at + 2 and first == 0x2D and buffer[at + 1] == 0x30:
            return -1  # −0: what it equals is not for here to say
        row[place] = NUMBER
    else:
        stop = value_end(buffer, at, end)
        row[place] = TRUE if first == 0x74 else (FALSE if first == 0x66 else OTHER)
    row[place + 1], row[place + 2] = at, stop - at
    return stop


@compiled(f"int64({BYTES}, int64, int64, {BYTES}, {_INTS}, Array(int64, 1, 'C'))")
def _data(buffer: Bytes, at: int, end: int, names: Bytes, ends: I64, row: I64) -> int:
    """Behind `data`; writes what is wanted of it, where it is an object."""
    if buffer[at] != OPEN_OBJECT or not len(ends):
        return value_end(buffer, at, end)
    at = skip_space(buffer, at + 1, end)
    if at < end and buffer[at] == CLOSE_OBJECT:
        return at + 1
    while True:
        stop = key_end(buffer, at, end)
        if stop < 0:
            return -1
        place = 3 * _field(buffer, at + 1, stop - at - 1, names, ends)
        at = value_at(buffer, stop, end)
        if at < 0:
            return -1
        if place == 3 * len(ends):
            at = value_end(buffer, at, end)
        elif row[place] != MISSING:
            return -1  # twice: which one counts is not for here to say
        else:
            at = _wanted(buffer, at, end, row, place)
        if at < 0:
            return -1
        at = skip_space(buffer, at, end)
        if at >= end or buffer[at] == CLOSE_OBJECT:
            return at + 1 if at < end else -1
        if buffer[at] != COMMA:
            return -1
        at = skip_space(buffer, at + 1, end)


@compiled(f"int64({BYTES}, int64, int64, int64, Array(int64, 1, 'C'))")
def _head(buffer: Bytes, at: int, end: int, member: int, row: I64) -> int:
    """Behind one of a CloudEvent's own fields; writes where its text lies."""
    if member == _VERSION:
        return at + 5 if at + 5 <= end and same(buffer, at, 5, _ONE_POINT_ZERO, 0, 5) else -1
    if buffer[at] != QUOTE:
        return value_end(buffer, at, end) if member == TIME and buffer[at] == 0x6E else -1
    stop = string_end(buffer, at + 1, end, False)
    if stop < 0 or (stop == at + 1 and member != TIME):
        return -1
    row[2 * member], row[2 * member + 1] = at + 1, stop - at - 1
    return stop + 1


@compiled(f"boolean({BYTES}, int64, int64, {BYTES}, {_INTS}, Array(int64, 1, 'C'), Array(int64, 1, 'C'))")
def _event(buffer: Bytes, at: int, end: int, names: Bytes, ends: I64, head: I64, row: I64) -> bool:
    """Reads one value; True where it is plain."""
    at, seen = skip_space(buffer, at, end), 0
    if at >= end or buffer[at] != OPEN_OBJECT:
        return False
    while at < end and (buffer[at] == COMMA or not seen):
        key = skip_space(buffer, at + 1, end)
        stop = key_end(buffer, key, end)
        if stop < 0:
            return False
        member = _member(buffer, key + 1, stop - key - 1)
        at = value_at(buffer, stop, end)
        if at < 0:
            return False
        if member == _UNKNOWN:
            at = value_end(buffer, at, end)
            seen |= 1 << _UNKNOWN
        elif seen >> member & 1:
            return False  # twice
        else:
            seen |= 1 << member
            at = _data(buffer, at, end, names, ends, row) if member == _DATA else _head(buffer, at, end, member, head)
        if at < 0:
            return False
        at = skip_space(buffer, at, end)
    if at >= end or buffer[at] != CLOSE_OBJECT or seen & _REQUIRED != _REQUIRED:
        return False
    return skip_space(buffer, at + 1, end) == end


@compiled(
    f"void({BYTES}, {_INTS}, {_INTS}, {BYTES}, {_INTS}, {_INTS}, {BYTES}, {_INTS}, {_SPANS}, {_SPANS}, "
    "Array(int64, 1, 'C'), Array(boolean, 1, 'C'))"
)
def scan(
    values: Bytes, starts: I64, lengths: I64, keys: Bytes, key_starts: I64, key_lengths: I64,
    names: Bytes, name_ends: I64, heads: I64, fields: I64, instants: I64, plain: Mask,
) -> None:  # fmt: skip
    """Read records (a length below 0: no bytes). `names` are the wanted fields of `data`, one after the other, each up to its end.

    Writes for each plain record its `heads` (position and length of each of HEADS fields, the time's length 0 where it has none), `fields` (kind,
    position and length of each wanted one; MISSING at the start), and its instant in µs, UNSURE where the time must be asked for; and `plain`.
    """
    for index in range(len(starts)):
        at, length, key_length = starts[index], lengths[index], key_lengths[index]
        good = 0 < length <= MAX_PLAIN_BYTES and 0 < key_length <= MAX_PLAIN_BYTES
        head = heads[index]
        good = good and _event(values, at, at + length, names, name_ends, head, fields[index])
        good = good and same(values, head[2 * SUBJECT], head[2 * SUBJECT + 1], keys, key_starts[index], key_length)
        if good:
            instants[index] = instant_us(values, head[2 * TIME], head[2 * TIME + 1])
        plain[index] = good
