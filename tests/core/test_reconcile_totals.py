"""Reconcile, the provider's totals: each cause is named right, several at once are separated, and nothing is said of what may still change."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from infra.reconciling.books import CellBook
from infra.reconciling.drift import Drift
from infra.reconciling.find import find
from tests.core.reconcile_books import EDGE, ITEM, LONG_S, P, adjusted, book, books, bucket, cell, line, metered, receipt, summary, version
from topics.adjustments import Carried, Remedy
from topics.quantity import ONE
from topics.receipt import Sent, Standing

IN_SECOND = LONG_S // 3600 + 5
"""An hour of the second period."""


def only(**more: Any) -> Drift:
    """The one drift of some books."""
    found = find(books(**more))
    assert len(found) == 1, [(each.kind, each.sentence) for each in found]
    return found[0]


def test_equal_totals_say_nothing() -> None:
    """Totals that are what the receipts come to are no drift, in a period that ended and in the running one."""
    cells = (cell(1, 30), cell(2, 40, 45), cell(IN_SECOND, 7))
    assert find(books(cells=cells, summaries=(summary(75), summary(7, second=True)), lines=(line(75),))) == []


def test_a_lost_report() -> None:
    """A total that is short by exactly one cell's units names that cell, with the money that is not billed."""
    drift = only(cells=(cell(1, 30), cell(2, 41)), summaries=(summary(30),))
    assert (drift.kind, drift.cells, drift.difference_scaled, drift.amount) == ("lost_report", (f"{ITEM}|{P + 7200}",), -41 * ONE, -82)
    assert (drift.numbers["emitted"], drift.holds, drift.repair) == ("41", "0", "report")


def test_a_double_report() -> None:
    """A total that is over by exactly one cell's units names that cell as held twice."""
    drift = only(cells=(cell(1, 30), cell(2, 41)), summaries=(summary(112),))
    assert (drift.kind, drift.cells, drift.amount, drift.repair) == ("double_report", (f"{ITEM}|{P + 7200}",), 82, "clear")


def test_a_stale_retry() -> None:
    """A total that is what it would be with an older revision of one cell says which revision stands."""
    drift = only(cells=(cell(1, 30), cell(2, 41, 44, 50)), summaries=(summary(74),))
    assert (drift.kind, drift.holds, drift.numbers["delivered"]) == ("stale_retry", "44", "50")


def test_a_wrong_period() -> None:
    """Units that one period lacks and the next has too many are one cell in the wrong one, not a lost and a doubled report."""
    cells = (cell(1, 30), cell(2, 41), cell(IN_SECOND, 7))
    drift = only(cells=cells, summaries=(summary(30), summary(48, second=True)))
    assert (drift.kind, drift.cells, drift.candidates) == ("wrong_period", (f"{ITEM}|{P + 7200}",), (f"{ITEM}|{EDGE}|{EDGE + LONG_S}",))


def test_a_wrong_period_beside_a_lost_report() -> None:
    """A cell that moved is found where another one is lost in the same period."""
    cells = (cell(1, 3001), cell(2, 4107), cell(3, 977), cell(IN_SECOND, 7))
    found = find(books(cells=cells, summaries=(summary(977), summary(7 + 4107, second=True))))
    assert [(each.kind, each.cells) for each in found] == [
        ("lost_report", (f"{ITEM}|{P + 3600}",)),
        ("wrong_period", (f"{ITEM}|{P + 7200}",)),
    ]


def test_an_edit() -> None:
    """A number that no report explains is an edit, and every cell of the period is a candidate to be set again."""
    drift = only(cells=(cell(1, 30), cell(2, 41)), summaries=(summary(64),))
    assert (drift.kind, drift.difference_scaled, len(drift.candidates)) == ("provider_edit", -7 * ONE, 2)


def test_an_edit_of_a_period_without_reports() -> None:
    """Usage in a period in which we reported nothing is somebody else's, once the item is ours; what was before is not judged."""
    assert only(summaries=(summary(9),)).kind == "provider_edit"
    assert find(books(summaries=(summary(9)._replace(start_s=P - LONG_S, end_s=P),))) == []


def test_two_causes_in_one_period_are_separated() -> None:
    """A lost and a stale report in one period are both named, because numbers that large do not fit by accident."""
    cells = (*(cell(hour, 100_000 + 7919 * hour**2) for hour in range(1, 5)), cell(9, 55_123, 61_007))
    lost, stale = 100_000 + 7919 * 9, 61_007 - 55_123
    whole = sum(int(each.newest.units) for each in cells)
    found = find(books(cells=cells, summaries=(summary(whole - lost - stale),)))
    assert [(each.kind, each.cells[0]) for each in found] == [("lost_report", f"{ITEM}|{P + 3 * 3600}"), ("stale_retry", f"{ITEM}|{P + 9 * 3600}")]


def test_what_fits_by_accident_is_not_believed() -> None:
    """Among many small cells some pair fits any number; then it is said that nothing explains it, instead of a guess."""
    cells = tuple(cell(hour, hour) for hour in range(1, 60))
    whole = sum(range(1, 60))
    assert only(cells=cells, summaries=(summary(whole - 100),)).kind == "provider_edit"


def test_equal_cells_are_candidates() -> None:
    """Where two cells hold the same units the kind is certain and the other cell is named as a candidate."""
    drift = only(cells=(cell(1, 30), cell(2, 30)), summaries=(summary(30),))
    assert (drift.kind, drift.candidates) == ("lost_report", (f"{ITEM}|{P + 7200}",))


@pytest.mark.parametrize(
    "doubtful",
    [
        cell(2, 41, 50, moving=True),
        cell(2, 41, 50, state="intent", standing=receipt(2, 41).standing),
        cell(2, 41, 50, state="unknown", standing=receipt(2, 41).standing, maybe=("50",)),
        cell(2, 41, 50, state="refused", standing=receipt(2, 41).standing, maybe=("50",)),
    ],
)
@pytest.mark.parametrize("held", [41, 50])
def test_a_call_under_way_may_stand_or_not(doubtful: Any, held: int) -> None:
    """While a call is under way or its outcome is unknown, the provider may hold the old units or the new ones."""
    assert find(books(cells=(cell(1, 30), doubtful), summaries=(summary(30 + held),))) == []


def test_doubt_about_one_cell_hides_no_other() -> None:
    """Beside a cell in doubt a lost report is still found."""
    cells = (cell(1, 300), cell(2, 41, 50, moving=True))
    assert only(cells=cells, summaries=(summary(50),)).kind == "lost_report"


def test_what_an_adjustment_carried() -> None:
    """Units of an earlier period that next_period reported belong to the running period's total, and so do those that are being carried."""
    carried = Carried(second=EDGE + 7000, units="5", period_start_s=EDGE)
    remedy = Remedy(kind="usage_record", number=2, units="3", intent_at_ms=1, second=EDGE + 7001, period_start_s=EDGE)
    done = adjusted(1, 35, 30, settled=5, policy="next_period", carried=(carried,))
    now = adjusted(1, 38, 30, settled=5, policy="next_period", carried=(carried,), remedy=remedy)
    for cells, held in (((done,), 5), ((now,), 5), ((now,), 8)):
        assert find(books(cells=cells, summaries=(summary(30), summary(held, second=True)))) == []
    assert only(cells=(done,), summaries=(summary(30), summary(0, second=True))).kind == "provider_edit"


def test_a_plan_change_may_clear_what_was_recorded() -> None:
    """What stood at an item before its price changed may be there or not: the invoice is believed, and what lacks is an adjustment."""
    gone = adjusted(1, 30, 30, policy="invoice_item", cause="plan_changed")
    changed = CellBook(history=(gone.history[0], msgspec.structs.replace(gone.newest, standing=None)))
    for held in (0, 30):
        assert find(books(cells=(changed,), summaries=(summary(held),))) == []


def test_a_window_that_no_receipt_knows_may_stand() -> None:
    """A window whose receipt is not there (yet) explains a total with its units as well as one without."""
    windows = (book(1, 30), book(2, 41))
    for held in (30, 71):
        assert find(books(windows=windows, cells=(cell(1, 30),), summaries=(summary(held),))) == []


def test_a_provider_that_was_not_asked() -> None:
    """Where the provider could not be asked nothing is said of it."""
    assert find(books(cells=(cell(1, 30),), summaries=None)) == []


def test_a_period_that_is_not_whole_in_the_books() -> None:
    """A period of which only a part was read is not compared."""
    assert find(books(cells=(cell(1, 30),), summaries=(summary(99),), from_s=P + 3600)) == []


# ── meters ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_hours_of_a_meter() -> None:
    """Of a pre-aggregated meter each hour is one cell: lost, older, edited, and part of a unit, each where it is."""
    cells = (metered(1, 30), metered(2, 41, 44), metered(3, 50), metered(4, 60), metered(5, 70))
    held = (bucket(2, 41), bucket(3, 49), bucket(4, 60)._replace(scaled=60 * ONE - ONE // 4), bucket(5, 70))
    found = find(books(cells=cells, buckets=held))
    assert [(each.kind, each.cells, each.holds) for each in found] == [
        ("lost_report", (cells[0].newest.cell,), "0"),
        ("rounding", (cells[3].newest.cell,), "59.75"),
        ("provider_edit", (cells[2].newest.cell,), "49"),
        ("stale_retry", (cells[1].newest.cell,), "41"),
    ]


def test_a_second_event_in_an_hour_of_nobody() -> None:
    """A cell's units in an hour that is none of ours are a second report."""
    drift = only(cells=(metered(1, 30), metered(2, 41)), buckets=(bucket(1, 30), bucket(2, 41), bucket(9, 41)))
    assert (drift.kind, drift.cells, drift.period) == ("double_report", (metered(2, 41).newest.cell,), (P + 9 * 3600, P + 10 * 3600))


def test_an_accepted_event_that_does_not_count_yet() -> None:
    """An event that was accepted and is not confirmed may be missing from the meter's usage."""
    sent = Sent(idempotency_key="k", units="11", quantity="11", at_ms=1)
    waits = metered(2, 30, 41, unconfirmed=(sent,))
    for held in (30, 41):
        assert find(books(cells=(waits,), buckets=(bucket(2, held),))) == []


def test_a_meter_that_adds_up() -> None:
    """Where a meter adds up, an hour is a sum of windows, and an event that was taken twice shows as its delta."""
    cells = (metered(2, 30, aggregation="sum"), metered(3, 41, aggregation="sum"))
    assert find(books(cells=cells, buckets=(bucket(2, 30), bucket(3, 41)))) == []
    assert only(cells=cells, buckets=(bucket(2, 30), bucket(3, 82))).kind == "double_report"


# ── final invoices ───────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_line_that_bills_what_stands() -> None:
    """A line with the units that stand and their price says nothing; drafts and void invoices are not judged."""
    cells = (cell(1, 30),)
    assert find(books(cells=cells, summaries=(summary(30),), lines=(line(30),))) == []
    assert find(books(cells=cells, lines=(line(99, status="draft"), line(99, status="void")))) == []


def test_a_line_repeats_no_drift_of_the_total() -> None:
    """What the provider's total lacks its line lacks too, and it is said once, by total or by hour."""
    assert only(cells=(cell(1, 30), cell(2, 41)), summaries=(summary(30),), lines=(line(30),)).kind == "lost_report"
    metric = (metered(1, 30), metered(2, 41))
    assert only(cells=metric, buckets=(bucket(1, 30),), lines=(line(30),)).cells == (metric[1].newest.cell,)


def test_a_line_that_lacks_a_cell() -> None:
    """A final line that lacks a cell which the provider holds is named, and only a credit note or an invoice item puts it right."""
    drift = only(cells=(cell(1, 30), cell(2, 41)), summaries=(summary(71),), lines=(line(30),))
    assert (drift.kind, drift.repair, drift.invoice, drift.line) == ("lost_report", "settle", "in_1", "il_1")


def test_a_cell_on_the_line_of_another_period() -> None:
    """Units that stand on the next period's line are in the wrong period."""
    cells = (cell(1, 30), cell(2, 41), cell(IN_SECOND, 7))
    lines = (line(30), line(48, second=True, invoice="in_2", line="il_2"))
    held = (summary(71), summary(7, second=True))
    drift = only(cells=cells, summaries=held, lines=lines)
    assert (drift.kind, drift.line, drift.repair) == ("wrong_period", "il_2", "settle")


def test_an_amount_that_its_units_do_not_cost() -> None:
    """A line whose amount is not units × price is a rounding drift in money, with no units."""
    drift = only(cells=(cell(1, 30),), summaries=(summary(30),), lines=(line(30, amount=61),))
    assert (drift.kind, drift.amount, drift.currency, drift.difference_scaled) == ("rounding", 1, "usd", 0)


def test_a_meters_line_is_cut_to_whole_units_and_never_below_zero() -> None:
    """A meter's line shows whole units, and 0 where the period's usage is negative."""
    for units, billed in (("30.5", 30), ("-4", 0)):
        standing = Standing(revision=1, attempt=1, units=units, quantity=units, at_ms=1)
        held = metered(1, 30, units=units, quantity=units, standing=standing, fractions="exact")
        assert find(books(cells=(held,), lines=(line(billed),), windows=())) == []


def test_an_item_of_another_binding() -> None:
    """Totals of an item that bills nobody of ours are not judged."""
    assert find(books(summaries=(summary(9)._replace(item="si_other"),), versions=(version(),))) == []
