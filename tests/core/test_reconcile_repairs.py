"""Repairs as they are proposed: which steps, with which effect in units and money, and what is left to a person. Nothing is done here."""

from __future__ import annotations

import dataclasses
from typing import Any

import msgspec
import pytest

from infra.reconciling.applying import steps_of
from infra.reconciling.books import Copies, Copy
from infra.reconciling.drift import Coordinate
from infra.reconciling.find import find
from infra.reconciling.repairs import propose, summary
from infra.reconciling.steps import Amend, Proposal, Restate, RestoreEvents, RestoreWindow
from tests.core import reconcile_books
from tests.core.reconcile_books import EDGE, ITEM, LONG_S, NOW_MS, P, adjusted, book, books, bucket, cell, line, metered, receipt, version
from topics.quantity import ONE

held = reconcile_books.summary
SECOND = LONG_S // 3600 + 5
"""An hour of the second period, which still runs."""


def only(**more: Any) -> Proposal:
    """The one proposal for the one drift of some books."""
    made = books(**more)
    (proposal,) = propose(made, find(made), "a test", NOW_MS)
    return proposal


def said(proposal: Proposal) -> list[tuple[str, str, str]]:
    """(cell, stands, beside) of its restatements."""
    steps = [step for step in proposal.steps if isinstance(step, Restate)]
    return [(step.record.target.split('"')[-2], step.record.stands, step.record.beside) for step in steps]


def name(hour: int) -> str:
    """A cell's name."""
    return f"{ITEM}|{P + hour * 3600}"


def test_a_lost_report_is_set_again() -> None:
    """The report is told that nothing stands of the cell as its receipt is now; the period gains its units and their money."""
    proposal = only(cells=(cell(SECOND, 30), cell(SECOND + 1, 41, 44)), summaries=(held(30, second=True),))
    assert said(proposal) == [(name(SECOND + 1), "0", "0")]
    assert (proposal.units, proposal.amount, proposal.by_hand) == (44 * ONE, 88, "")
    (step,) = proposal.steps
    assert isinstance(step, Restate) and (step.record.revision, step.record.attempt, step.record.reason) == (2, 1, "a test")


def test_other_cells_that_would_explain_it_are_set_again_too() -> None:
    """Two cells of equal units, one of them lost: both are set, which does no harm to the one that stood."""
    proposal = only(cells=(cell(SECOND, 30), cell(SECOND + 1, 30), cell(SECOND + 2, 7)), summaries=(held(37, second=True),))
    assert sorted(said(proposal)) == [(name(SECOND), "0", "0"), (name(SECOND + 1), "30", "0")]


def test_units_at_another_second_are_left_out() -> None:
    """The period holds a cell twice, nobody knows at which second: the cell's report is lowered by what stands there."""
    proposal = only(cells=(cell(SECOND, 30), cell(SECOND + 1, 41)), summaries=(held(112, second=True),))
    assert said(proposal) == [(name(SECOND + 1), "82", "41")]
    assert (proposal.units, proposal.amount) == (-41 * ONE, -82)


def test_what_stands_beside_a_cell_already_stays_there() -> None:
    """A second copy is added to the first one that was found."""
    cells = (cell(SECOND, 30), cell(SECOND + 1, 41, beside="5"))
    assert said(only(cells=cells, summaries=(held(101, second=True),))) == [(name(SECOND), "60", "30")]


@pytest.mark.parametrize("aggregation", ["hour", "sum"])
def test_a_meters_second_copy_is_taken_off(aggregation: str) -> None:
    """A meter's hour is set anew, or told the difference: the report needs only to know what stands; in another hour it is a person's."""
    cells = (metered(SECOND, 30, aggregation=aggregation), metered(SECOND + 1, 41, aggregation=aggregation))
    proposal = only(cells=cells, buckets=(bucket(SECOND, 30), bucket(SECOND + 1, 82)))
    assert (proposal.drift.kind, said(proposal), proposal.units) == ("double_report", [(name(SECOND + 1), "82", "0")], -41 * ONE)
    elsewhere = only(cells=cells, buckets=(bucket(SECOND, 71), bucket(SECOND + 1, 41)))
    assert (elsewhere.drift.kind, elsewhere.steps) == ("double_report", ())


def test_units_beside_a_cell_that_are_gone_are_sent_again() -> None:
    """Whoever reported beside us took it back: what the cell's report says less is said again, whether or not it is all of the cell."""
    both = (cell(SECOND, 30), cell(SECOND + 1, 41, beside="41"))
    assert said(only(cells=both, summaries=(held(30, second=True),))) == [(name(SECOND + 1), "0", "0")]
    some = tuple(_same_windows(each) for each in (cell(SECOND, 300, 300), cell(SECOND + 1, 4100, 4100, beside="600")))
    assert said(only(cells=some, summaries=(held(3800, second=True),))) == [(name(SECOND + 1), "3500", "0")]
    assert said(only(cells=some, summaries=(held(4000, second=True),))) == [(name(SECOND + 1), "3700", "200")]


def test_in_a_final_period_it_is_an_adjustment() -> None:
    """Nothing is sent to a period that has ended: its cell is told what stands, and its adjustment says the rest."""
    proposal = only(cells=(cell(1, 30), cell(2, 41)), summaries=(held(30),), lines=(line(30),))
    assert said(proposal) == [(name(2), "0", "0")] and "adjustment" in proposal.sentence
    assert said(only(cells=(cell(1, 30), cell(2, 41)), summaries=(held(112),))) == [(name(2), "82", "0")]


def test_a_wrong_period_is_put_right_on_both_sides() -> None:
    """Where it belongs the cell is told that it holds nothing; where it stands, the fullest cells give way, as far as they go."""
    cells = (cell(1, 30), cell(2, 41), cell(SECOND, 7), cell(SECOND + 1, 36))
    proposal = only(cells=cells, summaries=(held(30), held(84, second=True)))
    assert said(proposal) == [(name(2), "0", "0"), (name(SECOND + 1), "72", "36"), (name(SECOND), "12", "5")]


def test_a_surplus_that_no_cell_can_give_way_to_is_left_to_a_person() -> None:
    """More stands beside the cells than all of them have: nothing is proposed but a look, since half of it would be wrong too."""
    cells = (cell(1, 30), cell(2, 41), cell(SECOND, 7))
    proposal = only(cells=cells, summaries=(held(30), held(48, second=True)))
    assert proposal.steps == () and proposal.by_hand.startswith("tidemark explain")


def test_an_edit_is_undone_by_setting_every_cell_again() -> None:
    """Of a period's total alone nobody knows which cell was edited: all are set again, and it costs nothing where they stood."""
    cells = (cell(SECOND, 300), cell(SECOND + 1, 4100), cell(SECOND + 2, 77))
    proposal = only(cells=cells, summaries=(held(5000, second=True),))
    assert said(proposal) == [(name(SECOND), "300", "0"), (name(SECOND + 1), "4100", "0"), (name(SECOND + 2), "77", "0")]


def test_an_edit_that_survives_that_stands_at_nobodys_second() -> None:
    """All cells were set again and still too much stands: it is counted to the fullest."""
    cells = (cell(SECOND, 300, 300), cell(SECOND + 1, 4100, 4100))
    cells = tuple(_same_windows(each) for each in cells)
    assert said(only(cells=cells, summaries=(held(5000, second=True),))) == [(name(SECOND + 1), "4700", "600")]
    # Too little cannot stand elsewhere: the cells are set once more.
    assert len(said(only(cells=cells, summaries=(held(4000, second=True),)))) == 2


def _same_windows(each: Any) -> Any:
    """The cell as a repair leaves it: the newest revision says what the one before had said."""
    first, second = each.history
    return type(each)(history=(first, msgspec.structs.replace(second, windows=first.windows)))


def test_a_meters_hour_of_nobodys_is_set_to_nothing() -> None:
    """A meter holds something in an hour that has no cell of ours: a cell is made for it, with what was found as what stands."""
    more = version(mode="meters", aggregation="hour", event_name="calls", stripe_customer="cus_1")
    proposal = only(cells=(metered(SECOND, 30),), versions=(more,), buckets=(bucket(SECOND, 30), bucket(SECOND + 3, 11)))
    (step,) = proposal.steps
    assert isinstance(step, Restate) and step.record.target.endswith(f'hour|{P + (SECOND + 3) * 3600}"]')
    assert (step.record.revision, step.record.stands, step.record.start_s) == (0, "11", P + (SECOND + 3) * 3600)


def test_a_cell_whose_call_is_under_way_is_left_alone() -> None:
    """What a moving cell holds may be either, so nothing is said of it."""
    made = books(cells=(cell(SECOND, 300), cell(SECOND + 1, 4100, moving=True)), summaries=(held(9999, second=True),))
    assert [entry for each in propose(made, find(made), "a test", NOW_MS) for entry in said(each)] == [(name(SECOND), "300", "0")]


def test_an_open_adjustment_is_a_persons() -> None:
    """What is open by the policy `hold` names the command that settles it; nothing is done by itself."""
    proposal = only(cells=(adjusted(1, 37, 30),), windows=(book(1, 37),))
    assert proposal.steps == () and proposal.by_hand == 'tidemark adjustments settle adj_1 --all --how "…"'


def test_raw_rows_come_back_from_the_log() -> None:
    """A window whose raw events do not give its total has its events and its revisions taken from the log again; no money moves."""
    proposal = only(cells=(cell(SECOND, 30),), windows=(book(SECOND, 30, recount=20),))
    assert [type(step) for step in proposal.steps] == [RestoreEvents, RestoreWindow]
    assert (proposal.units, proposal.amount) == (0, 0)


def test_a_missing_window_is_taken_from_its_topic_or_emitted_anew() -> None:
    """A window that was never archived is looked for on usage.windows; else a correction of 0 makes its next revision."""
    proposal = only(windows=(book(SECOND, counted=30, must_be_emitted=True),))
    (step,) = proposal.steps
    assert isinstance(step, RestoreWindow) and step.otherwise is not None
    (entry,) = step.otherwise.draft.record.postings
    assert (entry.quantity, entry.generation, entry.through_offset) == ("0", 0, 5)


def copies(verdict: str, body: str) -> Copies:
    """Two events under one id."""
    postings = (("calls", P, P + 3600, 7 * ONE),)
    return Copies(
        customer="acme",
        source="gw",
        event_id="e1",
        copies=(Copy(Coordinate(0, 0, 3), "counted", "a", 1000, postings), Copy(Coordinate(0, 0, 9), verdict, body, 2000, postings)),
    )


@pytest.mark.parametrize(("verdict", "body", "kind", "units"), [("counted", "a", "void", -7), ("duplicate", "b", "accept", 0)])
def test_copies_are_voided_where_they_count_and_accepted_where_not(verdict: str, body: str, kind: str, units: int) -> None:
    """A copy that was counted beside the first is voided; one that was not counted is accepted, with who and why, and not found again."""
    proposal = only(copies=(copies(verdict, body),))
    (step,) = proposal.steps
    assert isinstance(step, Amend) and step.draft.record.kind == kind and step.draft.record.of is not None
    assert (step.draft.record.of.offset, step.draft.record.reason) == (9, "a test")
    assert [entry.quantity for entry in step.draft.record.postings] == ([] if kind == "accept" else ["-7"])
    assert proposal.units == units * ONE


def test_which_of_two_counted_bodies_is_right_is_a_persons_word() -> None:
    """Two events with one id and different content, both counted: the command that voids one is named, and nothing is done."""
    proposal = only(copies=(copies("counted", "b"),))
    assert proposal.steps == () and proposal.by_hand == 'tidemark amend void 0:9 --reason "…"'


def test_two_repairs_of_one_cell_are_one_step() -> None:
    """Both were computed from one receipt: the first is done, and the next look shows what is left."""
    first, second = receipt(SECOND, 30), receipt(SECOND + 1, 41)
    made = books(cells=(cell(SECOND, 30), cell(SECOND + 1, 41)), summaries=(held(30, second=True),))
    (drift,) = find(made)
    proposals = propose(made, [drift, drift], "a test", NOW_MS)
    assert len(steps_of(proposals)) == 1 and first.cell != second.cell


def test_money_adds_up_by_currency() -> None:
    """The effect of a dry run is the sum of what its steps change, where that is known."""
    made = books(cells=(cell(SECOND, 30), cell(SECOND + 1, 41)), summaries=(held(30, second=True),))
    assert summary(propose(made, find(made), "", NOW_MS)) == {"usd": 82}
    assert EDGE > P


def test_what_is_too_little_is_taken_from_no_cell_below_nothing() -> None:
    """A final period lacks more than its fullest cell holds: several cells are told, none that it holds less than nothing."""
    cells = (cell(1, 300), cell(2, 4100), cell(3, 77))
    proposal = only(cells=cells, summaries=(held(200),))
    assert said(proposal) == [(name(2), "0", "0"), (name(1), "123", "0")]


def test_a_second_copy_of_nothing_is_accepted() -> None:
    """An event of quantity 0 that was counted twice has nothing to void: it is accepted, and the repair of everything else goes on."""
    one = copies("counted", "a")
    nothing = tuple(copy._replace(postings=tuple((*posting[:3], 0) for posting in copy.postings)) for copy in one.copies)
    proposal = only(copies=(dataclasses.replace(one, copies=nothing),))
    (step,) = proposal.steps
    assert isinstance(step, Amend) and step.draft.record.kind == "accept"
    assert proposal.units == 0
