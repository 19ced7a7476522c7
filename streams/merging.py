"""Law 4, recovery is a max: rows of one changelog segment after the other into the table, whatever their order, no row on its own.

Of two records of a row the greater revision wins; of equal ones the one found later, with what either knows to be emitted. The later one also where
it knows of less: writers that do not know of each other tombstone earlier copies only, and if `emitted` decided, one could rely on the copy that the
other gives up. One revision with two totals is corruption: halt.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np
from numpy.typing import NDArray

from streams.name_table import Names
from streams.probing import Slots, spread
from streams.row_segments import RowColumns
from streams.segments import Extent
from streams.state import PartitionState, Retired
from topics.errors import CorruptState

_VALUES: Final = (
    "low", "high", "events", "first_offset", "generation", "through", "emitted_generation", "emitted_through", "hash", "own",
)  # fmt: skip


def merge_rows(state: PartitionState, rows: RowColumns, extent: Extent, number: int, where: str) -> None:
    """Take a segment's rows that belong to the prefix and are not let go; `number` is what they are told apart by as the segment's."""
    rows.columns["own"] = _own(state, rows)
    columns = rows.columns
    lives = extent.holds_each(columns["generation"], columns["through"]) & ~_retired(state, rows)
    for part in _apart(rows if lives.all() else rows.take(np.flatnonzero(lives))):
        _merge(state, part, number, where)


def _apart(rows: RowColumns) -> Iterator[RowColumns]:
    """The rows together; one row twice in a segment is none of ours, but what it means is plain: then each on its own."""
    columns = rows.columns
    keys = spread(columns["customer"], columns["meter"], columns["start_s"])
    if len(np.unique(keys)) == len(rows):
        yield rows
        return
    for at in range(len(rows)):
        yield rows.take(np.array([at]))


def _own(state: PartitionState, rows: RowColumns) -> NDArray[np.bool_]:
    """A row that began after its customer had a test clock says so; an earlier one is the clock's where the log's now had not made it final."""
    columns, own = rows.columns, np.zeros(len(rows), bool)
    if not state.definitions.clocks:
        return own
    for at, name in enumerate(rows.customers):
        clock = state.definitions.clocks.get(name)
        if clock is not None:
            own |= (columns["customer"] == at) & (columns["own"] | (columns["end_s"] > clock.log_final_s))
    return own


def _retired(state: PartitionState, rows: RowColumns) -> NDArray[np.bool_]:
    columns = rows.columns
    own = columns["own"]
    gone: NDArray[np.bool_] = (columns["end_s"] <= state.retired.until_s) & ~own
    for at in np.unique(columns["customer"][own]).tolist():
        until_s = state.own_retired.get(rows.customers[at], Retired()).until_s
        gone |= own & (columns["customer"] == at) & (columns["end_s"] <= until_s)
    return gone


def _merge(state: PartitionState, rows: RowColumns, number: int, where: str) -> None:
    if not len(rows):
        return
    store, columns = state.rows.store, rows.columns
    customers = _numbered(columns["customer"], rows.customers, store.customers)
    meters = _numbered(columns["meter"], rows.meters, store.meters)
    slots = store.find(customers, meters, columns["start_s"])
    new = slots < 0
    _check_ends(state, rows, slots, where)
    if new.any():
        slots[new] = store.make(customers[new], meters[new], columns["start_s"][new], columns["end_s"][new])
    held, found = _revisions(store.columns, slots), (columns["generation"], columns["through"])
    same, newer = _is_same(held, found), _is_less(held, found)
    if same.any():
        _check_totals(state, rows, slots, same, where)
        known = (store.columns["emitted_generation"][slots], store.columns["emitted_through"][slots])
        more = same & _is_less((columns["emitted_generation"], columns["emitted_through"]), known)
        for name in ("emitted_generation", "emitted_through"):
            columns[name] = np.where(more, store.columns[name][slots], columns[name])
    wins = np.flatnonzero(same | newer)
    slots = slots[wins]
    for name in _VALUES:
        store.columns[name][slots] = columns[name][wins]
    store.columns["segment"][slots] = number
    for at, slot in zip(wins.tolist(), slots.tolist(), strict=True) if store.wide or rows.wide else ():
        store.wide.pop(slot, None)
        if at in rows.wide:
            store.wide[slot] = rows.wide[at]


def _numbered(positions: Slots, names: list[str], held: Names) -> Slots:
    """The table's numbers of a segment's names, of those alone that a row needs."""
    used, inverse = np.unique(positions, return_inverse=True)
    return held.numbers(names[at] for at in used.tolist())[inverse]


def _revisions(columns: dict[str, Slots], slots: Slots) -> tuple[Slots, Slots]:
    return columns["generation"][slots], columns["through"][slots]


def _is_same(one: tuple[Slots, Slots], other: tuple[Slots, Slots]) -> NDArray[np.bool_]:
    return np.asarray((one[0] == other[0]) & (one[1] == other[1]), np.bool_)


def _is_less(one: tuple[Slots, Slots], other: tuple[Slots, Slots]) -> NDArray[np.bool_]:
    return np.asarray((one[0] < other[0]) | ((one[0] == other[0]) & (one[1] < other[1])), np.bool_)


def _check_ends(state: PartitionState, rows: RowColumns, slots: Slots, where: str) -> None:
    there = np.flatnonzero(slots >= 0)
    wrong = there[state.rows.store.columns["end_s"][slots[there]] != rows.columns["end_s"][there]]
    if len(wrong):
        held = state.rows.store.window(int(slots[wrong[0]]))
        found = held._replace(end_s=int(rows.columns["end_s"][wrong[0]]))
        raise CorruptState(f"{where}: {found} and {held} begin at one instant; do not bill from this state, report it")


def _check_totals(state: PartitionState, rows: RowColumns, slots: Slots, same: NDArray[np.bool_], where: str) -> None:
    held, columns = state.rows.store.columns, rows.columns
    differs = (held["hash"][slots] != columns["hash"]).any(axis=1)
    for name in ("low", "high", "events"):
        differs |= held[name][slots] != columns[name]
    for at, slot in enumerate(slots.tolist()) if rows.wide or state.rows.store.wide else ():
        differs[at] |= state.rows.store.wide.get(slot) != rows.wide.get(at)
    for at in np.flatnonzero(differs & same).tolist():
        revision = (int(columns["generation"][at]), int(columns["through"][at]))
        raise CorruptState(
            f"{where}: window {state.rows.store.window(int(slots[at]))} has two totals under one revision {revision}; "
            "do not bill from this state: keep the topics and compare with `tidemark replay`"
        )
