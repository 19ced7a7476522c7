"""What falls due when: for each object the instant of the next thing that time does to it, on its clock (table `due`)."""

from __future__ import annotations

from infra.sandbox.store import Store

OWN = ""
"""The sandbox's own clock, as the table names it; any other name is a test clock's id."""
INVOICES, SUBSCRIPTIONS = 0, 1
"""What comes first at one instant: an invoice is finalised and paid before a subscription begins its next period."""


def plan(store: Store, object_id: str, *, clock: str, at_s: float | None, rank: int) -> None:
    """Says when the next thing happens to an object; None: nothing more."""
    if at_s is None:
        store.run("DELETE FROM due WHERE id = ?", (object_id,))
        return
    store.run(
        "INSERT INTO due (id, clock, at_s, rank) VALUES (?, ?, ?, ?) "
        "ON CONFLICT (id) DO UPDATE SET clock = excluded.clock, at_s = excluded.at_s, rank = excluded.rank",
        (object_id, clock, at_s, rank),
    )


def first(store: Store, clock: str, until_s: float) -> tuple[str, float] | None:
    """(object, instant) of what is due next on a clock, at or before an instant of it."""
    row = store.run("SELECT id, at_s FROM due WHERE clock = ? AND at_s <= ? ORDER BY at_s, rank, rowid LIMIT 1", (clock, until_s)).fetchone()
    return None if row is None else (str(row[0]), float(row[1]))
