"""Which lanes of meter events are to be read back, and when: one call a lane some minutes after a delivery, not one a cell. Pure."""

from __future__ import annotations

from heapq import heappop, heappush
from typing import Final

from sinks.calls import EventRange, ReadBack
from sinks.cell_state import CellState, LaneKey
from sinks.meter_readback import CONFIRM_AFTER_MS
from topics.meter_errors import MeterErrorRecord
from topics.receipt import MeterTarget

BUSY_MS: Final = 1_000
"""A lane that has a call under way is looked at again after this."""
MOST_PAUSE_MS: Final = 6 * 3_600_000
"""What is not confirmed is looked for again after 10, 20, 40 … minutes, at last four times a day: one call a lane."""


class Confirming:
    """Cells with accepted events that nothing has confirmed yet, by lane, and the errors that the provider reported about such events."""

    def __init__(self, confirm_after_ms: int = CONFIRM_AFTER_MS) -> None:
        self._after_ms = confirm_after_ms
        self._waiting: dict[LaneKey, dict[bytes, CellState]] = {}
        self._target: dict[LaneKey, MeterTarget] = {}
        self._due: list[tuple[int, LaneKey]] = []
        self._at_ms: dict[LaneKey, int] = {}
        self._looks: dict[LaneKey, int] = {}
        self._cell_of: dict[str, CellState] = {}
        self._errors: dict[str, MeterErrorRecord] = {}

    def note(self, cell: CellState, now_ms: int) -> None:
        """The cell has a new durable record."""
        lane, receipt = cell.place.lane, cell.receipt
        if receipt is None or receipt.meter_target is None or not receipt.unconfirmed:
            self._waiting.get(lane, {}).pop(cell.key, None)
            return
        self._target[lane] = receipt.meter_target
        self._waiting.setdefault(lane, {})[cell.key] = cell
        self._cell_of.update((sent.idempotency_key, cell) for sent in receipt.unconfirmed)
        newest_ms = max(sent.at_ms for sent in receipt.unconfirmed)
        if newest_ms + self._after_ms > now_ms:
            self._looks.pop(lane, None)
        self._plan(lane, max(newest_ms + self._after_ms, now_ms))

    def due(self, now_ms: int) -> LaneKey | None:
        """The next lane to read back; it is not due again until it is noted or postponed."""
        while self._due and self._due[0][0] <= now_ms:
            at_ms, lane = heappop(self._due)
            if self._at_ms.get(lane) != at_ms:
                continue
            del self._at_ms[lane]
            if self._waiting.get(lane):
                return lane
        return None

    def is_due(self, now_ms: int) -> bool:
        """True where `due` may have a lane."""
        return bool(self._due) and self._due[0][0] <= now_ms

    def range_of(self, lane: LaneKey) -> tuple[CellState, ReadBack]:
        """The call that reads the lane's unconfirmed cells, all in one."""
        cells = list(self._waiting[lane].values())
        place = cells[0].place
        buckets = [cell.place.bucket for cell in cells]
        events = EventRange(self._target[lane], min(bucket[0] for bucket in buckets), max(bucket[1] for bucket in buckets))
        return cells[0], ReadBack(cells[0].key, place.item, place.timestamp_s, events)

    def busy(self, lane: LaneKey, now_ms: int) -> None:
        """The lane has a call under way."""
        self._plan(lane, now_ms + BUSY_MS)

    def looked(self, lane: LaneKey, now_ms: int) -> None:
        """The lane was read; what is still unconfirmed is looked for again, less and less often."""
        looks = self._looks[lane] = self._looks.get(lane, 0) + 1
        self._plan(lane, now_ms + min(MOST_PAUSE_MS, self._after_ms << min(looks - 1, 16)))

    def wake_at_ms(self) -> int | None:
        """When the next lane is due; None: none is."""
        return self._due[0][0] if self._due else None

    def _plan(self, lane: LaneKey, at_ms: int) -> None:
        if lane not in self._at_ms or at_ms < self._at_ms[lane]:
            self._at_ms[lane] = at_ms
            heappush(self._due, (at_ms, lane))

    # ── errors that the provider reports afterwards (H29) ──────────────────────────────────────────────────────────────

    def refused(self, said: MeterErrorRecord) -> list[CellState]:
        """The provider names events that it had accepted, and does not count; the cells that are known to have sent them."""
        self._errors.update(dict.fromkeys(said.keys, said))
        return [self._cell_of[key] for key in said.keys if key in self._cell_of]

    def error_of(self, cell: CellState) -> tuple[frozenset[str], MeterErrorRecord] | None:
        """The cell's accepted events that were refused afterwards, with the provider's words."""
        sent = () if cell.receipt is None else cell.receipt.unconfirmed
        keys = frozenset(each.idempotency_key for each in sent if each.idempotency_key in self._errors)
        return (keys, self._errors[min(keys)]) if keys else None
