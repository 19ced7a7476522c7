"""What a load keeps: windows, ids, and how often they are written. Pure."""

from __future__ import annotations

import math
from typing import NamedTuple

from infra.sizing import constants as c
from infra.sizing.load import Load


class State(NamedTuple):
    """Of all meter workers together.

    `cells` are windows that one window length touches: active customers × meters, and never more than there are postings.
    `rows_written_per_s` are changed rows in flushes at the busiest hour, `closings_per_s` windows that close, `late_per_s` revisions that late
    events make, both over a day.
    """

    cells: float
    open_rows: float
    kept_rows: float
    ids: float
    rows_written_per_s: float
    mean_rows_written_per_s: float
    closings_per_s: float
    late_per_s: float
    counted_per_s: float

    @property
    def revisions_per_s(self) -> float:
        """Totals that go out to be delivered."""
        return self.closings_per_s + self.late_per_s

    @property
    def bytes_held(self) -> float:
        """Memory of windows and ids."""
        return self.open_rows * c.OPEN_WINDOW_BYTES + self.kept_rows * c.KEPT_WINDOW_BYTES + self.ids * c.ID_BYTES

    def changelog_bytes(self, load: Load) -> float:
        """Of `usage.state` when it no longer grows, as it lies on one replica."""
        rows = (self.open_rows + self.kept_rows) * c.PACKED_ROW_BYTES * c.ROW_COPIES
        spare = min(load.partitions * c.SPARE_STATE_BYTES, self.mean_rows_written_per_s * c.PACKED_ROW_BYTES * 86_400)
        return (rows + spare + self.ids * c.PACKED_ID_BYTES) * (1 + c.DIRTY_SHARE)


def state_of(load: Load) -> State:
    """Upper bounds: every active customer uses every meter in each window, unless there are not that many events, and late
    events lie in the newest closed windows, as they mostly do."""
    counted_share = 1 - load.duplicates - load.rejected
    counted_per_s = load.mean_events_per_s * counted_share
    postings_per_s = counted_per_s * load.postings
    cells = min(float(load.active * load.meters), postings_per_s * load.window_s)
    return State(
        cells=cells,
        open_rows=cells * (1 + math.ceil(load.grace_s / load.window_s)),
        kept_rows=cells * load.horizon_s / load.window_s,
        ids=counted_per_s * (load.dedup_s + 3_600),
        rows_written_per_s=min(load.events_per_s * counted_share * load.postings, cells / c.TURN_S),
        mean_rows_written_per_s=min(postings_per_s, cells / c.TURN_S),
        closings_per_s=cells / load.window_s,
        late_per_s=min(postings_per_s * load.late, cells / c.REVISION_DELAY_S),
        counted_per_s=counted_per_s,
    )
