"""Finding a line by what is printed on it, and the questions `explain` takes."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest

from infra.cli import run
from infra.explaining.amount import around_of
from sinks.stripe.find_amount import Asked, find_amount, minor_units
from topics.errors import UsageError
from topics.instants import format_s

NOVEMBER = 1_793_491_200
DECEMBER = NOVEMBER + 30 * 86_400


def row(name: str, units: int, amount: int, start_s: int = NOVEMBER, currency: str = "usd", price: str = "price_1") -> dict[str, Any]:
    """A line as Stripe shows it."""
    period = {"start": start_s, "end": start_s + 30 * 86_400}
    bills = {"subscription_item": "si_1", "price": {"id": price}}
    return {"id": name, "amount": amount, "currency": currency, "quantity": units, "period": period, **bills}


class Invoices:
    """Three invoices of a customer, newest first: yen, two tiers of one price, a plain line."""

    def get(self, path: str, **_: Any) -> dict[str, Any]:
        """Not asked for."""
        raise AssertionError(path)

    def pages(self, path: str, **parameters: Any) -> Iterable[dict[str, Any]]:
        """All of them, of this customer only."""
        assert (path, parameters) == ("/v1/invoices", {"customer": "cus_1"})
        for name, lines in (
            ("in_3", [row("il_4", 4212, 4212, currency="jpy")]),
            ("in_2", [row("il_2", 100, 500, DECEMBER), row("il_3", 20, 4212, DECEMBER)]),
            ("in_1", [row("il_1", 4212, 4212)]),
        ):
            yield {"id": name, "status": "paid", "created": lines[0]["period"]["end"] + 3600, "lines": {"data": lines, "has_more": False}}


def found(**asked: Any) -> list[str]:
    """Names of the lines that match."""
    return [f"{line.invoice}/{line.id}" for line in find_amount(Invoices(), ["cus_1"], Asked(**asked)).matches]


def test_a_line_is_found_by_its_amount_in_its_own_currency() -> None:
    """42.12 is 4212 cents and no yen, 4,212 is yen, 47.12 is two tiers together and 42.12 one of them, and each line is named once."""
    assert found(amount="42.12") == ["in_2/il_3", "in_1/il_1"]
    assert found(amount="42.12", currency="USD", units=4212) == ["in_1/il_1"]
    assert found(amount="4,212") == ["in_3/il_4"]
    assert found(amount="47.12", units=120) == ["in_2/il_2"]
    assert found(amount="42.12", around=around_of("2026-11")) == ["in_1/il_1"]
    assert found(units=4212) == ["in_3/il_4", "in_1/il_1"]


def test_what_comes_nearest_is_said_where_nothing_matches() -> None:
    """Without a match the lines are listed by how far off they are, each with what is different, and none is called a match."""
    answer = find_amount(Invoices(), ["cus_1"], Asked(amount="42.13", units=4212))
    assert (answer.matches, answer.looked_at) == ((), 5)
    near = [(line.invoice, line.id, why) for line, why in answer.nearest]
    assert near[0] == ("in_1", "il_1", "another amount")
    assert near[1][2] == "another amount, other units"
    assert len(near) == 3


@pytest.mark.parametrize(
    ("text", "currency", "minor"),
    [("42.12", "usd", 4212), ("1,234", "usd", 123400), ("1200", "jpy", 1200), ("1.5", "kwd", 1500), ("42.120", "usd", 4212), ("-0.05", "eur", -5)],
)
def test_amounts_are_read_in_the_currencys_own_places(text: str, currency: str, minor: int) -> None:
    """Two places, none or three, with thousands apart or not, and negative ones."""
    assert minor_units(text, currency) == minor


def test_more_places_than_the_currency_has_match_nothing() -> None:
    """Half a cent is on no invoice, and what is no number is an error that says how to write one."""
    assert minor_units("42.125", "usd") is None
    assert minor_units("0.5", "jpy") is None
    with pytest.raises(UsageError, match=r"42\.12"):
        minor_units("forty", "usd")


@pytest.mark.parametrize(
    ("text", "start", "end"),
    [
        ("2026-11", "2026-11-01T00:00:00Z", "2026-12-01T00:00:00Z"),
        ("2026-12", "2026-12-01T00:00:00Z", "2027-01-01T00:00:00Z"),
        ("2026", "2026-01-01T00:00:00Z", "2027-01-01T00:00:00Z"),
        ("2026-11-03", "2026-11-03T00:00:00Z", "2026-11-04T00:00:00Z"),
        ("2026-11-03T10:00:00Z", "2026-11-03T10:00:00Z", "2026-11-03T10:00:01Z"),
    ],
)
def test_about_when_is_a_year_a_month_a_day_or_an_instant(text: str, start: str, end: str) -> None:
    """Each stretch is half-open, in UTC."""
    assert tuple(map(format_s, around_of(text))) == (start, end)


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["acme"],
        ["acme", "calls", "2026-11-03", "--period", "2026-11-03"],
        ["acme", "calls", "--from", "2026-11-03"],
        ["acme", "--amount", "1", "--invoice-line", "il_1"],
        ["acme", "calls", "--amount", "1"],
        ["--amount", "1"],
        ["acme", "calls", "2026-11-03", "--around", "2026"],
        ["acme", "--invoice-line", "il_1"],
    ],
)
def test_a_question_that_is_none_or_two_is_wrong_use(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 2 and one sentence that says how to ask, before any server is looked for."""
    assert run(["explain", *words, "--dir", "/nowhere"]) == 2
    assert "tidemark: " in capsys.readouterr().err
