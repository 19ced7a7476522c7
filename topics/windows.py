"""Law 8: a window is half-open `[start, end)` in whole seconds UTC; the N-th window of a grid of `size` is [N·size, (N+1)·size).

Every size divides a day, so grids are aligned at UTC midnight. A window may be cut where a customer's billing period ends.
"""

from __future__ import annotations

from math import lcm
from typing import NamedTuple

from topics.errors import MalformedRecord

DAY_S = 86_400
MIN_WINDOW_S = 10
"""Shorter windows make more Stripe cells than any account's rate allows; longer than a day hide the day of a line."""


class Window(NamedTuple):
    """`[start_s, end_s)` of one customer and one meter."""

    customer: str
    meter: str
    start_s: int
    end_s: int


def is_window_size(size_s: int) -> bool:
    """True where `size_s` is 10 s … 1 d and divides a day."""
    return MIN_WINDOW_S <= size_s <= DAY_S and DAY_S % size_s == 0


def grid_start(instant_s: int, size_s: int) -> int:
    """Start of the grid cell that holds the instant (floor, also before 1970)."""
    return instant_s // size_s * size_s


def next_common_boundary(at_or_after_s: int, sizes_s: list[int]) -> int:
    """The first instant ≥ `at_or_after_s` that is a boundary of every grid."""
    step_s = lcm(*sizes_s)
    return -(-at_or_after_s // step_s) * step_s


def _escape(part: str) -> str:
    return part.replace("%", "%25").replace("|", "%7C")


def window_key(window: Window) -> str:
    """The window's identity as text, injective: `customer|meter|start|end`, `%` and `|` inside a part escaped (H17)."""
    return f"{_escape(window.customer)}|{_escape(window.meter)}|{window.start_s}|{window.end_s}"


def parse_window_key(text: str) -> Window:
    """The window of a key. Raises MalformedRecord where it is none."""
    parts = text.split("|")
    if len(parts) != 4:
        raise MalformedRecord(f"{text[:200]!r} is no window key")
    customer, meter = (part.replace("%7C", "|").replace("%25", "%") for part in parts[:2])
    try:
        return Window(customer, meter, int(parts[2]), int(parts[3]))
    except ValueError:
        raise MalformedRecord(f"{text[:200]!r} is no window key") from None
