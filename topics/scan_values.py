"""Where a JSON value ends (RFC 8259): compiled, over bytes, never beyond `end`.

What these say is a value is one; what they cannot be sure of is BAD.
Every function takes the position of a value's first byte (of a string: the one behind its quotation mark) and returns a position or BAD.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from topics.compiled import compiled

Bytes = NDArray[np.uint8]
BYTES: Final = "Array(uint8, 1, 'C', readonly=True)"
BAD: Final = -1
DEPTH: Final = 24
"""Brackets in brackets that are followed; deeper events are rare, and the reference reads them."""
QUOTE, BACKSLASH, COMMA, COLON = 0x22, 0x5C, 0x2C, 0x3A
OPEN_OBJECT, CLOSE_OBJECT, OPEN_LIST, CLOSE_LIST = 0x7B, 0x7D, 0x5B, 0x5D
_ORDINARY: Final = np.array([0x20 <= byte < 0x80 and byte not in (QUOTE, BACKSLASH) for byte in range(256)])
"""Characters that stand for themselves in a string, and are one byte."""
_TRUE: Final = np.frombuffer(b"true", np.uint8)
_FALSE: Final = np.frombuffer(b"false", np.uint8)
_NULL: Final = np.frombuffer(b"null", np.uint8)


@compiled(f"int64({BYTES}, int64, int64)")
def skip_space(buffer: Bytes, at: int, end: int) -> int:
    """The first byte that is no white space, or `end`."""
    while at < end and (buffer[at] == 0x20 or buffer[at] == 0x0A or buffer[at] == 0x0D or buffer[at] == 0x09):
        at += 1
    return at


@compiled(f"boolean({BYTES}, int64, int64, {BYTES}, int64, int64)")
def same(buffer: Bytes, at: int, length: int, other: Bytes, other_at: int, other_length: int) -> bool:
    """True where two stretches are alike."""
    if length != other_length:
        return False
    for index in range(length):  # noqa: SIM110 - compiled as a loop
        if buffer[at + index] != other[other_at + index]:
            return False
    return True


@compiled(f"int64({BYTES}, int64, int64)")
def _character_end(buffer: Bytes, at: int, end: int) -> int:
    """Behind a character of two bytes or more; BAD where it is no UTF-8 (RFC 3629: no overlong form, no surrogate, none above U+10FFFF)."""
    first, low, high = buffer[at], 0x80, 0xBF
    if 0xC2 <= first <= 0xDF:
        count = 1
    elif 0xE0 <= first <= 0xEF:
        count = 2
        low, high = (0xA0 if first == 0xE0 else 0x80), (0x9F if first == 0xED else 0xBF)
    elif 0xF0 <= first <= 0xF4:
        count = 3
        low, high = (0x90 if first == 0xF0 else 0x80), (0x8F if first == 0xF4 else 0xBF)
    else:
        return -1
    if at + count >= end or not low <= buffer[at + 1] <= high:
        return -1
    for index in range(2, count + 1):
        if not 0x80 <= buffer[at + index] <= 0xBF:
            return -1
    return at + count + 1


@compiled("boolean(uint8)")
def _is_hex(byte: int) -> bool:
    return 0x30 <= byte <= 0x39 or 0x41 <= byte <= 0x46 or 0x61 <= byte <= 0x66


@compiled(f"int64({BYTES}, int64, int64)")
def _escape_end(buffer: Bytes, at: int, end: int) -> int:
    """Behind an escape that is one character; surrogates, which must come in pairs, are left to the reference."""
    if at + 1 >= end:
        return -1
    kind = buffer[at + 1]
    if kind == 0x75:
        if at + 6 > end:
            return -1
        for index in range(2, 6):
            if not _is_hex(buffer[at + index]):
                return -1
        if (buffer[at + 2] == 0x64 or buffer[at + 2] == 0x44) and buffer[at + 3] >= 0x38:
            return -1
        return at + 6
    return at + 2 if kind in (QUOTE, BACKSLASH, 0x2F, 0x62, 0x66, 0x6E, 0x72, 0x74) else -1


@compiled(f"int64({BYTES}, int64, int64)")
def _ordinary_end(buffer: Bytes, at: int, end: int) -> Any:
    """The first byte from `at` on that is more or less than one character of a string, or `end`."""
    place, last = np.uint64(at), np.uint64(end)  # unsigned, so that no access asks whether it counts from the end
    while place < last and _ORDINARY[buffer[place]]:
        place += np.uint64(1)
    return place


@compiled(f"int64({BYTES}, int64, int64, boolean)")
def string_end(buffer: Bytes, at: int, end: int, escapes: bool) -> int:
    """The closing quotation mark of a string; `escapes`: whether it may hold any."""
    while at < end:
        at = _ordinary_end(buffer, at, end)
        if at == end:
            return -1
        byte = buffer[at]
        if byte == QUOTE:
            return at
        if byte < 0x20:
            return -1
        if byte == BACKSLASH:
            if not escapes:
                return -1
            at = _escape_end(buffer, at, end)
        else:
            at = _character_end(buffer, at, end)
        if at < 0:
            return -1
    return -1


@compiled(f"int64({BYTES}, int64, int64)")
def digits_end(buffer: Bytes, at: int, end: int) -> int:
    """Behind one digit or more."""
    begin = at
    while at < end and 0x30 <= buffer[at] <= 0x39:
        at += 1
    return at if at > begin else -1


@compiled(f"int64({BYTES}, int64, int64)")
def number_end(buffer: Bytes, at: int, end: int) -> int:
    """Behind a number."""
    if at < end and buffer[at] == 0x2D:
        at += 1
    zero = at < end and buffer[at] == 0x30
    begin, at = at, digits_end(buffer, at, end)
    if at < 0 or (zero and at > begin + 1):
        return -1
    if at < end and buffer[at] == 0x2E:
        at = digits_end(buffer, at + 1, end)
        if at < 0:
            return -1
    if at < end and (buffer[at] == 0x65 or buffer[at] == 0x45):
        at += 1
        if at < end and (buffer[at] == 0x2B or buffer[at] == 0x2D):
            at += 1
        at = digits_end(buffer, at, end)
    return at


@compiled(f"int64({BYTES}, int64, int64)")
def word_end(buffer: Bytes, at: int, end: int) -> int:
    """Behind `true`, `false` or `null`."""
    if at + 4 <= end and (same(buffer, at, 4, _TRUE, 0, 4) or same(buffer, at, 4, _NULL, 0, 4)):
        return at + 4
    return at + 5 if at + 5 <= end and same(buffer, at, 5, _FALSE, 0, 5) else -1


@compiled(f"int64({BYTES}, int64, int64)")
def key_end(buffer: Bytes, at: int, end: int) -> int:
    """The closing quotation mark of a key without escapes; `at` is its opening one."""
    if at >= end or buffer[at] != QUOTE:
        return -1
    return string_end(buffer, at + 1, end, False)


@compiled(f"int64({BYTES}, int64, int64)")
def value_at(buffer: Bytes, at: int, end: int) -> int:
    """From the closing quotation mark of a key to the value that it names, which has a first byte."""
    at += 1
    if at >= end or buffer[at] != COLON:
        at = skip_space(buffer, at, end)
        if at >= end or buffer[at] != COLON:
            return -1
    at = skip_space(buffer, at + 1, end)
    return at if at < end else -1


@compiled(f"int64({BYTES}, int64, int64)")
def _value_of_key(buffer: Bytes, at: int, end: int) -> int:
    """From the opening quotation mark of any key to the value that it names."""
    if at >= end or buffer[at] != QUOTE:
        return -1
    at = string_end(buffer, at + 1, end, True)
    return value_at(buffer, at, end) if at >= 0 else -1


@compiled(f"int64({BYTES}, int64, int64)")
def _plain_end(buffer: Bytes, at: int, end: int) -> int:
    """Behind a value that holds no other."""
    byte = buffer[at]
    if byte == QUOTE:
        at = string_end(buffer, at + 1, end, True)
        return at + 1 if at >= 0 else -1
    if byte == 0x2D or 0x30 <= byte <= 0x39:
        return number_end(buffer, at, end)
    return word_end(buffer, at, end)


@compiled(f"int64({BYTES}, int64, int64, uint64)")
def _item(buffer: Bytes, at: int, end: int, lists: np.uint64) -> int:
    """The next value within brackets: in an object it has a key."""
    return at if lists & np.uint64(1) else _value_of_key(buffer, at, end)


@compiled(f"int64({BYTES}, int64, int64)")
def value_end(buffer: Bytes, at: int, end: int) -> int:
    """Behind any value; BAD also where brackets are nested deeper than DEPTH."""
    lists, depth = np.uint64(0), 0  # a bit for each open bracket: 1 for a list
    while 0 <= at < end:
        byte = buffer[at]
        if byte in (OPEN_OBJECT, OPEN_LIST):
            if depth == DEPTH:
                return -1
            lists, depth = (lists << np.uint64(1)) | np.uint64(byte == OPEN_LIST), depth + 1
            at = skip_space(buffer, at + 1, end)
            if at < end and buffer[at] != byte + 2:
                at = _item(buffer, at, end, lists)
                continue
        else:
            at = _plain_end(buffer, at, end)
            if at < 0:
                return -1
        # What stands behind a value: brackets that close, at last a comma and the next one.
        while depth:
            at = skip_space(buffer, at, end)
            if at >= end or buffer[at] == COMMA:
                break
            if buffer[at] != (CLOSE_LIST if lists & np.uint64(1) else CLOSE_OBJECT):
                return -1
            lists, depth, at = lists >> np.uint64(1), depth - 1, at + 1
        if not depth:
            return at
        at = _item(buffer, skip_space(buffer, at + 1, end), end, lists)
    return -1
