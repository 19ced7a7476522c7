"""RFC 3339 instants in their common forms: compiled.

`2026-11-03T10:00:05[.123456]` with `Z` or an offset of hours and minutes. All else is UNSURE, and `topics.instants.parse_us`, which says what a
text means, is asked.
"""

from __future__ import annotations

from typing import Final

from topics.compiled import compiled
from topics.scan_values import BYTES, Bytes

UNSURE: Final = -(1 << 62)
_SECOND: Final = 19
"""Characters up to the whole second."""
_US_PER_S: Final = 1_000_000


@compiled(f"int64({BYTES}, int64, int64)")
def _number(buffer: Bytes, at: int, count: int) -> int:
    """A number of so many digits; far below zero where one of them is none."""
    found = 0
    for index in range(count):
        digit = buffer[at + index] - 0x30
        found = found * 10 + (digit if 0 <= digit <= 9 else -1_000_000)
    return found


@compiled("int64(int64, int64, int64)")
def _days(year: int, month: int, day: int) -> int:
    """Days since 1970 of a date of the years 1 to 9999; UNSURE where there is no such day."""
    if not (1 <= year <= 9999 and 1 <= month <= 12):
        return UNSURE
    leap = year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
    longest = 30 + (month + (month >> 3)) % 2
    if month == 2:
        longest = 29 if leap else 28
    if not 1 <= day <= longest:
        return UNSURE
    # A year that begins in March has its odd day last: 153 days are five months.
    year -= 1 if month <= 2 else 0
    of_year = (153 * ((month + 9) % 12) + 2) // 5 + day - 1
    return year * 365 + year // 4 - year // 100 + year // 400 + of_year - 719_468


@compiled(f"int64({BYTES}, int64, int64)")
def _zone_s(buffer: Bytes, at: int, length: int) -> int:
    """Seconds that a zone is ahead of UTC."""
    if length == 1:
        return 0 if buffer[at] == 0x5A else UNSURE
    if length != 6 or buffer[at + 3] != 0x3A or (buffer[at] != 0x2B and buffer[at] != 0x2D):
        return UNSURE
    hours, minutes = _number(buffer, at + 1, 2), _number(buffer, at + 4, 2)
    if not (0 <= hours <= 23 and 0 <= minutes <= 59):
        return UNSURE
    ahead = hours * 3600 + minutes * 60
    return ahead if buffer[at] == 0x2B else -ahead


@compiled(f"int64({BYTES}, int64, int64)")
def instant_us(buffer: Bytes, at: int, length: int) -> int:
    """Microseconds since 1970 UTC, or UNSURE."""
    if length < _SECOND + 1:
        return UNSURE
    marks = buffer[at + 4] == 0x2D and buffer[at + 7] == 0x2D and buffer[at + 10] == 0x54 and buffer[at + 13] == 0x3A and buffer[at + 16] == 0x3A
    days = _days(_number(buffer, at, 4), _number(buffer, at + 5, 2), _number(buffer, at + 8, 2))
    hour, minute, second = _number(buffer, at + 11, 2), _number(buffer, at + 14, 2), _number(buffer, at + 17, 2)
    if not marks or days == UNSURE or not (0 <= hour <= 23 and 0 <= minute <= 59 and 0 <= second <= 59):
        return UNSURE
    fraction_us, end = 0, _SECOND
    if buffer[at + _SECOND] == 0x2E:
        end += 1
        while end < length and 0x30 <= buffer[at + end] <= 0x39:
            if end < _SECOND + 7:  # beyond the microsecond digits are cut
                fraction_us = fraction_us * 10 + (buffer[at + end] - 0x30)
            end += 1
        if end == _SECOND + 1:
            return UNSURE
        for _ in range(end, _SECOND + 7):
            fraction_us *= 10
    zone_s = _zone_s(buffer, at + end, length - end)
    if zone_s == UNSURE:
        return UNSURE
    return (days * 86_400 + hour * 3600 + minute * 60 + second - zone_s) * _US_PER_S + fraction_us
