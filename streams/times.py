"""Times of a whole batch to microseconds, column by column. What a text means is said by `topics.instants.parse_us`; here the common forms,
`2026-11-03T10:00:05[.123456]` with `Z` or `+00:00`, are read for all records at once, and every other text goes there by itself.
"""

from __future__ import annotations

from datetime import date
from typing import Final

import numpy as np
from numpy.typing import NDArray

from topics.instants import EPOCH, US_PER_S, parse_us

I64 = NDArray[np.int64]
_EPOCH_DAY: Final = EPOCH.toordinal()
_SECOND: Final = 19
"""Characters up to the whole second."""
_DIGITS: Final = (0, 1, 2, 3, 5, 6, 8, 9, 11, 12, 14, 15, 17, 18)
_MARKS: Final = ((4, "-"), (7, "-"), (10, "T"), (13, ":"), (16, ":"))
_TEN: Final = np.uint8(10)
_FEW: Final = 20
"""Up to so many texts it is faster to read each by itself (4 µs) than to begin with columns (80 µs)."""
_NO_DAY: Final = -(1 << 40)


def instants_us(texts: list[str]) -> tuple[I64, list[int]]:
    """Microseconds since 1970 UTC of each text, and the positions of those that are no instant (their number means nothing)."""
    found = np.zeros(len(texts), np.int64)
    faults: list[int] = []
    lengths = set(map(len, texts))
    if len(lengths) == 1:
        _read(texts, range(len(texts)), found, faults)
        return found, faults
    places: dict[int, list[int]] = {length: [] for length in lengths}
    for place, text in enumerate(texts):
        places[len(text)].append(place)
    for where in places.values():
        _read([texts[place] for place in where], where, found, faults)
    return found, faults


def _read(texts: list[str], places: range | list[int], found: I64, faults: list[int]) -> None:
    """Texts of one length, which stand at these places of `found`."""
    if len(texts) <= _FEW:
        good = np.zeros(len(texts), np.bool_)
    else:
        instants, good = _common(texts)
        found[places if isinstance(places, list) else slice(None)] = instants
    for index in np.flatnonzero(~good).tolist():
        instant_us = parse_us(texts[index])
        if instant_us is None:
            faults.append(places[index])
        else:
            found[places[index]] = instant_us


def _common(texts: list[str]) -> tuple[I64, NDArray[np.bool_]]:
    """Instants of texts of one length in the form of the first one; False where a text has another form, or is no instant."""
    count, length = len(texts), len(texts[0])
    zone = "Z" if texts[0][-1:] == "Z" else "+00:00"
    until = length - len(zone)
    data = "".join(texts).encode()
    # more bytes than characters: some are not ASCII, and columns of bytes would not be columns of characters
    if not (until == _SECOND or _SECOND + 2 <= until <= _SECOND + 7) or len(data) != count * length:
        return np.zeros(count, np.int64), np.zeros(count, np.bool_)
    text = np.frombuffer(data, np.uint8).reshape(count, length).T.copy()
    marks = [*_MARKS, *((until + index, mark) for index, mark in enumerate(zone))]
    if until > _SECOND:
        marks.append((_SECOND, "."))
    good = text[marks[0][0]] == ord(marks[0][1])
    for place, mark in marks[1:]:
        good &= text[place] == ord(mark)
    digits = text[[*_DIGITS, *range(_SECOND + 1, until)]] - np.uint8(ord("0"))
    good &= np.maximum.reduce(digits, axis=0) <= 9  # what lies below "0" has wrapped round
    hour, minute, second = (digits[at] * _TEN + digits[at + 1] for at in (8, 10, 12))
    good &= (hour <= 23) & (minute <= 59) & (second <= 59)
    days = _days(digits, good)
    instants = (days * 86_400 + hour * np.int64(3600) + minute * np.int64(60) + second) * np.int64(US_PER_S)
    if until > _SECOND:
        fraction = digits[14].astype(np.int64)
        for row in digits[15:]:
            fraction = fraction * 10 + row
        instants += fraction * 10 ** (6 - len(digits[14:]))
    return instants, good


def _days(digits: NDArray[np.uint8], good: NDArray[np.bool_]) -> I64:
    """Days since 1970; clears `good` where there is no such day."""
    dates = np.zeros(len(good), np.int64)
    for row in digits[:8]:
        dates = dates * 10 + row
    if (dates == dates[0]).all():
        days = np.full(len(dates), _day(int(dates[0])), np.int64)
    else:
        wanted, of = np.unique(dates * good, return_inverse=True)
        days = np.fromiter(map(_day, wanted.tolist()), np.int64, len(wanted))[of]
    good &= days != _NO_DAY
    return days


def _day(digits: int) -> int:
    """Days since 1970 of a date, which is given as the number 20261103."""
    try:
        return date(digits // 10_000, digits // 100 % 100, digits % 100).toordinal() - _EPOCH_DAY
    except ValueError:
        return _NO_DAY
