"""Where the cells of a draft invoice's usage stand, out of one partition's deliveries, and whether all of its period is counted. Pure.

A draft lacks nothing of an item when (1) the meter has said that it closed everything up to the period's end and the meter's grace, (2) the
report has read all totals that existed then, and (3) each cell of the period has arrived (`sinks/gate.py`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final, Protocol

from sinks.cell_state import CellState
from sinks.cells import Place
from sinks.finality import Invoices
from sinks.gate import Stand
from sinks.parked import Parked
from topics.closed import Closed
from topics.definitions import Definitions

NEVER_BILLED: Final = frozenset({"before_period", "after_end", "unsupported"})
"""Windows without a cell that no waiting brings onto a draft."""
NOT_COUNTED: Final = Stand("intent", is_current=False, is_read_back=False)
"""Of usage that may be in the log and is not known here yet."""
WORDS_AFTER: Final = 2
"""So many words of the meter after a test clock's: the barrier of the second was taken after the clock's word was in force."""


class Gated(Protocol):
    """`sinks.receipts.Deliveries`, as the gate reads it."""

    @property
    def closed(self) -> Closed | None:
        """The meter's newest word on how far it has closed everything."""
        ...

    @property
    def next_offset(self) -> int:
        """Everything of `usage.windows` below is read."""
        ...

    @property
    def invoices(self) -> Invoices:
        """What the log says of invoices."""
        ...

    def owner_of(self, item: str) -> tuple[str, str] | None:
        """(customer, meter) whom a subscription item bills, now or once; None where it is none of this partition's."""
        ...

    def clock_subscriptions(self) -> set[str]:
        """Subscriptions of customers who live by a test clock."""
        ...

    def now_of(self, customer: str, now_ms: int) -> int:
        """What time it is for the customer, in milliseconds: its test clock's, or `now_ms`."""
        ...

    def stands(self, item: str, start_s: int, end_s: int, counted_ms: int) -> list[Stand]:
        """Where all usage of an item in `[start_s, end_s)` stands; `counted_ms`: up to when all totals are known here."""
        ...


class Owners:
    """Which subscription item bills which customer and meter, kept up with the bindings; and how many words came after a clock's."""

    def __init__(self) -> None:
        self.of: dict[str, tuple[str, str]] = {}
        self.closed: Closed | None = None
        self._words = 0
        self._clock_at: dict[str, int] = {}

    def said(self, closed: Closed) -> None:
        """The meter's word; a later one never says less, but a wall clock that was set back may."""
        self.closed = closed
        self._words += 1

    def clock(self, customer: str) -> None:
        """A test clock spoke."""
        self._clock_at[customer] = self._words

    def knows_clock(self, customer: str) -> bool:
        """True where all that the customer used before its clock's newest word is closed by that clock."""
        at = self._clock_at.get(customer)
        return at is not None and self._words >= at + WORDS_AFTER


def is_counted(definitions: Definitions, owners: Owners, customer: str, meter: str, end_s: int, counted_ms: int) -> bool:
    """True where every event of the customer's usage before `end_s` that was in the log by the end of the meter's grace has its totals here."""
    versions = definitions.meters.get(meter)
    grace_ms = max((version.meter.grace_ms for version in versions), default=0) if versions else 0
    closes_ms = end_s * 1000 + grace_ms
    clock = definitions.clock_of(customer)
    if clock is not None:
        return clock.now_s * 1000 >= closes_ms and owners.knows_clock(customer)
    return bool(versions) and counted_ms >= closes_ms


def stand_of(cell: CellState) -> Stand:
    """Where one cell stands. Its record is current where nothing newer is wanted, written or answered."""
    receipt = cell.receipt
    if receipt is None:
        return NOT_COUNTED
    return Stand(receipt.state, not cell.dirty and cell.needs() is None, bool(receipt.unconfirmed))


def in_period(place: Place, item: str, start_s: int, end_s: int) -> bool:
    """True where the cell's usage is billed for `[start_s, end_s)` of the item. A usage record's second is one later than its period's start."""
    return place.item == item and start_s <= place.timestamp_s < end_s


def stands_in(
    cells: Iterable[CellState], parked: Mapping[bytes, Parked], item: str, start_s: int, end_s: int
) -> list[Stand]:
    """The cells of the period, and windows of it that have no cell and may still get one."""
    found = [stand_of(cell) for cell in cells if in_period(cell.place, item, start_s, end_s)]
    found += [
        Stand("parked", is_current=True, is_read_back=False)
        for window in parked.values()
        if start_s <= window.window.start_s < end_s and window.why.reason not in NEVER_BILLED
    ]
    return found


__all__ = ["NOT_COUNTED", "Gated", "Owners", "in_period", "is_counted", "stand_of", "stands_in"]
