"""`tidemark adjustments`: each adjustment in units and money, what settling one says, and what is refused."""

from __future__ import annotations

import random
from fractions import Fraction
from typing import Any

import pytest

from infra.adjusting import Found, amount_text, found_json, settlement
from sinks.stripe.adjusting import listed, totals
from sinks.stripe.costs import billed, more
from sinks.stripe.objects import Price, Tier, Transform
from tests.core.report_world import START_S
from topics.adjustments import Adjustment, adjustment_id
from topics.errors import TidemarkError, UsageError
from topics.receipt import CellReceipt, Standing, WindowPart
from topics.windows import Window, window_key

CENT_AND_A_HALF = Price("price_1", unit_amount_decimal="1.5")
GRADUATED = Price(
    "price_2",
    billing_scheme="tiered",
    tiers_mode="graduated",
    tiers=(Tier(10, "0"), Tier(100, "0.25", "30"), Tier(None, "0.1", "7.5")),
)
VOLUME = Price("price_3", billing_scheme="tiered", tiers_mode="volume", tiers=(Tier(10, "10"), Tier(None, "7.3", "1.2")))
PACKED = Price("price_4", unit_amount_decimal="33.3", transform_quantity=Transform(10, "up"))


def receipt(number: int, standing: int, units: str = "0", settled: str = "0", price: str = "price_1", **more_fields: Any) -> CellReceipt:
    """The newest receipt of hour `number`: `standing` delivered, `units` of an adjustment open (with "0" and nothing settled: none at all)."""
    start_s = START_S + 3600 * number
    window = window_key(Window("acme", "calls", start_s, start_s + 3600))
    cell = f"si_1|{start_s}"
    said = Adjustment(
        id=adjustment_id("stripe", "default", cell), units=units, standing=str(standing), settled=settled, cause="late_event",
        invoice="in_1", since_ms=number,
    )  # fmt: skip
    fields: dict[str, Any] = {
        "provider": "stripe", "account": "default", "cell": cell, "customer": "acme", "meter": "calls", "item": "si_1", "timestamp_s": start_s,
        "period_start_s": START_S, "period_end_s": START_S + 86_400, "quantity": "1", "units": "1", "revision": 1, "attempt": 1, "intent_at_ms": 1,
        "windows": (WindowPart(window=window, generation=1, through_offset=1, quantity="1"),), "state": "adjustment", "price": price,
        "standing": Standing(revision=1, attempt=1, units=str(standing), quantity=str(standing), at_ms=1),
        "adjustment": None if units == settled == "0" else said,
    }  # fmt: skip
    return CellReceipt(**(fields | more_fields))


def test_an_adjustment_costs_what_it_adds_to_its_period() -> None:
    """7 units at one and a half cents on top of 5 are 10 cents, since 5 came to 8 and 12 come to 18; a plain product would say 10 or 11."""
    rows = listed([receipt(0, 5, "7"), receipt(1, 0, "0")], {("si_1", "price_1"): CENT_AND_A_HALF})
    assert [(row.said.units, row.amount, row.currency) for row in rows] == [("7", 10, "usd")]
    assert totals(rows) == {"usd": 10}


@pytest.mark.parametrize("price", [CENT_AND_A_HALF, GRADUATED, VOLUME, PACKED], ids=lambda price: str(price.id))
def test_parts_add_up_to_one_invoice(price: Price) -> None:
    """Whatever adjustments a period has, up or down, in whatever order: their amounts and what stands come to one invoice of all units."""
    chance = random.Random(5)
    for _ in range(200):
        receipts = []
        stands = wanted = 0
        for number in range(chance.randrange(1, 8)):
            held = chance.randrange(60)
            change = chance.randrange(-held, 60)
            receipts.append(receipt(number, held, str(change), price=price.id))
            stands, wanted = stands + held, wanted + held + change
        chance.shuffle(receipts)
        rows = listed(receipts, {("si_1", price.id): price})
        first = billed(price, Fraction(stands))
        assert first is not None
        assert first + totals(rows).get("usd", 0) == billed(price, Fraction(wanted))


def test_what_was_settled_is_billed_already() -> None:
    """What is settled counts as billed before: the next units are priced on top of it, in the tier that it reached."""
    rows = listed([receipt(0, 8, "2", settled="3", price="price_2")], {("si_1", "price_2"): GRADUATED})
    assert [row.amount for row in rows] == [more(GRADUATED, Fraction(11), Fraction(2))] == [0 + 1]


def test_other_periods_prices_and_customers_are_priced_alone() -> None:
    """Another period, price or customer is another line of an invoice, with tiers of its own."""
    alone = [
        receipt(0, 10, "10", price="price_2"),
        receipt(1, 10, "10", price="price_2", period_start_s=START_S + 86_400),
        receipt(2, 10, "10", price="price_2", customer="bit"),
    ]
    rows = listed(alone, {("si_1", "price_2"): GRADUATED})
    assert len({row.amount for row in rows}) == 1


def test_a_price_that_cannot_be_read_is_unknown() -> None:
    """Units are listed without an amount; what they come to is left out of the sum, and said."""
    said = found_json(Found(listed([receipt(0, 5, "7"), receipt(1, 5, "1", price="price_9")], {("si_1", "price_1"): CENT_AND_A_HALF}), "gone"))
    assert [row["money"] for row in said["adjustments"]] == ["0.10", None]
    assert (said["open"], said["money"], said["unpriced"]) == (2, {"usd": "0.10"}, 1)


def test_settled_ones_owe_nothing() -> None:
    """A settled adjustment is listed with what was done about it, and is in no sum."""
    said = found_json(Found(listed([receipt(0, 5, "0", settled="7")], {("si_1", "price_1"): CENT_AND_A_HALF}), ""))
    assert [(row["state"], row["money"]) for row in said["adjustments"]] == [("settled", "0.00")]
    assert (said["open"], said["money"]) == (0, {})


def test_amounts_have_their_currencys_places() -> None:
    """Cents have two places, yen none, dinars three."""
    assert [amount_text(-1234, currency) for currency in ("usd", "jpy", "kwd")] == ["-12.34", "-1234", "-1.234"]


def test_a_settlement_says_what_was_seen() -> None:
    """All of it, or a part with its sign, names the cell's receipt and what was settled before."""
    rows = listed([receipt(0, 5, "-7", settled="2")], {})
    customer, record = settlement(rows, rows[0].id, None, "waived")
    assert (customer, record.target, record.units, record.settled, record.how) == ("acme", rows[0].key, "-7", "2", "waived")
    assert settlement(rows, rows[0].id, "-3.5", "waived")[1].units == "-3.5"


@pytest.mark.parametrize("units", ["8", "-1", "0", "x", "7.0000000000001"])
def test_what_is_not_owed_cannot_be_settled(units: str) -> None:
    """More than is open, the other sign, nothing, and no number are refused with the amount that is open or with an example."""
    rows = listed([receipt(0, 5, "7")], {})
    with pytest.raises(UsageError, match="7"):
        settlement(rows, rows[0].id, units, "waived")


def test_only_an_open_adjustment_is_settled_and_with_a_word() -> None:
    """An unknown name, a settled adjustment, and no word on how are told apart."""
    rows = listed([receipt(0, 5, "0", settled="7")], {})
    with pytest.raises(TidemarkError, match="no adjustment 'adj_9'"):
        settlement(rows, "adj_9", None, "waived")
    with pytest.raises(UsageError, match="0 units open"):
        settlement(rows, rows[0].id, None, "waived")
    with pytest.raises(UsageError, match="how"):
        settlement(rows, rows[0].id, None, " ")


def test_doubt_alone_can_be_settled() -> None:
    """An adjustment of nothing beside which something may stand is open, and is settled with 0 units."""
    rows = listed([receipt(0, 5, "0", settled="7", maybe=("9",))], {})
    assert rows[0].is_open
    assert settlement(rows, rows[0].id, None, "looked")[1].units == "0"
