"""Coverage: each window is in exactly one state, gaps and stragglers are listed, and a period has its number at every stage."""

from __future__ import annotations

import dataclasses
from typing import Any

import msgspec

from infra.reconciling.books import CellBook
from infra.reconciling.coverage import STATES, Coverage, periods
from tests.core.reconcile_books import EDGE, HOUR_S, P, adjusted, book, books, cell, line, metered, receipt, summary, window
from topics.receipt import WindowReceipt
from topics.windows import Window, window_key


def _covered(**more: Any) -> Coverage:
    found = Coverage()
    found.add(books(**more))
    return found


def _parked(hour: int, reason: str) -> WindowReceipt:
    held = window(hour)
    known: dict[str, Any] = {"window": window_key(held), "customer": "acme", "meter": "calls", "start_s": held.start_s, "end_s": held.end_s}
    return WindowReceipt(**known, generation=0, through_offset=10, quantity="3", reason=reason, parked_at_ms=1)


def test_every_window_has_one_state() -> None:
    """Windows of every sort together: their states add up to as many windows as there are."""
    windows = (
        book(1, 10), book(2, 10), book(3, 10, 12), book(4, counted=5), dataclasses.replace(book(5, 10), newest_event=(0, 99)),
        book(6, 3, parked=_parked(6, "unbound")), book(7, 3, parked=_parked(7, "before_period")), book(8, 30, 35), book(9, 30, 35),
    )  # fmt: skip
    cells = (
        cell(1, 10), cell(2, 10, state="refused"), cell(3, 10), cell(5, 10), adjusted(8, 35, 30), adjusted(9, 35, 30, settled=5),
    )  # fmt: skip
    found = _covered(windows=windows, cells=cells)
    # 1 delivered, 9 settled · 3 has a newer revision · 2 refused, 7 before its period, 8 an open adjustment
    assert {state: found.states[state] for state in STATES} == {
        "delivered": 2, "undelivered": 1, "parked": 3, "unbound": 1, "open": 1, "reopened": 1,
    }  # fmt: skip
    assert sum(found.states.values()) == len(windows)


def test_gaps() -> None:
    """A window that was due and not emitted, and one that no receipt knows, are gaps; what may still come is none."""
    windows = (book(1, counted=5, must_be_emitted=True), book(2, 10, must_have_receipt=True), book(3, counted=5), book(4, 10))
    found = _covered(windows=windows)
    assert [place.window for place in found.gaps] == [window(1), window(2)]
    assert found.gap_count == 2


def test_stragglers() -> None:
    """A window that waits though it was due, and one that lies across an edge, are stragglers; a fresh late revision is none."""
    whole = Window("acme", "calls", EDGE - HOUR_S, EDGE + HOUR_S)
    part = msgspec.structs.replace(receipt(1, 30).windows[0], window=window_key(whole))
    across = CellBook(history=(receipt(1, 30, timestamp_s=whole.start_s, windows=(part,)),))
    straddling = dataclasses.replace(book(1, 30), window=whole)
    fresh = book(3, 10, 12)
    fresh = dataclasses.replace(fresh, revisions=(fresh.revisions[0], fresh.revisions[1]._replace(closed_at_ms=2**60)))
    found = _covered(windows=(book(2, counted=5), fresh, straddling), cells=(across, cell(3, 10)))
    assert [place.window for place in found.stragglers] == [window(2), whole]


def test_a_period_has_every_stage() -> None:
    """A period's row says what each stage holds, from raw events to the invoice line, for records and for a meter."""
    said = books(cells=(cell(1, 30), cell(2, 41)), summaries=(summary(70),), lines=(line(69),))
    row = next(periods(said))
    assert (row.start_s, row.end_s, row.windows, row.cells) == (P, EDGE, 2, 2)
    assert row.numbers == {"raw": "71", "counted": "71", "emitted": "71", "delivered": "71", "provider": "70", "line": "69"}
    unasked = next(periods(books(cells=(metered(1, 30),))))
    assert unasked.numbers == {"raw": "30", "counted": "30", "emitted": "30", "delivered": "30"}
