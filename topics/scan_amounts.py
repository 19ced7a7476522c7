"""Law 11 for columns: quantities × 10¹² as 128-bit integers, two's complement, low half first, from the digits of their texts: compiled.

No float and no rounding. What has an exponent, more than 18 digits or more than 12 places is UNSURE here, and `topics.quantity.parse`, which says
what a quantity is, is asked.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from topics.compiled import compiled
from topics.quantity import PLACES, BadQuantity, Digits, OutOfRange, parse
from topics.scan_values import BYTES, Bytes, same

I64 = NDArray[np.int64]
U64 = NDArray[np.uint64]
Mask = NDArray[np.bool_]
_INTS: Final = "Array(int64, 1, 'C', readonly=True)"
_MOST_DIGITS: Final = 18
"""A number of so many digits is below 10¹⁸, the largest quantity, and below 2⁶⁰."""
_FIVES: Final = np.array([5**power for power in range(PLACES + 1)], np.uint64)
_HALF: Final = np.uint64(32)
_LOW: Final = np.uint64((1 << 32) - 1)
_NOTHING: Final = np.uint64(0)
_ONE: Final = np.uint64(1)


@compiled("Tuple((uint64, uint64))(uint64, int64)")
def _times_ten(number: np.uint64, power: int) -> tuple[np.uint64, np.uint64]:
    """Low and high half of number × 10ᵖ: times 5ᵖ, below 2²⁸, in two halves, of which no product leaves 60 bits; then p binary places up."""
    bottom, top = (number & _LOW) * _FIVES[power], (number >> _HALF) * _FIVES[power]
    low = bottom + (top << _HALF)
    high = (top >> _HALF) + (_ONE if low < bottom else _NOTHING)
    if power:
        high = (high << np.uint64(power)) | (low >> np.uint64(64 - power))
        low = low << np.uint64(power)
    return low, high


@compiled(f"Tuple((uint64, int64))({BYTES}, int64, int64)")
def _digits(buffer: Bytes, at: int, end: int) -> tuple[np.uint64, int]:
    """A text of digits with at most one point as a whole number and its number of places; places are −1 where it is no such text."""
    number, digits, places, whole = np.uint64(0), 0, -1, at
    while at < end:
        byte = buffer[at]
        if byte == 0x2E and places < 0 and at > whole:
            places = 0
        elif 0x30 <= byte <= 0x39:
            number = number * np.uint64(10) + np.uint64(byte - 0x30)
            digits += 1 if number else 0
            places += 1 if places >= 0 else 0
        else:
            return number, -1
        at += 1
        if digits > _MOST_DIGITS or places > PLACES:
            return number, -1
    if at == whole or buffer[at - 1] == 0x2E:
        return number, -1
    return number, max(places, 0)


@compiled(f"void({BYTES}, {_INTS}, {_INTS}, boolean, Array(uint64, 2, 'C'), Array(boolean, 1, 'C'))")
def _read(buffer: Bytes, starts: I64, lengths: I64, allow_negative: bool, amounts: U64, sure: Mask) -> None:
    for index in range(len(starts)):
        at, end = starts[index], starts[index] + lengths[index]
        negative = at < end and buffer[at] == 0x2D
        number, places = _digits(buffer, at + 1 if negative else at, end)
        sure[index] = places >= 0 and (allow_negative or not negative or not number)
        if sure[index]:
            low, high = _times_ten(number, PLACES - places)
            if negative:
                low, high = ~low + _ONE, ~high + (_NOTHING if low else _ONE)
            amounts[index, 0], amounts[index, 1] = low, high


@compiled(f"void({BYTES}, {_INTS}, {_INTS}, {BYTES}, Array(boolean, 1, 'C'))")
def equals(buffer: Bytes, starts: I64, lengths: I64, wanted: Bytes, found: Mask) -> None:
    """Clears `found` where a text is another one than `wanted`."""
    for index in range(len(starts)):
        found[index] = found[index] and same(buffer, starts[index], lengths[index], wanted, 0, len(wanted))


def amounts_of(buffer: Bytes, starts: I64, lengths: I64, *, allow_negative: bool) -> tuple[U64, list[int]]:
    """An (n, 2) array of the quantities that numbers or strings spell, and the positions of those that are no quantity of this meter."""
    amounts, sure = np.zeros((len(starts), 2), np.uint64), np.empty(len(starts), np.bool_)
    _read(buffer, starts, lengths, allow_negative, amounts, sure)
    faults: list[int] = []
    for place in np.flatnonzero(~sure).tolist():
        begin = int(starts[place])
        scaled = _parsed(buffer[begin : begin + int(lengths[place])].tobytes())
        if scaled is None or (scaled < 0 and not allow_negative):
            faults.append(place)
        else:
            amounts[place] = limbs_of([scaled])[0]
    return amounts, faults


def _parsed(text: bytes) -> int | None:
    try:
        return parse(Digits(text.decode()))
    except (BadQuantity, OutOfRange):
        return None


def ones(count: int) -> U64:
    """So many times the quantity 1."""
    found = np.zeros((count, 2), np.uint64)
    found[:, 0] = 10**PLACES
    return found


def limbs_of(scaled: list[int]) -> U64:
    """Quantities × 10¹² as rows of such an array: each is below 2¹⁰⁰."""
    return np.frombuffer(b"".join([amount.to_bytes(16, "little", signed=True) for amount in scaled]), np.uint64).reshape(-1, 2)
