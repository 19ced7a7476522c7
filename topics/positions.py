"""A place in the succession of logs that one partition of a topic has had, as one number that only grows.

A log that was lost or recreated begins at offset 0 again; what is ordered by offsets alone would take its first records for very old ones. So
where records of several logs meet, an offset is kept as `log << 48 | offset`. In the first log that is the plain offset.
"""

from __future__ import annotations

from typing import Final

SHIFT: Final = 48
"""2⁴⁸ records a partition are nine years at a million a second; what is left of 64 bits counts 65,536 logs."""
_MASK: Final = (1 << SHIFT) - 1


def position(log: int, offset: int) -> int:
    """The place `offset` in the log of that number (from 0)."""
    return (log << SHIFT) | offset


def log_of(place: int) -> int:
    """In which log a place lies."""
    return place >> SHIFT


def offset_of(place: int) -> int:
    """The offset of a place in its own log."""
    return place & _MASK
