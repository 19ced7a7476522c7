"""Which periods of ours no invoice bills: void ones, lines that are gone, items that were deleted; and which only look so."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from infra.reconciling.books import InvoiceRead
from infra.reconciling.drift import Drift
from infra.reconciling.find import find
from infra.reconciling.repairs import propose
from tests.core.reconcile_books import EDGE, ITEM, NOW_MS, P, books, bucket, cell, line, metered, summary, version
from topics.invoices import InvoiceRecord, Status

CELLS = (cell(1, 30), cell(2, 41))
SUMMARY = summary(71)._replace(invoice="in_1")
PAID = InvoiceRead("in_1", "paid", "sub_1", frozenset({EDGE}))
ALONE = InvoiceRead("in_1", "paid", "sub_1")
"""An invoice without any line of usage."""


def record(status: Status = "paid", **more: Any) -> InvoiceRecord:
    """What the log says of the first period's invoice."""
    known: dict[str, Any] = {"items": (ITEM,), "period_start_s": P, "period_end_s": EDGE, "seen_at_s": EDGE}
    return InvoiceRecord(invoice="in_1", subscription="sub_1", status=status, **known | more)


def said(found: list[Drift]) -> list[tuple[str, str, str, str]]:
    """What a failure shows."""
    return [(each.kind, each.invoice, each.repair, each.numbers.get("line", "")) for each in found]


@pytest.mark.parametrize(
    "known",
    [{"read": (PAID,)}, {"read": (ALONE,), "invoices": (record("draft"),)}, {"read": (ALONE,), "summaries": (SUMMARY,)}],
    ids=["another line closes it", "heard of as a draft", "named by the total"],
)
def test_a_final_invoice_without_a_line(known: dict[str, Any]) -> None:
    """A period is closed by the invoice that has other lines up to its end, that was heard of, or that the total names; without a line of ours all
    of it is billed nowhere, and one drift says so."""
    found = find(books(**{"cells": CELLS, "summaries": (summary(71),), **known}))
    assert said(found) == [("provider_edit", "in_1", "settle", "0")]
    assert (found[0].amount, found[0].cells) == (-142, tuple(each.newest.cell for each in CELLS))
    assert "71 units" in found[0].sentence and "no line" in found[0].sentence


def test_a_void_invoice_bills_nobody() -> None:
    """What a void invoice shows is owed by nobody; where another invoice bills the period too, it is."""
    void = PAID._replace(status="void")
    shown = line(71, status="void")
    known: dict[str, Any] = {"cells": CELLS, "summaries": (SUMMARY,)}
    found = find(books(**known, read=(void,), lines=(shown,)))
    assert said(found) == [("provider_edit", "in_1", "settle", "0")] and "void" in found[0].sentence
    again = PAID._replace(invoice="in_2")
    assert find(books(**known, read=(void, again), lines=(shown, line(71, invoice="in_2")))) == []
    assert said(find(books(cells=CELLS, read=(void, again), lines=(shown,)))) == [("provider_edit", "in_1", "settle", "0")]


def test_an_uncollectible_invoice_is_still_owed() -> None:
    """A customer may pay it yet: it bills what its lines say."""
    given_up = PAID._replace(status="uncollectible")
    assert find(books(cells=CELLS, read=(given_up,), lines=(line(71, status="uncollectible"),))) == []


@pytest.mark.parametrize(
    "known",
    [
        {"read": (PAID._replace(status="draft"),)},
        {"read": (PAID._replace(subscription="sub_2"),)},
        {"read": (PAID._replace(ends=frozenset({EDGE - 1, P})),)},
        {"read": (PAID,), "lines": (line(71),)},
        {"read": (PAID,), "lines": (line(71, status="draft", invoice="in_2"),)},
        {"read": (PAID,), "cells": ()},
        {"read": (PAID,), "cells": (cell(1, 0),), "summaries": (summary(0),)},
        {"read": (PAID,), "cells": (cell(1, 30, moving=True), cell(2, 41, moving=True))},
        {"read": (PAID,), "from_s": P + 1},
    ],
    ids=["draft", "another subscription", "another period", "billed", "billed by a draft", "no cells", "nothing used", "moving", "unread"],
)
def test_what_only_looks_unbilled(known: dict[str, Any]) -> None:
    """Not yet final, another subscription's or period's, billed elsewhere, nothing used, under way or not read: nothing is found."""
    assert find(books(**{"cells": CELLS, **known})) == []


@pytest.mark.parametrize(("at_s", "item", "count"), [(P + 5000, "si_new", 0), (P + 5000, None, 0), (EDGE + 1, "si_new", 1), (P + 5000, ITEM, 1)])
def test_a_meters_item_that_was_taken_off(at_s: int, item: str | None, count: int) -> None:
    """Of what a meter's item held when the plan changed Stripe may make an invoice item, which names no item: then nothing is said of the line."""
    bound = version(mode="meters", aggregation="hour", event_name="calls", stripe_customer="cus_1")
    other = None if bound.item is None or item is None else msgspec.structs.replace(bound.item, item=item)
    after = msgspec.structs.replace(bound, item=other, valid_from_s=at_s, changed_at_s=at_s)
    known: dict[str, Any] = {"cells": (metered(1, 30),), "buckets": (bucket(1, 30),), "versions": (bound, after)}
    assert len(find(books(**known, read=(PAID,)))) == count


def test_an_item_that_was_deleted() -> None:
    """A running period of an item that is gone is a person's, who binds another one; a past one that was billed is no drift, else it is listed."""
    running = cell(721, 30)
    now: dict[str, Any] = {"gone": frozenset({ITEM}), "summaries": ()}
    found = find(books(cells=(running,), **now))
    assert said(found) == [("provider_edit", "", "review", "0")]
    assert "tidemark stripe sync" in found[0].advice and "deleted" in found[0].sentence
    assert find(books(cells=CELLS, lines=(line(71),), read=(PAID,), **now)) == []
    assert said(find(books(cells=CELLS, **now))) == [("provider_edit", "", "settle", "0")]


def test_the_repair_lists_all_of_it() -> None:
    """Each cell of the period is told that nothing of it is billed; then the provider's total, which still has it, is no drift any more."""
    held = books(cells=CELLS, summaries=(SUMMARY,), read=(ALONE,), invoices=(record(),))
    proposal = propose(held, find(held), "the invoice was void", NOW_MS)[0]
    assert [(step.customer, step.record.stands) for step in proposal.steps] == [("acme", "0"), ("acme", "0")]  # type: ignore[union-attr]
    assert "adjustment" in proposal.sentence and proposal.by_hand == ""
    told = tuple(cell(at, 0, units=str(units), quantity=str(units)) for at, units in ((1, 30), (2, 41)))
    assert find(books(cells=told, summaries=(SUMMARY,), read=(ALONE,), invoices=(record(),), windows=())) == []


def test_a_meters_line_that_is_gone_is_a_persons() -> None:
    """Of a meter the report makes adjustments only once it knows the invoice that closed the period; until then a person decides, and nothing is
    sent; a void invoice names its items."""
    cells = (metered(1, 30),)
    known: dict[str, Any] = {"cells": cells, "buckets": (bucket(1, 30),), "read": (PAID,)}
    gone = books(**known, invoices=(record(items=("si_other",)),))
    assert said(find(gone)) == [("provider_edit", "in_1", "review", "0")]
    assert [each.steps for each in propose(gone, find(gone), "", NOW_MS)] == [()]
    void = books(**known | {"read": (PAID._replace(status="void"),)}, invoices=(record("void"),))
    assert said(find(void)) == [("provider_edit", "in_1", "settle", "0")]
    assert [len(each.steps) for each in propose(void, find(void), "", NOW_MS)] == [1]
