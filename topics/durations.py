"""Durations as people write them in a configuration: `10s`, `5m`, `1h`, `7d`; and back."""

from __future__ import annotations

import re

_UNITS_MS = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
_DURATION = re.compile(r"(\d{1,9})(ms|s|m|h|d)", re.ASCII)


def parse_ms(text: str) -> int | None:
    """Milliseconds of `10s`, `5m`, `1h`, `7d`; None where it is no duration."""
    match = _DURATION.fullmatch(text.strip())
    return int(match[1]) * _UNITS_MS[match[2]] if match else None


def format_ms(duration_ms: int) -> str:
    """The shortest exact way to write a duration: 3_600_000 → `1h`."""
    for unit in ("d", "h", "m", "s"):
        if duration_ms and duration_ms % _UNITS_MS[unit] == 0:
            return f"{duration_ms // _UNITS_MS[unit]}{unit}"
    return f"{duration_ms}ms"
