"""Instants: RFC 3339 text to whole microseconds since 1970 UTC, and back; never a float.

RFC 3339 §5.6. A leap second (`:60`) is refused: Unix time has no number for it, and guessing moves money between windows.
Digits beyond the microsecond are cut, never rounded: rounding up could carry an event over a window's edge.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
US_PER_S = 1_000_000
US_PER_MS = 1_000
_RFC3339 = re.compile(r"(\d{4}-\d\d-\d\d)[Tt ](\d\d):(\d\d):(\d\d)(?:\.(\d+))?([Zz]|[+-]\d\d:\d\d)", re.ASCII)


def parse_us(text: str) -> int | None:
    """Microseconds since 1970 UTC of an RFC 3339 instant with a zone; None where it is none (no zone, second 60, 30 February)."""
    match = _RFC3339.fullmatch(text)
    if match is None:
        return None
    date, hour, minute, second, fraction, zone = match.groups()
    if int(hour) > 23 or int(minute) > 59 or int(second) > 59:
        return None
    try:
        day = datetime.fromisoformat(date).replace(tzinfo=UTC)
    except ValueError:
        return None
    offset_s = _zone_s(zone)
    if offset_s is None:
        return None
    whole_s = (day - EPOCH).days * 86_400 + int(hour) * 3600 + int(minute) * 60 + int(second) - offset_s
    return whole_s * US_PER_S + int(((fraction or "") + "000000")[:6])


def _zone_s(zone: str) -> int | None:
    if zone in "Zz":
        return 0
    hours, minutes = int(zone[1:3]), int(zone[4:6])
    if hours > 23 or minutes > 59:
        return None
    return (hours * 3600 + minutes * 60) * (-1 if zone[0] == "-" else 1)


def format_us(instant_us: int) -> str:
    """RFC 3339 in UTC with as many digits as the instant has: `2026-11-03T10:00:00Z`, `…00.25Z`.

    Total: `0001-01-01T00:00:00+14:00` lies in the year 0, which datetime does not know, and the sentence about it must not fail.
    """
    whole_s, fraction = divmod(instant_us, US_PER_S)
    days, second = divmod(whole_s, 86_400)
    year, month, day = civil(days)
    text = f"{year:04d}-{month:02d}-{day:02d}T{second // 3600:02d}:{second // 60 % 60:02d}:{second % 60:02d}"
    if fraction:
        text += f".{fraction:06d}".rstrip("0")
    return text + "Z"


CYCLE_YEARS, CYCLE_DAYS = 400, 146_097
"""The Gregorian calendar repeats after this long, to the day."""


def civil(days: int) -> tuple[int, int, int]:
    """(year, month, day) so many days after 1970-01-01; any number of days, where datetime ends at the years 1 and 9999."""
    cycles, within = divmod(days, CYCLE_DAYS)
    there = EPOCH + timedelta(days=within)
    return there.year + cycles * CYCLE_YEARS, there.month, there.day


def days_of(year: int, month: int, day: int) -> int:
    """Days from 1970-01-01 to a date; any year."""
    cycles, within = divmod(year - EPOCH.year, CYCLE_YEARS)
    return (EPOCH.replace(year=EPOCH.year + within, month=month, day=day) - EPOCH).days + cycles * CYCLE_DAYS


def format_s(instant_s: int) -> str:
    """RFC 3339 in UTC of whole seconds."""
    return format_us(instant_s * US_PER_S)


def parse_s(text: str) -> int | None:
    """Whole seconds since 1970 UTC; None where it is no RFC 3339 instant or has a fraction."""
    instant_us = parse_us(text)
    if instant_us is None or instant_us % US_PER_S:
        return None
    return instant_us // US_PER_S
