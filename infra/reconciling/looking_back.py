"""How far back a scheduled run looks, so that no drift is ever too old for the schedule. Pure.

1. The first run of a process, and one every `whole`, looks at everything there is.
2. The runs between look at the billing periods that `back` reaches, and always back to the oldest drift that the run before found: a number falls
   because something was put right, never because a run looked at less.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from infra.reconciling.archive import EARLIEST_S
from infra.reconciling.drift import Drift
from infra.reconciling.found import Found

MARGIN_S: Final = 86_400
"""A copy of an event is looked for by when it came, which lies so little before the window that it is in at most."""


@dataclass
class LookingBack:
    """What the last runs say of the next one. `steady_s` is a steady clock, `now_s` the time of day."""

    back_s: int
    whole_s: int
    whole_at_s: float | None = None
    """When the last run that looked at everything began (None: none has ended yet)."""
    oldest_s: int | None = None

    def from_s(self, now_s: int, steady_s: float) -> int:
        """From where on the next run looks; EARLIEST_S: at everything."""
        if self.whole_at_s is None or steady_s - self.whole_at_s >= self.whole_s:
            return EARLIEST_S
        recent_s = now_s - self.back_s
        return recent_s if self.oldest_s is None else max(EARLIEST_S, min(recent_s, self.oldest_s - MARGIN_S))

    def took(self, found: Found, from_s: int, began_s: float) -> None:
        """A run that looked from `from_s` on, and began at `began_s` of the steady clock, has ended."""
        if from_s <= EARLIEST_S:
            self.whole_at_s = began_s
        self.oldest_s = oldest_of(found)


def oldest_of(found: Found) -> int | None:
    """The start of the oldest window or billing period in which something was found. None: nothing was that an instant bounds."""
    if sum(found.counts.values()) > len(found.drifts):
        return EARLIEST_S  # more than are kept: some of those may be older
    # What belongs to nobody is looked for in each run, however far back it looks.
    return min((_place_s(drift) for drift in found.drifts if drift.customer), default=None)


def _place_s(drift: Drift) -> int:
    starts = [drift.window.start_s] if drift.window is not None else []
    starts += [drift.period[0]] if drift.period is not None else []
    return min(starts, default=EARLIEST_S)
