"""The rows of one partition: one a window, its sum through one event, and where the changelog holds it.

Law 2 and 3: `rev` is (generation, through_offset) as one integer, the fence of the row and the name of its total.
The rows lie in a table (`streams/row_store.py`); work on many of them is done there, by slots. A `Row` is made for whoever looks at one.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable
from typing import Final

import numpy as np

from streams.probing import Slots
from streams.room import Numbers
from streams.row_store import RowStore
from topics.errors import CorruptState
from topics.windows import Window

NEVER: Final = -1


def revision(generation: int, offset: int) -> int:
    """(generation, offset) as one integer that orders like the pair; offsets are below 2⁶³."""
    return (generation << 64) | offset


def split_revision(rev: int) -> tuple[int, int]:
    """The pair of a revision."""
    return rev >> 64, rev & ((1 << 64) - 1)


class Loose:
    """Values of a row that is in no table: one that took no event yet, or a copy."""

    __slots__ = ("_values", "_window")

    def __init__(self, window: Window) -> None:
        self._window = window
        self._values = {"rev": NEVER, "emitted": NEVER, "first_offset": -1, "segment": -1}

    def window(self, _slot: int) -> Window:
        """Its window."""
        return self._window

    def read(self, _slot: int, name: str) -> int:
        """See `RowStore.read`."""
        return self._values.get(name, 0)

    def write(self, _slot: int, name: str, value: int) -> None:
        """See `RowStore.write`."""
        self._values[name] = value


class _Number:
    """A value of a row, read from and written to where the row lies."""

    __slots__ = ("_name",)

    def __init__(self, name: str) -> None:
        self._name = name

    def __get__(self, row: Row, _owner: type[Row] | None = None) -> int:
        return row.store.read(row.slot, self._name)

    def __set__(self, row: Row, value: int) -> None:
        row.store.write(row.slot, self._name, value)


class Row:
    """One window's state, as long as the row is not let go. Two of the same row are equal."""

    __slots__ = ("_window", "slot", "store")

    scaled = _Number("scaled")
    """× 10⁻¹² units."""
    events = _Number("events")
    first_offset = _Number("first_offset")
    rev = _Number("rev")
    emitted = _Number("emitted")
    """A revision or NEVER."""
    content_hash = _Number("content_hash")
    """May exceed 2²⁵⁶ where it is in no table."""
    segment = _Number("segment")
    """Number of the changelog segment that holds its latest written value; −1: none yet."""
    def __init__(self, window: Window | None, store: RowStore | Loose | None = None, slot: int = -1) -> None:
        """A new row of a window, in no table until `Rows.add`; or the one in a slot of a table."""
        self._window = window
        self.slot = slot
        if store is None and window is not None:
            store = Loose(window)
        if store is None:
            raise AssertionError("a row of nothing")
        self.store = store

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Row) and other.store is self.store and other.slot == self.slot

    def __hash__(self) -> int:
        return hash((id(self.store), self.slot))

    @property
    def window(self) -> Window:
        """Whose it is."""
        if self._window is None:
            self._window = self.store.window(self.slot)
        return self._window

    @property
    def own(self) -> bool:
        """True where it becomes final by its customer's test clock, not by the log's now."""
        return bool(self.store.read(self.slot, "own"))

    @own.setter
    def own(self, value: bool) -> None:
        self.store.write(self.slot, "own", value)

    def copy(self) -> Row:
        """Its total as it stands now, to be emitted later; no live row."""
        found = Row(self.window)
        found.scaled, found.events, found.content_hash = self.scaled, self.events, self.content_hash
        found.first_offset, found.rev = self.first_offset, self.rev
        return found

    @property
    def through_offset(self) -> int:
        """Offset of the last event in it."""
        return split_revision(self.rev)[1]

    @property
    def pending(self) -> bool:
        """True where the newest revision was never emitted."""
        return self.rev > self.emitted


VALUES: Final = ("scaled", "events", "first_offset", "rev", "emitted", "content_hash", "segment", "own")


def began_before(row: Row, rev: int) -> bool:
    """True where the row's first event lies before the place that `rev` names. `first_offset` does not say in which log that event lay: a row
    without an event of this log, or whose first offset is above its last, began in an earlier one."""
    generation, offset = split_revision(rev)
    return row.first_offset < offset or row.rev < revision(generation, 0) or row.first_offset > row.through_offset


class Ends:
    """Slots by the end of their windows, the earliest first: of all rows that the log's now makes final, or that one test clock does."""

    def __init__(self, store: RowStore, *, own: bool) -> None:
        self._store = store
        self._own = own
        self._by_end: dict[int, Numbers] = {}
        self._ends: list[int] = []

    def add(self, slots: Slots) -> None:
        """More of them."""
        ends_s = self._store.columns["end_s"][slots]
        for end_s in np.unique(ends_s).tolist():
            if end_s not in self._by_end:
                self._by_end[end_s] = Numbers()
                heapq.heappush(self._ends, end_s)
            self._by_end[end_s].add(slots[ends_s == end_s])

    def first_end(self) -> int | None:
        """The earliest end."""
        return self._ends[0] if self._ends else None

    def at(self, end_s: int) -> Slots:
        """All that end there. Rows that a clock took over since they were added are no longer the log's."""
        columns, slots = self._store.columns, np.unique(self._by_end[end_s].all())
        # A slot that a clock's row had here, and that is another row's now, says nothing.
        lives = (columns["own"][slots] == self._own) & (columns["end_s"][slots] == end_s) & (columns["customer"][slots] >= 0)
        return np.asarray(slots[lives])

    def until(self, until_s: int) -> list[Slots]:
        """All that end at or before an instant."""
        return [self.at(end_s) for end_s in self._by_end if end_s <= until_s]

    def remove_first(self) -> Slots:
        """Take out all that end first."""
        slots = self.at(self._ends[0])
        del self._by_end[heapq.heappop(self._ends)]
        return slots


class Rows:
    """All live rows of a partition."""

    def __init__(self) -> None:
        self.store = RowStore()
        self.ends = Ends(self.store, own=False)
        self.own: dict[str, Ends] = {}
        """Of customers with a test clock, the rows that it makes final."""

    @property
    def count(self) -> int:
        """How many."""
        return self.store.count

    def row(self, slot: int) -> Row:
        """The row in a slot."""
        return Row(None, self.store, slot)

    def rows(self, slots: Iterable[int]) -> list[Row]:
        """The rows in slots."""
        return [Row(None, self.store, slot) for slot in slots]

    def get(self, window: Window) -> Row | None:
        """The live row of exactly this window."""
        slot = self.store.find_one(window.customer, window.meter, window.start_s)
        return Row(window, self.store, slot) if slot >= 0 and self.store.columns["end_s"][slot] == window.end_s else None

    def add(self, row: Row) -> None:
        """Register a row that takes its first event, or was recovered; from now on it lies in the table."""
        window, loose = row.window, row.store
        row.slot = int(self.make([window], own=row.own)[0])
        row.store = self.store
        for name in VALUES:
            self.store.write(row.slot, name, loose.read(-1, name))

    def make(self, windows: list[Window], *, own: bool) -> Slots:
        """Slots of new rows of these windows, which are distinct. Raises CorruptState where another begins with one."""
        store = self.store
        customers, meters = store.customers.numbers(w.customer for w in windows), store.meters.numbers(w.meter for w in windows)
        starts_s, ends_s = (np.array([window[place] for window in windows], np.int64) for place in (2, 3))
        return self.begin(customers, meters, starts_s, ends_s, np.full(len(windows), own))

    def begin(self, customers: Slots, meters: Slots, starts_s: Slots, ends_s: Slots, own: Slots) -> Slots:
        """The same, by the table's numbers of customers and meters."""
        store = self.store
        found = store.find(customers, meters, starts_s)
        for at in np.flatnonzero(found >= 0).tolist():
            held = store.window(int(found[at]))
            raise CorruptState(
                f"{held._replace(end_s=int(ends_s[at]))} and {held} begin at one instant; do not bill from this state, report it"
            )
        slots = store.make(customers, meters, starts_s, ends_s)
        store.columns["own"][slots] = own
        self.schedule(slots)
        return slots

    def schedule(self, slots: Slots) -> None:
        """New rows: they will become final at their end, by whoever's time is theirs."""
        own = self.store.columns["own"][slots]
        self.ends.add(slots[~own])
        for slot in slots[own].tolist():
            self._ends_of(self.row(slot).window.customer).add(np.array([slot]))

    def _ends_of(self, customer: str) -> Ends:
        return self.own.setdefault(customer, Ends(self.store, own=True))

    def make_own(self, rows: Iterable[Row]) -> None:
        """These become final by their customer's test clock from now on."""
        for row in rows:
            row.own = True
            self._ends_of(row.window.customer).add(np.array([row.slot]))

    def across(self, customer: str, meter: str, instant_s: int) -> Row | None:
        """The live row that holds the instant strictly inside, if any (law 8: such a row stays whole)."""
        return next((row for row in self.of_meter(customer, meter) if row.window.start_s < instant_s < row.window.end_s), None)

    def of_meter(self, customer: str, meter: str) -> list[Row]:
        """A customer's live rows of one meter."""
        number = self.store.meters.find(meter)
        return [Row(None, self.store, slot) for slot in self.store.of_customer(customer) if self.store.columns["meter"][slot] == number]

    def of_customer(self, customer: str, meters: Iterable[str]) -> list[Row]:
        """A customer's live rows, of these meters."""
        return [row for slug in meters for row in self.of_meter(customer, slug)]

    def remove_first_end(self, ends: Ends) -> Slots:
        """Let go of all rows that end first; their slots, which are free now."""
        slots = ends.remove_first()
        self.store.remove(slots)
        return slots

    def events(self) -> int:
        """Σ events of all live rows."""
        return self.store.events(self.store.live())

    def all(self) -> list[Row]:
        """Every live row."""
        return self.rows(self.store.live().tolist())
