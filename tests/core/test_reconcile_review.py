"""Reconcile where it is easily wrong: plan changes at a meter, lag of several events, many equal cells, several copies, test clocks, huge holes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
import pytest

from infra.reconciling import pots
from infra.reconciling.archive import RECOUNTED_AT_ONCE, Archive
from infra.reconciling.books import CellBook, Copies, Copy
from infra.reconciling.drift import Coordinate, Drift
from infra.reconciling.find import find
from infra.reconciling.gaps import Lacking, in_gaps
from infra.reconciling.search import Candidate, explain
from tests.core.reconcile_books import EDGE, HOUR_S, LONG_S, NOW_MS, P, adjusted, book, books, bucket, cell, metered, summary, version
from topics.adjustments import Carried
from topics.quantity import ONE
from topics.receipt import MeterTarget, Sent

IN_SECOND = LONG_S // 3600 + 5


def kinds(found: list[Drift]) -> list[tuple[str, tuple[str, ...]]]:
    """What a failure shows."""
    return [(each.kind, each.cells) for each in found]


# ── a meter whose item, or whose customer at the provider, changed ───────────────────────────────────────────────────


def _of(held: CellBook, **more: Any) -> CellBook:
    return CellBook(history=tuple(msgspec.structs.replace(each, **more) for each in held.history))


@pytest.mark.parametrize("aggregation", ["hour", "sum"])
def test_a_meter_whose_item_was_replaced(aggregation: str) -> None:
    """A plan change gives the meter another item: hours before it and after it are compared with the cells that are in them, whatever their item."""
    before, after = _of(metered(1, 30, aggregation=aggregation), item="si_old"), metered(3, 41, aggregation=aggregation)
    both = _of(metered(2, 7, aggregation=aggregation), item="si_old"), metered(2, 9, aggregation="sum")
    assert find(books(cells=(before, after), buckets=(bucket(1, 30), bucket(3, 41)))) == []
    assert find(books(cells=(before, *both, after), windows=(), buckets=(bucket(1, 30), bucket(2, 16), bucket(3, 41)))) == []
    drift = find(books(cells=(before, after), buckets=(bucket(3, 41),)))
    assert [(each.kind, each.cells, each.item) for each in drift] == [("lost_report", (before.newest.cell,), "si_old")]


def test_a_meter_whose_customer_was_replaced() -> None:
    """Usage of two customers at the provider, one after the other, is compared with the cells of each."""
    old = MeterTarget(aggregation="hour", event_name="calls", customer="cus_0")
    before, after = _of(metered(1, 30), meter_target=old), metered(3, 41)
    said = (bucket(1, 30)._replace(customer="cus_0"), bucket(3, 41)._replace(customer="cus_1"))
    assert find(books(cells=(before, after), buckets=said)) == []
    assert kinds(find(books(cells=(before, after), buckets=said[:1]))) == [("lost_report", (after.newest.cell,))]
    assert kinds(find(books(cells=(before, after), buckets=said[1:]))) == [("lost_report", (before.newest.cell,))]


def test_hours_of_nobodys_at_a_customer_who_is_not_ours_any_more() -> None:
    """Usage without a cell of ours is judged at the customer whom we reported to at that time: a repair would take it off there, and nowhere else."""
    bound = {"mode": "meters", "aggregation": "hour", "event_name": "calls"}
    moved_s = P + 5 * HOUR_S
    first = version(**bound, stripe_customer="cus_0")
    second = msgspec.structs.replace(version(**bound, stripe_customer="cus_1"), valid_from_s=moved_s)
    old = MeterTarget(aggregation="hour", event_name="calls", customer="cus_0")
    cells = (_of(metered(1, 30), meter_target=old), metered(8, 41))
    said = [bucket(1, 30)._replace(customer="cus_0"), bucket(8, 41)._replace(customer="cus_1")]
    known: dict[str, Any] = {"cells": cells, "versions": (first, second)}
    foreign = (bucket(9, 5)._replace(customer="cus_0"), bucket(2, 5)._replace(customer="cus_1"))
    assert find(books(**known, buckets=(*said, *foreign))) == []
    ours = (bucket(2, 5)._replace(customer="cus_0"), bucket(9, 6)._replace(customer="cus_1"))
    assert [(each.kind, each.difference_scaled) for each in find(books(**known, buckets=(*said, *ours)))] == [
        ("provider_edit", 5 * ONE),
        ("provider_edit", 6 * ONE),
    ]


def test_a_negative_hour_that_was_lost() -> None:
    """A meter may hold less than nothing; where that is not there the cause has the same name."""
    cells = (metered(1, 30), metered(2, -12))
    assert kinds(find(books(cells=cells, buckets=(bucket(1, 30),)))) == [("lost_report", (cells[1].newest.cell,))]


@pytest.mark.parametrize("counted", [(), (1,), (2,), (4,), (1, 2), (1, 4), (2, 4), (1, 2, 4)])
def test_any_of_several_accepted_events_may_not_count_yet(counted: tuple[int, ...]) -> None:
    """Of three accepted deltas the provider has counted some, in whichever order: that is no drift."""
    sent = tuple(Sent(idempotency_key=str(units), units=str(units), quantity=str(units), at_ms=1) for units in (1, 2, 4))
    waits = metered(2, 37, aggregation="sum", unconfirmed=sent)
    assert find(books(cells=(waits,), buckets=(bucket(2, 30 + sum(counted)),))) == []


# ── the search: bounded ──────────────────────────────────────────────────────────────────────────────────────────────


def test_many_equal_cells_are_one_cause_with_candidates() -> None:
    """Of a period of 2,000 equal cells of many bytes two are lost: two are named, all others are candidates, and no pair is ever listed."""
    each = 10**12
    candidates = [Candidate(kind, f"c{at:04}", sign * each * ONE) for at in range(2000) for kind, sign in (("lost_report", -1), ("double_report", 1))]  # type: ignore[arg-type]
    found = explain(-2 * each * ONE, candidates)
    assert found is not None
    assert [(one.kind, one.cell) for one in found.changes] == [("lost_report", "c0000"), ("lost_report", "c0001")]
    assert {one.cell for one in found.others} == {f"c{at:04}" for at in range(2, 2000)}
    assert explain(-2 * each * ONE, candidates[::-1]) == found


def test_three_of_many_equal_cells() -> None:
    """Three of 200 equal cells: three are named, the others are candidates."""
    each = 10**12
    candidates = [Candidate(kind, f"c{at:03}", sign * each * ONE) for at in range(200) for kind, sign in (("lost_report", -1), ("double_report", 1))]  # type: ignore[arg-type]
    found = explain(-3 * each * ONE, candidates)
    assert found is not None
    assert [one.cell for one in found.changes] == ["c000", "c001", "c002"]
    assert {one.cell for one in found.others} >= {f"c{at:03}" for at in range(3, 200)}


def test_a_move_among_equal_cells_is_looked_for_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether one of many equal cells moved is asked once a total, not once a cell."""
    asked: list[int] = []
    of = pots.Pot.candidates

    def counted(pot: pots.Pot) -> list[Candidate]:
        asked.append(pot.start_s)
        return of(pot)

    monkeypatch.setattr(pots.Pot, "candidates", counted)
    cells = (*(cell(hour, 30) for hour in range(1, 301)), cell(IN_SECOND, 7))
    found = find(books(cells=cells, summaries=(summary(299 * 30), summary(7 + 1000, second=True))))
    assert sorted(each.kind for each in found) == ["lost_report", "provider_edit"]
    assert len(asked) < 20


def test_a_hole_of_a_whole_partition() -> None:
    """An archive that lost 10¹² records says so; nothing is made of each of them."""
    broken = Drift(kind="raw_event", customer="acme", events=(Coordinate(1, 0, 7), Coordinate(1, 0, 10**13)), lacks=2)
    drift = in_gaps([Lacking(1, 0, 10**12, 0, ((5, 10**12 + 4),))], [broken])[0]
    assert drift.sentence.startswith(f"partition 1: {10**12 - 1} records")


# ── several copies of one id ─────────────────────────────────────────────────────────────────────────────────────────


def _copy(offset: int, verdict: str = "counted", body: str = "a", **more: Any) -> Copy:
    return Copy(Coordinate(0, 0, offset), verdict, body, 1000 * offset, (("calls", P, P + HOUR_S, 7 * ONE),), **more)


def _events(*copies: Copy) -> list[tuple[Coordinate, ...]]:
    return [each.events for each in find(books(copies=(Copies(customer="acme", source="gw", event_id="e1", copies=copies),)))]


def test_a_further_copy_is_found_beside_one_that_was_voided() -> None:
    """A decision is about the copy that it names: a third one that counts too is still found, after a repair that died half-way for example."""
    first, second, third = (Coordinate(0, 0, offset) for offset in (3, 900, 1800))
    assert _events(_copy(3), _copy(900), _copy(1800)) == [(first, second), (first, third)]
    assert _events(_copy(3), _copy(900, is_amended=True), _copy(1800)) == [(first, third)]
    assert _events(_copy(3, is_amended=True), _copy(900), _copy(1800)) == [(second, third)]
    assert _events(_copy(3), _copy(5, "duplicate", "b", is_amended=True), _copy(6, "duplicate", "c")) == [(first, Coordinate(0, 0, 6))]
    assert _events(_copy(3), _copy(900, is_amended=True), _copy(1800, is_amended=True)) == []
    assert _events(_copy(3, is_amended=True), _copy(5, "duplicate", "b")) == []


# ── customers on a test clock ────────────────────────────────────────────────────────────────────────────────────────


def test_an_adjustment_of_a_customer_whose_test_clock_is_ahead() -> None:
    """How long an adjustment has waited is told by our own clock, which wrote down since when: one of a second ago waits for its invoice."""
    waits = adjusted(1, 35, 30, policy="next_period", since_ms=NOW_MS - 90 * 86_400_000)
    known: dict[str, Any] = {"cells": (waits,), "windows": (book(1, 30, 35),)}
    assert find(books(**known, wall_ms=NOW_MS - 90 * 86_400_000 + 1000)) == []
    assert [each.kind for each in find(books(**known))] == ["late_after_finality"]


# ── from when an item is ours ────────────────────────────────────────────────────────────────────────────────────────


def test_the_period_in_which_we_began() -> None:
    """Where an item is billed by us from the middle of a period, another program's usage of before is in its total: more is no drift, less is."""
    since_s = P + 10 * HOUR_S
    known: dict[str, Any] = {"cells": (_of(cell(12, 30), period_start_s=since_s),), "windows": (), "versions": (version(starts_at_s=since_s),)}
    assert find(books(**known, summaries=(summary(30),))) == []
    assert find(books(**known, summaries=(summary(30 + 977),))) == []
    assert kinds(find(books(**known, summaries=(summary(0),)))) == [("lost_report", (known["cells"][0].newest.cell,))]
    hours = {**known, "cells": (_of(metered(12, 30), period_start_s=since_s + 60),), "versions": (version(starts_at_s=since_s + 60),)}
    assert find(books(**hours, buckets=(bucket(10, 5), bucket(12, 30)))) == []
    assert [each.kind for each in find(books(**hours, buckets=(bucket(11, 5), bucket(12, 30))))] == ["provider_edit"]


# ── memory ───────────────────────────────────────────────────────────────────────────────────────────────────────────


class _Asked:
    """An archive that notes which windows it was asked for."""

    def __init__(self) -> None:
        self.spans: list[tuple[int, int]] = []

    def rows(self, sql: str, parameters: Mapping[str, Any] | None = None) -> list[tuple[Any, ...]]:
        """Nothing is there."""
        assert parameters is not None
        self.spans.append((parameters["from_s"], parameters["to_s"]))
        return []


def test_a_customer_of_many_events_is_recounted_piece_by_piece() -> None:
    """So many events are joined at once, whole windows of one start together; the pieces are the span, without gap or overlap."""
    reader, most = _Asked(), RECOUNTED_AT_ONCE
    Archive(reader).revisions("acme", (0, 100), {}, [(30, most), (10, most // 2), (10, most // 2), (20, 1), (40, 5)])
    assert reader.spans == [(0, 20), (20, 30), (30, 40), (40, 100)]
    reader.spans.clear()
    Archive(reader).revisions("acme", (0, 100), {}, [(10, 5), (20, 7)])
    Archive(reader).revisions("acme", (0, 100), {}, [])
    assert reader.spans == [(0, 100), (0, 100)]


def test_an_edit_of_a_period_that_holds_carried_units() -> None:
    """Of a period's total what an adjustment carried into it is not its one cell's: the cell holds the rest."""
    into = Carried(second=EDGE + 60, units="5", period_start_s=EDGE)
    cells = (adjusted(1, 35, 30, settled=5, carried=(into,)), cell(IN_SECOND, 7))
    known: dict[str, Any] = {"cells": cells, "windows": ()}
    assert find(books(**known, summaries=(summary(30), summary(12, second=True)))) == []
    (drift,) = find(books(**known, summaries=(summary(30), summary(12 + 977, second=True))))
    assert (drift.kind, drift.holds, drift.difference_scaled) == ("provider_edit", "984", 977 * ONE)
