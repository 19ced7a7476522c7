"""One figure of a sizing: its number, its unit, and the rule it comes from. Pure."""

from __future__ import annotations

from typing import Final, NamedTuple

UNITS: Final = ("", "B", "B/day", "s", "calls/s", "events/s", "cores", "processes", "rows", "ids")


class Figure(NamedTuple):
    """`key` is stable for scripts; `rule` says in words and names of constants how `value` follows from the load."""

    key: str
    value: float
    unit: str
    rule: str


class Sizing(NamedTuple):
    """All figures; `misfits`: what cannot work as it is configured; `advice`: what is worth knowing. Each sentence says what to do."""

    figures: tuple[Figure, ...]
    misfits: tuple[str, ...]
    advice: tuple[str, ...]

    def of(self, key: str) -> float:
        """The number of a figure."""
        return next(figure.value for figure in self.figures if figure.key == key)


_BYTES: Final = ((1e15, "PB"), (1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB"))


def shown(value: float, unit: str) -> str:
    """For people: three digits that say something."""
    if unit in {"B", "B/day"}:
        for size, name in _BYTES:
            if value >= size:
                return f"{_three(value / size)} {name}{unit[1:]}"
        return f"{value:,.0f} {unit}"
    if unit == "s":
        return f"{_three(value)} s" if value < 600 else f"{_three(value / 60)} min" if value < 36_000 else f"{_three(value / 3600)} h"
    return f"{_three(value)} {unit}".strip()


def _three(value: float) -> str:
    if value == int(value) or value >= 100:
        return f"{value:,.0f}"
    return f"{value:.2f}" if value < 10 else f"{value:.1f}"
