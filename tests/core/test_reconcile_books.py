"""Reconcile, our own stages: raw events, windows, receipts and ids; and that nothing legal is called a drift."""

from __future__ import annotations

import dataclasses
from typing import Any

import msgspec
import pytest

from infra.reconciling.books import CellBook, Copies, Copy
from infra.reconciling.drift import KINDS, Coordinate, Drift
from infra.reconciling.find import find
from infra.reconciling.gaps import Lacking, in_gaps
from tests.core.reconcile_books import EDGE, HOUR_S, ITEM, NOW_MS, P, adjusted, book, books, cell, line, receipt, summary, total, version, window
from topics.adjustments import Remedy
from topics.invoices import InvoiceRecord
from topics.quantity import ONE
from topics.receipt import Standing, WindowReceipt
from topics.windows import Window, window_key


def only(**more: Any) -> Drift:
    """The one drift of some books."""
    found = find(books(**more))
    assert len(found) == 1, [(each.kind, each.sentence) for each in found]
    return found[0]


# ── raw events and windows ───────────────────────────────────────────────────────────────────────────────────────────


def test_a_missing_raw_event() -> None:
    """A recount that is short of its revision names the window, both numbers and how many events are missing."""
    drift = only(windows=(book(1, 30, counted=20, recount=20),), cells=(cell(1, 30),))
    assert (drift.kind, drift.window, drift.numbers["raw"], drift.numbers["emitted"]) == ("raw_event", window(1), "20", "30")
    assert drift.difference_scaled == -10 * ONE


def test_a_tampered_raw_event() -> None:
    """The same sum under another hash is found: a time or an id was changed."""
    same = book(1, 30)
    emitted = same.revisions[0]
    assert emitted.recount is not None
    wrong = emitted._replace(recount=emitted.recount._replace(hash="f" * 64))
    drift = only(windows=(dataclasses.replace(same, revisions=(wrong,)),))
    assert (drift.kind, drift.difference_scaled) == ("raw_event", 0)
    assert "hash" in drift.sentence


def test_one_broken_event_is_one_drift() -> None:
    """An event that breaks every revision after it is one drift of its window."""
    first = book(1, 30, 40, 50, counted=45, recount=45)
    assert only(windows=(first,)).numbers["emitted"] == "50"


def test_a_revision_whose_events_are_not_archived_yet() -> None:
    """A revision beyond the archived mark is not judged."""
    fresh = book(1, 30)
    waits = fresh.revisions[0]._replace(recount=None)
    assert find(books(windows=(dataclasses.replace(fresh, revisions=(waits,)),))) == []


def test_a_missing_window() -> None:
    """Counted events whose window was due and never emitted are found; while it may still come nothing is said."""
    drift = only(windows=(book(1, counted=30, must_be_emitted=True),))
    assert (drift.kind, drift.numbers["counted"], drift.repair) == ("missing_window", "30", "emit")
    assert find(books(windows=(book(1, counted=30),))) == []


def test_a_revision_that_vanished() -> None:
    """Events later than the newest archived revision of a window that was closed since then are found too."""
    late = book(1, 30, counted=35)
    known = dataclasses.replace(late, newest_event=(0, 99))
    assert find(books(windows=(known,))) == []
    assert only(windows=(dataclasses.replace(known, must_be_emitted=True),)).kind == "missing_window"


# ── receipts ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_revision_that_nobody_took() -> None:
    """An emitted revision that the report has passed and no receipt knows is a lost report; one on its way is none."""
    drift = only(windows=(book(1, 30, must_have_receipt=True),))
    assert (drift.kind, drift.window, drift.repair) == ("lost_report", window(1), "emit")
    assert find(books(windows=(book(1, 30),))) == []


def test_a_later_revision_that_nobody_took() -> None:
    """The same of a later revision, by what it adds; after the invoice is final it is late instead of lost."""
    asked: dict[str, Any] = {"windows": (book(1, 30, 42, must_have_receipt=True),), "cells": (cell(1, 30),), "summaries": (summary(30),)}
    assert (only(**asked).kind, only(**asked).difference_scaled) == ("lost_report", -12 * ONE)
    final = InvoiceRecord(invoice="in_1", subscription="sub_1", items=(ITEM,), status="paid", period_start_s=P, period_end_s=EDGE, seen_at_s=EDGE)
    assert only(**asked, invoices=(final,)).kind == "late_after_finality"


def test_usage_after_finality() -> None:
    """An open adjustment that a person has to deal with is late usage, with its money."""
    drift = only(cells=(adjusted(1, 35, 30),), summaries=(summary(30),), lines=(line(30),))
    assert (drift.kind, drift.difference_scaled, drift.amount, drift.repair) == ("late_after_finality", -5 * ONE, -10, "settle")


def test_adjustments_that_are_dealt_with() -> None:
    """Settled, being billed, or waiting for a policy that bills by itself: none is a drift; refused or forgotten ones are."""
    remedy = Remedy(kind="invoice_item", number=1, units="5", amount=10, intent_at_ms=1)
    assert find(books(cells=(adjusted(1, 35, 30, settled=5),), summaries=(summary(30),))) == []
    assert find(books(cells=(adjusted(1, 35, 30, policy="invoice_item"),), summaries=(summary(30),))) == []
    assert find(books(cells=(adjusted(1, 35, 30, policy="invoice_item", remedy=remedy),), summaries=(summary(30),))) == []
    refused = msgspec.structs.replace(remedy, refused="no such customer")
    assert only(cells=(adjusted(1, 35, 30, policy="invoice_item", remedy=refused),)).kind == "late_after_finality"
    assert only(cells=(adjusted(1, 35, 30, policy="credit_note", since_ms=NOW_MS - 4 * 86_400_000),)).kind == "late_after_finality"


@pytest.mark.parametrize("reason", ["unbound", "before_period", "after_end", "unsupported"])
def test_windows_without_a_cell(reason: str) -> None:
    """A window that is parked whole is no drift: it is visible, and waits for a person."""
    held = window(1)
    parked = WindowReceipt(
        window=window_key(held), customer="acme", meter="calls", start_s=held.start_s, end_s=held.end_s, generation=0, through_offset=10,
        quantity="30", reason=reason, parked_at_ms=1,
    )  # fmt: skip
    assert find(books(windows=(book(1, 30, parked=parked, must_have_receipt=True, must_be_emitted=True),), summaries=(summary(0),))) == []


@pytest.mark.parametrize("state", ["refused", "parked"])
def test_cells_that_wait_for_a_person(state: str) -> None:
    """A refused or parked cell holds what stood before, and that is no drift."""
    held = cell(1, 30, 35, state=state, standing=receipt(1, 30).standing, units="35")
    assert find(books(cells=(held,), summaries=(summary(30),))) == []


def test_a_cell_in_a_foreign_period() -> None:
    """A window that was reported into a period to which its start does not belong is found from the receipts alone."""
    moved = receipt(1, 30, timestamp_s=EDGE + 10, period_start_s=EDGE, period_end_s=EDGE + 86_400, cell=f"{ITEM}|{EDGE + 10}")
    drift = only(cells=(CellBook(history=(moved,)),), windows=(book(1, 30),))
    assert (drift.kind, drift.window) == ("wrong_period", window(1))


def test_a_window_across_its_first_period() -> None:
    """A window that began before its item was billed belongs to the first period; one across an edge that was learned late to where it starts."""
    since = P + 1800
    across = receipt(0, 30, timestamp_s=since + 1, period_start_s=since)
    assert find(books(cells=(CellBook(history=(across,)),), versions=(version(starts_at_s=since),))) == []
    whole = Window("acme", "calls", EDGE - HOUR_S, EDGE + HOUR_S)
    part = msgspec.structs.replace(receipt(1, 30).windows[0], window=window_key(whole))
    straddling = receipt(1, 30, timestamp_s=whole.start_s, windows=(part,))
    assert find(books(cells=(CellBook(history=(straddling,)),), windows=())) == []


def test_a_lost_part_of_a_unit() -> None:
    """Units that are less than one away from quantity × scale were rounded; a whole unit is another cause's."""
    cut = Standing(revision=1, attempt=1, units="30", quantity="30.5", at_ms=1)
    assert only(cells=(cell(1, 30, standing=cut),)).kind == "rounding"
    scaled = Standing(revision=1, attempt=1, units="3", quantity="0.003", at_ms=1)
    assert find(books(cells=(cell(1, 3, scale="1000", standing=scaled),), windows=())) == []


def _ledger(*parts: tuple[str, str], **more: Any) -> tuple[CellBook, ...]:
    cells = []
    for hour, (units, quantity) in enumerate(parts, 1):
        stands = Standing(revision=1, attempt=1, units=units, quantity=quantity, at_ms=1)
        cells.append(cell(hour, 1, units=units, quantity=quantity, standing=stands, fractions="ledger", **more))
    return tuple(cells)


def test_a_ledger_keeps_the_periods_whole_part() -> None:
    """In a ledger single cells are off by parts of a unit and the period is whole; a unit that the period lacks was carried wrongly."""
    assert find(books(cells=_ledger(("0", "0.6"), ("1", "0.6"), ("1", "0.9")), windows=())) == []
    drift = only(cells=_ledger(("0", "0.6"), ("0", "0.6"), ("1", "0.9")), windows=())
    assert (drift.kind, drift.difference_scaled) == ("rounding", -ONE)
    assert find(books(cells=_ledger(("0", "0.6"), ("0", "0.6"), state="intent"), windows=())) == []


# ── ids ──────────────────────────────────────────────────────────────────────────────────────────────────────────────


def _copy(offset: int, verdict: str = "counted", body: str = "a", units: int = 7, **more: Any) -> Copy:
    return Copy(Coordinate(0, 0, offset), verdict, body, 1000 * offset, (("calls", P, P + HOUR_S, units * ONE),), **more)


def _copies(*copies: Copy) -> dict[str, Any]:
    return {"copies": (Copies(customer="acme", source="gw", event_id="e1", copies=copies),)}


def test_an_old_duplicate() -> None:
    """One event that was counted twice is named with both coordinates and what it counted too much."""
    drift = only(**_copies(_copy(3), _copy(900)))
    assert (drift.kind, drift.events, drift.difference_scaled) == ("old_duplicate", (Coordinate(0, 0, 3), Coordinate(0, 0, 900)), 7 * ONE)


def test_conflicting_bodies() -> None:
    """Two contents under one id are named, whether the second was a duplicate or counted too."""
    first = only(**_copies(_copy(3), _copy(5, "duplicate", "b", 9)))
    assert (first.kind, first.difference_scaled) == ("conflicting_body", -2 * ONE)
    both = only(**_copies(_copy(3), _copy(900, body="b", units=9)))
    assert (both.kind, both.difference_scaled) == ("conflicting_body", 9 * ONE)


def test_copies_that_are_as_promised() -> None:
    """A duplicate that was not counted, a corrected resend of a rejected event, and what an amendment has dealt with are no drifts."""
    assert find(books(**_copies(_copy(3), _copy(5, "duplicate")))) == []
    assert find(books(**_copies(_copy(5)))) == []
    assert find(books(**_copies(_copy(3), _copy(900, is_amended=True)))) == []


def test_the_names_are_stable() -> None:
    """Eleven kinds, under the names that metrics and scripts use."""
    assert KINDS == (
        "lost_report", "double_report", "late_after_finality", "raw_event", "wrong_period", "rounding", "provider_edit", "missing_window",
        "old_duplicate", "conflicting_body", "stale_retry",
    )  # fmt: skip
    document = only(cells=(cell(1, 30),), summaries=(summary(0),)).document()
    assert (document["kind"], document["difference"], document["amount"], document["repairable"]) == ("lost_report", "-30", -60, True)


# ── records that no window shows ─────────────────────────────────────────────────────────────────────────────────────


def test_missing_records_that_no_window_shows() -> None:
    """Records of the log that the archive lacks are named by partition and offset, but not those that a broken window names already."""
    lacks = Lacking(1, 0, 2, 0, ((7, 7), (9, 9)))
    drift = in_gaps([lacks], [])[0]
    assert (drift.kind, drift.events) == ("raw_event", (Coordinate(1, 0, 7), Coordinate(1, 0, 9)))
    broken = only(windows=(book(1, 30, counted=20, recount=20, suspects=(Coordinate(1, 0, 7),)),))
    assert [each.events for each in in_gaps([lacks], [broken])] == [(Coordinate(1, 0, 9),)]
    both = dataclasses.replace(broken, events=(Coordinate(1, 0, 7), Coordinate(1, 0, 9)))
    assert in_gaps([lacks], [both]) == []


def test_a_broken_window_that_names_no_event_explains_one() -> None:
    """Where a broken window could not say which event it lacks, one missing record is taken to be its own."""
    whole = book(1, 30)
    emitted = whole.revisions[0]._replace(recount=total(20, events=0))
    broken = only(windows=(dataclasses.replace(whole, revisions=(emitted,)),))
    assert in_gaps([Lacking(1, 0, 1, 0, ((7, 7),))], [broken]) == []
    assert len(in_gaps([Lacking(1, 0, 2, 0, ((7, 8),))], [broken])) == 1
