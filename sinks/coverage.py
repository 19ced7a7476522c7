"""Law 13, its last sentence: how far `usage.windows` may be committed.

An offset is done once the receipts hold its revision, or a higher one, of its window: as an intent, an answer or a parked record. Pure.
"""

from __future__ import annotations

from heapq import heappop, heappush

from topics.window_total import WindowTotal

Revision = tuple[int, int]


class Coverage:
    """The offsets of one partition that no durable receipt covers yet."""

    def __init__(self, next_offset: int) -> None:
        self.next_offset = next_offset
        """The offset after the last one seen."""
        self._waiting: dict[str, list[tuple[Revision, int]]] = {}
        self._open: dict[int, tuple[WindowTotal, int | None]] = {}
        self._heap: list[int] = []

    def __len__(self) -> int:
        """How many records wait."""
        return len(self._open)

    def seen(self, window: str, total: WindowTotal, closed_at_ms: int | None, offset: int) -> None:
        """A total that the receipts do not hold yet."""
        self._waiting.setdefault(window, []).append((total.revision, offset))
        self._open[offset] = (total, closed_at_ms)
        heappush(self._heap, offset)

    def cover(self, window: str, revision: Revision) -> None:
        """A durable receipt holds this revision of the window."""
        waiting = self._waiting.get(window)
        if waiting is None:
            return
        left = [entry for entry in waiting if entry[0] > revision]
        for held, offset in waiting:
            if held <= revision:
                del self._open[offset]
        if left:
            self._waiting[window] = left
        else:
            del self._waiting[window]

    def pending(self) -> list[tuple[int, WindowTotal, int | None]]:
        """What waits, in offset order: (offset, total, closed_at_ms). With it a partition is rebuilt without reading the log again."""
        return [(offset, *self._open[offset]) for offset in sorted(self._open)]

    @property
    def committable(self) -> int:
        """Everything below this offset is done."""
        while self._heap and self._heap[0] not in self._open:
            heappop(self._heap)
        return self._heap[0] if self._heap else self.next_offset
