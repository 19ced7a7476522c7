"""What a ClickHouse column can hold, and how a value beyond it is shown: clamped here, exact in the bytes beside it.

Out-of-range values fail a whole insert in the client, and a thirteenth decimal place is cut silently by the engine; so nothing leaves
`rows.py` that was not bounded here, and no record can ever block its partition.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Final

from topics.quantity import PLACES, format_scaled

MIN_S: Final = -2_208_988_800
"""1900-01-01T00:00:00Z, the first instant a DateTime64 shows."""
MAX_S: Final = 10_413_791_999
"""2299-12-31T23:59:59Z, the last one."""
_MAX_UINT32: Final = 2**32 - 1
_MAX_UINT64: Final = 2**64 - 1
_SCALED_38: Final = 10**38 - 1
_SCALED_76: Final = 10**76 - 1
ZERO: Final = Decimal(0)


def clamp_s(instant_s: int) -> int:
    """Seconds since 1970 within 1900 … 2299."""
    return min(max(instant_s, MIN_S), MAX_S)


def clamp_ms(instant_ms: int) -> int:
    """Milliseconds since 1970 within 1970 … 2299: Kafka's −1 (no timestamp) shows as 1970."""
    return min(max(instant_ms, 0), MAX_S * 1000 + 999)


def clamp_us(instant_us: int) -> int:
    """Microseconds since 1970 within 1900 … 2299."""
    return min(max(instant_us, MIN_S * 1_000_000), MAX_S * 1_000_000 + 999_999)


def uint32(number: int) -> int:
    """Within UInt32."""
    return min(max(number, 0), _MAX_UINT32)


def uint64(number: int) -> int:
    """Within UInt64."""
    return min(max(number, 0), _MAX_UINT64)


def decimal38(scaled: int) -> Decimal:
    """quantity × 10¹² as an exact decimal for Decimal(38, 12); an event's quantity always fits (law 11: |q| ≤ 10¹⁸)."""
    return _decimal(min(max(scaled, -_SCALED_38), _SCALED_38))


def decimal76(scaled: int) -> Decimal:
    """A total × 10¹² as an exact decimal for Decimal(76, 12); a stored total has at most 60 digits before the point."""
    return _decimal(min(max(scaled, -_SCALED_76), _SCALED_76))


def _decimal(scaled: int) -> Decimal:
    # By text: arithmetic would round to the context's 28 digits, construction never rounds.
    return Decimal(format_scaled(scaled))


def text(value: str) -> bytes:
    """UTF-8; a lone surrogate (no valid text, yet a Python str can hold one) keeps its three bytes instead of failing the insert."""
    return value.encode("utf-8", "surrogatepass")


def scaled_of(value: Decimal) -> int:
    """× 10¹² as an integer, exact for any number of digits. Raises ValueError where it has more than 12 places or is no number."""
    sign, digits, exponent = value.as_tuple()
    if not isinstance(exponent, int) or exponent < -PLACES:
        raise ValueError(f"{value} has more than {PLACES} places or is no number")
    number: int = int("".join(map(str, digits))) * 10 ** (exponent + PLACES)
    return -number if sign else number
