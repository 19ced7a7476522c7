"""The rows of one partition in one numpy table: 128 bytes a row, found by (customer, meter, start), chained by customer.

A row is a slot, a number that stays the row's until it is let go and is then given to another. Nothing here knows a law: sums, fences and revisions
come in and go out as they are. Numbers are exact: a sum is 128 bits wide, one that does not fit lies beside the table as a Python integer.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from streams.name_table import Names
from streams.probing import MASK, U64, Index, Slots, spread, spread_one
from streams.room import grown
from topics.content_hash import MODULUS
from topics.windows import Window

ROW: Final = np.dtype(
    [
        ("start_s", "<i8"),
        ("end_s", "<i8"),
        ("low", "<u8"),
        ("high", "<i8"),
        ("events", "<i8"),
        ("first_offset", "<i8"),
        ("through", "<i8"),
        ("emitted_through", "<i8"),
        ("hash", "<u8", (4,)),
        ("segment", "<i8"),
        ("customer", "<i4"),
        ("preceding", "<i4"),
        ("following", "<i4"),
        ("generation", "<i4"),
        ("emitted_generation", "<i4"),
        ("meter", "<u2"),
        ("own", "?"),
        ("phase", "u1"),
    ]
)
"""Two cache lines. `low`, `high`: the sum. `through`, `emitted_through`: −1 where there is none, and then their generation is −1 too.
`preceding`, `following`: the customer's other rows. `phase`: where closing has it."""
NONE: Final = -1
"""No row, no customer."""
_WORD: Final = 1 << 64
_FIRST_ROWS: Final = 64
_FAR: Final = 1 << 62
"""Upper words below it can be added without leaving 128 bits."""


class RowStore:
    """The table, its index, and the names of customers and meters. `columns` are views that change with every growth: never keep one."""

    def __init__(self) -> None:
        self.customers = Names()
        self.forgotten = 0
        """How often customers lost their numbers, which others may have by now."""
        self.meters = Names()
        self.count = 0
        """Live rows."""
        self._used = 0
        self._free: list[Slots] = []
        self.wide: dict[int, int] = {}
        """Sums that 128 bits cannot hold."""
        self._index = Index()
        self._heads: Slots = np.full(16, NONE, np.int32)
        self.table: NDArray[Any] = np.zeros(0, ROW)
        self._allocate(_FIRST_ROWS)

    def _allocate(self, capacity: int) -> None:
        table = self.table = grown(self.table, self._used, capacity)
        self.columns: dict[str, NDArray[Any]] = {name: table[name] for name in ROW.names or ()}

    # ── finding ──────────────────────────────────────────────────────────────────────────────────────────────────────
    def find(self, customers: Slots, meters: Slots, starts_s: Slots) -> Slots:
        """The slot of each row; −1 where there is none. Numbers of names may be −1, for a name that nobody has."""
        held = self.columns
        columns, asked = (held["start_s"], held["customer"], held["meter"]), (starts_s, customers, meters)
        return self._index.find(spread(customers, meters, starts_s), columns, asked)

    def find_one(self, customer: str, meter: str, start_s: int) -> int:
        """The same of one row, by names."""
        code, number, columns = self.customers.find(customer), self.meters.find(meter), self.columns
        if code < 0 or number < 0:
            return NONE

        def is_same(slot: int) -> bool:
            return bool(columns["start_s"][slot] == start_s and columns["customer"][slot] == code and columns["meter"][slot] == number)

        return self._index.find_one(spread_one(code, number, start_s), is_same)

    def of_customer(self, customer: str) -> list[int]:
        """The slots of a customer's rows, the newest first."""
        code, found, following = self.customers.find(customer), list[int](), self.columns["following"]
        slot = int(self._heads[code]) if code >= 0 else NONE
        while slot >= 0:
            found.append(slot)
            slot = int(following[slot])
        return found

    def live(self) -> Slots:
        """All slots that hold a row, ascending."""
        return np.flatnonzero(self.columns["customer"][: self._used] >= 0)

    def window(self, slot: int) -> Window:
        """A row's window."""
        row = self.table[slot]
        return Window(self.customers.name(int(row["customer"])), self.meters.name(int(row["meter"])), int(row["start_s"]), int(row["end_s"]))

    def names_bytes(self, slots: Slots) -> Slots:
        """Of each row the bytes of its two names, however many rows share them."""
        columns = self.columns
        return self.customers.sizes_bytes(columns["customer"][slots]) + self.meters.sizes_bytes(columns["meter"][slots])

    # ── making and letting go ────────────────────────────────────────────────────────────────────────────────────────
    def make(self, customers: Slots, meters: Slots, starts_s: Slots, ends_s: Slots) -> Slots:
        """Slots of new rows that hold nothing yet. The keys are distinct and not there."""
        more = len(customers)
        slots = self._take(more)
        columns = self.columns
        self._index.reserve(more, self._hashes)
        self._index.put(spread(customers, meters, starts_s), slots)
        for name in ("low", "high", "events", "hash", "own", "phase"):
            columns[name][slots] = 0
        for name in ("first_offset", "through", "emitted_through", "generation", "emitted_generation", "segment"):
            columns[name][slots] = NONE
        for name, values in (("customer", customers), ("meter", meters), ("start_s", starts_s), ("end_s", ends_s)):
            columns[name][slots] = values
        self._chain(slots)
        self.count += more
        return slots

    def _take(self, more: int) -> Slots:
        parts: list[Slots] = []
        wanted = more
        while wanted and self._free:
            part = self._free.pop()
            if len(part) > wanted:
                self._free.append(part[wanted:])
                part = part[:wanted]
            parts.append(part)
            wanted -= len(part)
        if self._used + wanted > len(self.table):
            self._allocate(max(self._used + wanted, len(self.table) + len(self.table) // 2))
        parts.append(np.arange(self._used, self._used + wanted))
        self.columns["customer"][self._used : self._used + wanted] = NONE
        self._used += wanted
        return np.concatenate(parts).astype(np.int64)

    def _hashes(self) -> tuple[U64, Slots]:
        # The rows that are being made have no customer yet.
        slots, columns = self.live(), self.columns
        return spread(columns["customer"][slots], columns["meter"][slots], columns["start_s"][slots]), slots

    def _chain(self, slots: Slots) -> None:
        """New rows come before the customer's others."""
        if self.customers.count > len(self._heads):
            known = len(self._heads)
            self._heads = grown(self._heads, known, self.customers.count + self.customers.count // 4)
            self._heads[known:] = NONE
        preceding, following = self.columns["preceding"], self.columns["following"]
        codes = self.columns["customer"][slots]
        order = np.argsort(codes, kind="stable")
        slots, codes = slots[order], codes[order]
        is_first = np.ones(len(slots), bool)
        is_first[1:] = codes[1:] != codes[:-1]
        is_last = np.append(is_first[1:], np.ones(min(1, len(slots)), bool))
        following[slots[:-1]], preceding[slots[1:]] = slots[1:], slots[:-1]
        heads = self._heads[codes[is_last]]
        following[slots[is_last]] = heads
        preceding[heads[heads >= 0]] = slots[is_last][heads >= 0]
        preceding[slots[is_first]] = NONE
        self._heads[codes[is_first]] = slots[is_first]

    def remove(self, slots: Slots) -> None:
        """Let go of rows, each once; a customer without rows loses its number."""
        if not len(slots):
            return
        columns = self.columns
        codes = columns["customer"][slots]
        self._index.remove(spread(codes, columns["meter"][slots], columns["start_s"][slots]), slots)
        columns["customer"][slots] = NONE
        if self.wide:
            for slot in slots.tolist():
                self.wide.pop(slot, None)
        before, after = self._around(slots, "preceding"), self._around(slots, "following")
        has_before, has_after = before >= 0, after >= 0
        columns["following"][before[has_before]] = after[has_before]
        columns["preceding"][after[has_after]] = before[has_after]
        self._heads[codes[~has_before]] = after[~has_before]
        codes = np.unique(codes)
        bare = codes[self._heads[codes] < 0]
        self.customers.forget(bare)
        self.forgotten += len(bare) > 0
        self._free.append(slots.astype(np.int32))
        self.count -= len(slots)

    def _around(self, slots: Slots, side: str) -> Slots:
        """The nearest row on one side that still has a customer. Each look goes twice as far as the one before."""
        beside, customer = self.columns[side], self.columns["customer"]
        found = beside[slots].astype(np.int64)
        while (gone := (found >= 0) & (customer[found] < 0)).any():
            found[gone] = beside[found[gone]]
            beside[slots] = found
        return found

    # ── one value of one row ─────────────────────────────────────────────────────────────────────────────────────────
    def read(self, slot: int, name: str) -> int:
        """A value of a row, by the names of `streams.rows.Row`."""
        columns = self.columns
        if name == "scaled":
            return self.wide[slot] if slot in self.wide else int(columns["high"][slot]) * _WORD + int(columns["low"][slot])
        if name == "rev":
            return _joined(int(columns["generation"][slot]), int(columns["through"][slot]))
        if name == "emitted":
            return _joined(int(columns["emitted_generation"][slot]), int(columns["emitted_through"][slot]))
        if name == "content_hash":
            return int.from_bytes(columns["hash"][slot].tobytes(), "little")
        return int(columns[name][slot])

    def write(self, slot: int, name: str, value: int) -> None:
        """Set it."""
        columns = self.columns
        if name == "scaled":
            self.wide.pop(slot, None)
            if not -(1 << 127) <= value < 1 << 127:
                self.wide[slot] = value
                value = 0
            columns["high"][slot], columns["low"][slot] = value >> 64, value & MASK
        elif name == "rev":
            columns["generation"][slot], columns["through"][slot] = _split(value)
        elif name == "emitted":
            columns["emitted_generation"][slot], columns["emitted_through"][slot] = _split(value)
        elif name == "content_hash":
            columns["hash"][slot] = np.frombuffer((value % MODULUS).to_bytes(32, "little"), np.uint64)
        else:
            columns[name][slot] = value

    # ── many rows ────────────────────────────────────────────────────────────────────────────────────────────────────
    def is_pending(self, slots: Slots) -> NDArray[np.bool_]:
        """True where the newest revision was never emitted."""
        generation, emitted = self.columns["generation"][slots], self.columns["emitted_generation"][slots]
        newer = self.columns["through"][slots] > self.columns["emitted_through"][slots]
        return np.asarray((generation > emitted) | ((generation == emitted) & newer), np.bool_)

    def is_below(self, slots: Slots, rev: int) -> NDArray[np.bool_]:
        """True where the row's revision is smaller than this one."""
        generation, through = _split(rev)
        held = self.columns["generation"][slots]
        return np.asarray((held < generation) | ((held == generation) & (self.columns["through"][slots] < through)), np.bool_)

    def events(self, slots: Slots) -> int:
        """Σ events, exact."""
        events = self.columns["events"][slots]
        return (int((events >> 32).sum()) << 32) + int((events & 0xFFFF_FFFF).sum())

    def add(self, slots: Slots, low: U64, high: NDArray[np.int64]) -> None:
        """Add to the sums of distinct rows numbers of 128 bits in two words."""
        columns = self.columns
        held = columns["high"][slots]
        odd = (held >= _FAR) | (held < -_FAR) | (high >= _FAR) | (high < -_FAR)
        if self.wide:
            odd |= np.isin(slots, list(self.wide))
        for at in np.flatnonzero(odd).tolist():
            slot = int(slots[at])
            self.write(slot, "scaled", self.read(slot, "scaled") + (int(high[at]) << 64) + int(low[at]))
        if odd.any():
            slots, low, high, held = slots[~odd], low[~odd], high[~odd], held[~odd]
        total = columns["low"][slots] + low
        columns["low"][slots] = total
        columns["high"][slots] = held + high + (total < low)

    def add_hashes(self, slots: Slots, words: U64) -> None:
        """Add (n, 4) little-endian words to the content hashes of distinct rows, modulo 2²⁵⁶."""
        held = self.columns["hash"][slots]
        carry = np.zeros(len(slots), np.uint64)
        for word in range(4):
            total = held[:, word] + words[:, word]
            over = total < words[:, word]
            held[:, word] = total + carry
            carry = (over | (held[:, word] < total)).astype(np.uint64)
        self.columns["hash"][slots] = held


def _joined(generation: int, through: int) -> int:
    return (generation << 64) | through if generation >= 0 else -1


def _split(rev: int) -> tuple[int, int]:
    return (rev >> 64, rev & MASK) if rev >= 0 else (-1, -1)
