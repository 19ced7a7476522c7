"""Law 11 for a whole batch: quantities × 10¹² as 128-bit integers, two's complement, low half first, as the content hash has them.

No float and no rounding: whole numbers are multiplied in 64-bit halves, where no product leaves 64 bits (proved below); decimals are read one by
one from their digits by `topics.quantity.parse`, which also says what a quantity is.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from topics.quantity import LIMIT, ONE, PLACES, BadQuantity, OutOfRange, parse

U64 = NDArray[np.uint64]
I64 = NDArray[np.int64]
_NARROW: Final = ((1 << 63) - 1) // ONE
"""Whole numbers up to this (9 million) times 10¹² stay below 2⁶³: one multiplication."""
_ODD_PART: Final = np.uint64(5**PLACES)
"""10¹² = 5¹² · 2¹²; 5¹² has 28 bits, so its product with a half of 32 bits has 60."""
_HALF: Final = np.uint64(32)
_LOW: Final = np.uint64((1 << 32) - 1)


def ones(count: int) -> U64:
    """So many times the quantity 1."""
    found = np.zeros((count, 2), np.uint64)
    found[:, 0] = ONE
    return found


def amounts_of(values: list[object], *, allow_negative: bool) -> tuple[U64, list[int]]:
    """An (n, 2) array of quantities × 10¹² of decoded JSON values, and the positions of those that are no quantity of this meter."""
    if set(map(type, values)) == {int}:
        return _whole(values, allow_negative=allow_negative)
    others = [place for place, value in enumerate(values) if type(value) is not int]
    whole = values.copy()
    for place in others:
        whole[place] = 0
    found, faults = _whole(whole, allow_negative=allow_negative)
    scaled: list[int] = []
    for place in others:
        amount = _parsed(values[place])
        if amount is None or (amount < 0 and not allow_negative):
            faults.append(place)
            amount = 0
        scaled.append(amount)
    found[others] = limbs_of(scaled)
    return found, faults


def _parsed(value: object) -> int | None:
    try:
        return parse(value)
    except (BadQuantity, OutOfRange):
        return None


def _whole(values: list[object], *, allow_negative: bool) -> tuple[U64, list[int]]:
    """Integers; those that are out of range are faults."""
    least = -LIMIT if allow_negative else 0
    try:
        whole = np.array(values, np.int64)
    except OverflowError:
        whole = np.array([value if isinstance(value, int) and abs(value) <= LIMIT else LIMIT + 1 for value in values], np.int64)
    smallest, largest = int(whole.min()), int(whole.max())
    faults: list[int] = []
    if smallest < least or largest > LIMIT:
        wrong = (whole < least) | (whole > LIMIT)
        faults = np.flatnonzero(wrong).tolist()
        whole[wrong] = 0
        smallest, largest = int(whole.min()), int(whole.max())
    found = np.empty((len(whole), 2), np.uint64)
    if smallest >= -_NARROW and largest <= _NARROW:
        product = whole * np.int64(ONE)
        found[:, 0] = product.view(np.uint64)
        found[:, 1] = (product >> np.int64(63)).view(np.uint64)
    else:
        found[:, 0], found[:, 1] = _wide(whole)
    return found, faults


def _wide(whole: I64) -> tuple[U64, U64]:
    """Low and high 64 bits of whole numbers (|q| ≤ 10¹⁸ < 2⁶⁰) times 10¹²: q = b·2³² + a, so q·5¹² = b·5¹²·2³² + a·5¹², neither above 2⁶⁰."""
    size = np.abs(whole).view(np.uint64)
    bottom, top = (size & _LOW) * _ODD_PART, (size >> _HALF) * _ODD_PART
    low = bottom + (top << _HALF)
    high = (top >> _HALF) + (low < bottom)
    high = (high << np.uint64(PLACES)) | (low >> np.uint64(64 - PLACES))
    low = low << np.uint64(PLACES)
    negative = whole < 0
    high = np.where(negative, ~high + (low == 0), high)
    return np.where(negative, ~low + np.uint64(1), low), high


def limbs_of(scaled: list[int]) -> U64:
    """Quantities × 10¹² as rows of such an array: each is below 2¹⁰⁰."""
    return np.frombuffer(b"".join([amount.to_bytes(16, "little", signed=True) for amount in scaled]), np.uint64).reshape(-1, 2)
