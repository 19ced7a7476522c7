"""Reconcile, what an invoice decides beside its units: trials, prorations, flat amounts and one line for all tiers are no drift."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest

from infra.reconciling import asking
from infra.reconciling.asking import Asked, Asking
from infra.reconciling.find import find
from sinks.stripe.access import Eras
from sinks.stripe.objects import Price, Tier
from sinks.stripe.refusal import StripeRefusal
from tests.core.reconcile_books import EDGE, ITEM, LONG_S, PRICE, P, books, cell, line, summary
from topics.errors import Unreachable

TIERED = Price(PRICE.id, billing_scheme="tiered", tiers_mode="graduated", tiers=(Tier(3, "0.5"), Tier(None, "0.5")))
FLAT = Price(PRICE.id, billing_scheme="tiered", tiers_mode="graduated", tiers=(Tier(3, "1", "500"), Tier(None, "1")))


class Account:
    """One invoice, and how often each object was asked for."""

    def __init__(self, *rows: dict[str, Any], trial_end: int | None = None) -> None:
        self._invoice = {"id": "in_1", "status": "paid", "created": EDGE, "lines": {"data": list(rows)}}
        self._trial_end = trial_end
        self.asked: list[str] = []

    def get(self, path: str, **_: Any) -> dict[str, Any]:
        """The invoice or the subscription."""
        self.asked.append(path)
        return self._invoice if "invoices" in path else {"trial_end": self._trial_end}

    def post(self, path: str, idempotency_key: str | None = None, **_: Any) -> dict[str, Any]:
        """Nothing is changed."""
        raise AssertionError(path)

    def pages(self, path: str, **_: Any) -> Iterable[dict[str, Any]]:
        """No totals."""
        return []


def row(units: int, amount: int, start_s: int = P, end_s: int = EDGE, **more: Any) -> dict[str, Any]:
    """A line as Stripe shows it."""
    known = {"id": "il_1", "quantity": units, "amount": amount, "currency": "usd", "period": {"start": start_s, "end": end_s}}
    return {**known, "subscription_item": ITEM, "subscription": "sub_1", "price": {"id": PRICE.id}, **more}


def drifts(account: Account, *units: int) -> list[str]:
    """The kinds that are found where these units stand."""
    lines = Asking(Eras(account, account)).ask(Asked((), (), ("in_1",))).lines
    cells = tuple(cell(at + 1, each) for at, each in enumerate(units))
    return [each.kind for each in find(books(cells=cells, summaries=(summary(sum(units)),), lines=lines))]


@pytest.mark.parametrize(("trial_end", "found"), [(EDGE, []), (EDGE + 5, []), (EDGE - 1, ["rounding"]), (None, ["rounding"])])
def test_usage_of_a_trial_costs_nothing(trial_end: int | None, found: list[str]) -> None:
    """A line of units that costs nothing is right where its period lies in the trial, and wrong elsewhere; only then the subscription is read."""
    account = Account(row(30, 0), trial_end=trial_end)
    assert drifts(account, 30) == found
    assert account.asked == ["/v1/invoices/in_1", "/v1/subscriptions/sub_1"]
    plain = Account(row(30, 60))
    assert drifts(plain, 30) == []
    assert plain.asked == ["/v1/invoices/in_1"]


def test_a_proration_bills_no_usage() -> None:
    """Lines that give back or bill a share of a period are of no total of ours, in units or in money."""
    assert drifts(Account(row(30, 60), row(1, -777, P - LONG_S, P, id="il_2", proration=True)), 30) == []
    details = {"subscription_item_details": {"subscription_item": ITEM, "proration": True}}
    assert drifts(Account(row(30, 60), row(1, -777, P, EDGE, id="il_2", parent=details)), 30) == []


def test_tiers_on_one_line_are_rounded_once() -> None:
    """A graduated price is rounded by line: with a line a tier each of them, with one line for all of them once."""
    held = {"cells": (cell(1, 6),), "summaries": (summary(6),), "prices": {PRICE.id: TIERED}}
    assert find(books(**held, lines=(line(6, amount=4, parts=2),))) == []
    assert find(books(**held, lines=(line(6, amount=3, parts=1),))) == []
    assert [each.kind for each in find(books(**held, lines=(line(6, amount=4, parts=1),)))] == ["rounding"]


def test_a_flat_amount_without_usage_is_stripes_word() -> None:
    """Whether the first tier's flat amount is billed for a period without usage is not judged."""
    assert find(books(lines=(line(0, amount=0),), prices={PRICE.id: FLAT})) == []
    assert find(books(lines=(line(0, amount=500),), prices={PRICE.id: FLAT})) == []
    assert [each.kind for each in find(books(lines=(line(0, amount=7),), prices={PRICE.id: FLAT}))] == ["rounding"]


class Refusing(Account):
    """The account answers the first calls with errors of these statuses."""

    def __init__(self, *statuses: int) -> None:
        super().__init__(row(30, 60))
        self._statuses = list(statuses)

    def get(self, path: str, **more: Any) -> dict[str, Any]:
        """An error, or the object."""
        if self._statuses:
            raise StripeRefusal(self._statuses.pop(0), "", "no")
        return super().get(path, **more)


@pytest.mark.parametrize(("statuses", "problems", "lines"), [((), 0, 1), ((429, 500), 0, 1), ((429, 500, 503), 1, 0), ((404,), 1, 0)])
def test_a_refusal_that_passes_is_asked_again(
    statuses: tuple[int, ...], problems: int, lines: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Too many calls or an error of the provider's are tried again, and what stays refused is said to be unchecked."""
    monkeypatch.setattr(asking, "PAUSES_S", (0.0, 0.0))
    account = Refusing(*statuses)
    answers = Asking(Eras(account, account)).ask(Asked((), (), ("in_1",)))
    assert (len(answers.problems), len(answers.lines)) == (problems, lines)


@pytest.mark.parametrize("status", [401, 403])
def test_a_key_that_is_refused_ends_the_run(status: int) -> None:
    """A key that has expired or may not read is no clean reconciliation in which nothing could be checked."""
    account = Refusing(status)
    with pytest.raises(Unreachable, match=str(status)):
        Asking(Eras(account, account)).ask(Asked((), (), ("in_1",)))
