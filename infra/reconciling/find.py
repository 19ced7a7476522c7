"""All drifts of one customer's meter, each named once: every finder looks at its own stages. Pure."""

from __future__ import annotations

from infra.reconciling.books import Books
from infra.reconciling.drift import KINDS, Drift
from infra.reconciling.ids import in_ids
from infra.reconciling.receipts import in_receipts
from infra.reconciling.totals import in_totals
from infra.reconciling.windows import in_windows


def find(books: Books) -> list[Drift]:
    """Every difference with its cause, ordered by kind, then time."""
    found = [*in_windows(books), *in_receipts(books), *in_totals(books), *in_ids(books)]
    return sorted(found, key=_order)


def _order(drift: Drift) -> tuple[int, str, str, int, tuple[str, ...]]:
    start_s = drift.window.start_s if drift.window is not None else drift.period[0] if drift.period is not None else 0
    return KINDS.index(drift.kind), drift.customer, drift.meter, start_s, drift.cells
