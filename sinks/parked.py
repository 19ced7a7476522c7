"""Windows that have no cell yet: unbound, before their item is billed, on a cell that is taken. Each is one visible record. Pure."""

from __future__ import annotations

import msgspec

from sinks.cells import Unplaced
from sinks.tally import State
from topics.receipt import WindowPart, WindowReceipt
from topics.windows import Window, window_key


class Parked:
    """One window without a cell: its newest total, why it has no cell, and what the receipts hold of it."""

    __slots__ = ("closed_at_ms", "durable", "key", "part", "receipt", "release", "tally", "waits_for_write", "why", "window")

    def __init__(self, window: Window, part: WindowPart, why: Unplaced, closed_at_ms: int | None) -> None:
        self.window = window
        self.key = window_key(window)
        self.part = part
        self.why = why
        self.closed_at_ms = closed_at_ms
        self.receipt: WindowReceipt | None = None
        """The newest record that is durable or being written."""
        self.durable: tuple[int, int] | None = None
        """The revision that the receipts are known to hold."""
        self.tally: State | None = None
        self.release = -1
        self.waits_for_write = False

    @classmethod
    def of(cls, receipt: WindowReceipt) -> Parked:
        """The window of a recovered record."""
        window = Window(receipt.customer, receipt.meter, receipt.start_s, receipt.end_s)
        part = WindowPart(
            window=receipt.window, generation=receipt.generation, through_offset=receipt.through_offset, quantity=receipt.quantity
        )
        parked = cls(window, part, Unplaced(receipt.reason, receipt.sentence), receipt.closed_at_ms)
        parked.receipt, parked.durable, parked.release = receipt, receipt.revision, receipt.released
        return parked

    @property
    def due(self) -> bool:
        """True where the receipts hold an older total, or another reason."""
        held = self.receipt
        return held is None or held.revision != self.part.revision or held.reason != self.why.reason or held.released != self.release

    @property
    def state(self) -> State:
        """How the window is counted."""
        if self.durable is None:
            return "undelivered"
        return "unbound" if self.why.reason == "unbound" else "parked"

    def compose(self, now_ms: int) -> WindowReceipt:
        """The record that shows the window as it is."""
        return WindowReceipt(
            window=self.key,
            customer=self.window.customer,
            meter=self.window.meter,
            start_s=self.window.start_s,
            end_s=self.window.end_s,
            generation=self.part.generation,
            through_offset=self.part.through_offset,
            quantity=self.part.quantity,
            reason=self.why.reason,
            sentence=self.why.sentence,
            parked_at_ms=now_ms,
            closed_at_ms=self.closed_at_ms,
            released=self.release,
        )

    def bound(self, cell: str, now_ms: int) -> WindowReceipt:
        """The record that ends the parking: from now on the cell's receipts speak for the window."""
        return msgspec.structs.replace(self.compose(now_ms), state="bound", reason="", sentence="", cell=cell)
