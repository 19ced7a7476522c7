"""The invoice gate: whether a draft with usage of ours on it may become final yet. Pure: what is known of its cells, and when it is now.

Stripe finalises a draft about an hour after it was made unless `auto_advance` is false (Stripe, "Status transitions and finalization"). Held for
ever it would never be paid, so a hold ends after 72 hours whatever is missing, with an alarm. Invoices without items of ours are never touched.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, Literal, NamedTuple

from topics.receipt import CellState

Gate = Literal["off", "warn", "hold"]
Action = Literal["leave", "hold", "release", "release_with_alarm"]
LONGEST_HOLD_S: Final = 72 * 3600
"""Counted from when the draft was made. The longest grace that Stripe itself allows before finalisation: no customer waits longer for a bill."""


class Draft(NamedTuple):
    """A draft invoice. `auto_advance`: Stripe will finalise it by itself; `held_by_us`: that it will not is our doing, and ours to end."""

    created_at_s: int
    auto_advance: bool
    held_by_us: bool


class Stand(NamedTuple):
    """Where a cell of the draft's period stands. `is_current`: its record holds the newest totals; `is_read_back`: its provider counts what it
    accepted only afterwards, so that it has to be read back."""

    state: CellState
    is_current: bool
    is_read_back: bool


def is_ready(stand: Stand) -> bool:
    """True where the draft will lack nothing of the cell: it is there, or it is an adjustment, which no waiting brings onto this invoice."""
    if not stand.is_current:
        return False
    return stand.state in {"confirmed", "adjustment"} or (stand.state == "delivered" and not stand.is_read_back)


def decide(gate: Gate, draft: Draft, cells: Iterable[Stand], now_s: int) -> Action:
    """What is to be done with a draft now: `hold` sets auto_advance to false, both kinds of `release` set it to true."""
    stands = list(cells)
    if not draft.held_by_us:
        late = now_s >= draft.created_at_s + LONGEST_HOLD_S
        missing = any(not is_ready(stand) for stand in stands)
        return "hold" if gate == "hold" and draft.auto_advance and missing and not late else "leave"
    if gate != "hold" or all(map(is_ready, stands)):
        return "release"
    return "release_with_alarm" if now_s >= draft.created_at_s + LONGEST_HOLD_S else "leave"
