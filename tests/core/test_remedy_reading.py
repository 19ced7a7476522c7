"""What is read of Stripe before an adjustment is billed elsewhere: which answers say no, which say nothing, and what a line can give back."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest

from sinks.outcomes import Refused, RetryAfter
from sinks.remedy_calls import CreditLine, LookUp, Quote, Quoted
from sinks.stripe.refusal import StripeRefusal
from sinks.stripe.remedy_reading import look_up, quote
from topics.adjustments import Adjustment, Remedy
from topics.errors import Unreachable
from topics.receipt import CellReceipt

SUBSCRIPTION = {"id": "sub_1", "customer": "cus_1", "billing_cycle_anchor": 1, "start_date": 1, "items": {"data": []}, "currency": "usd"}
PRICE = {"id": "price_1", "currency": "usd", "unit_amount_decimal": "1.5"}
ROW = {"id": "si_1", "price": PRICE, "subscription": "sub_1"}


class Account:
    """A Stripe whose objects are what a test says; an error is raised."""

    def __init__(self, **objects: Any) -> None:
        plain = {"subscriptions/sub_1": SUBSCRIPTION, "prices/price_1": PRICE, "subscription_items/si_1": ROW}
        self.objects: dict[str, Any] = plain | {name.replace("__", "/"): said for name, said in objects.items()}
        self.asked: list[str] = []

    def get(self, path: str, **_: Any) -> dict[str, Any]:
        """GET."""
        self.asked.append(path)
        found = self.objects[path.removeprefix("/v1/")]
        if isinstance(found, Exception):
            raise found
        return dict(found)

    def pages(self, path: str, **_: Any) -> Iterable[dict[str, Any]]:
        """A list."""
        found = self.objects.get(path.removeprefix("/v1/"), [])
        if isinstance(found, Exception):
            raise found
        return list(found)


def asked(**more: Any) -> Quote:
    """What is asked for a cell that knows its price and subscription."""
    return Quote(b"", "si_1", "price_1", "sub_1", "", "", 50)._replace(**more)


def line(name: str, amount: int, item: str = "si_1", end: int = 100) -> dict[str, Any]:
    """A usage line of [0, end)."""
    return {
        "id": name, "amount": amount, "currency": "usd", "period": {"start": 0, "end": end}, "quantity": 1, "subscription_item": item,
        "price": {"id": "price_1"},
    }  # fmt: skip


def test_a_cell_that_knows_its_price_asks_for_little() -> None:
    """Payer and price are read, and nothing else; a cell of before, which knows neither, finds both by its item."""
    account = Account()
    assert quote(account, account, asked()) == quote(account, account, asked(price="", subscription=""))
    assert account.asked[:2] == ["/v1/subscriptions/sub_1", "/v1/prices/price_1"]
    found = quote(account, account, asked())
    assert isinstance(found, Quoted) and (found.payer, found.price.id, found.lines) == ("cus_1", "price_1", ())


@pytest.mark.parametrize(
    ("error", "again", "down"),
    [
        (Unreachable("away"), True, True),
        (StripeRefusal(500, "", "sorry"), True, True),
        (StripeRefusal(401, "", "Invalid API Key"), True, True),
        (StripeRefusal(429, "rate_limit", "slow down"), True, False),
        (StripeRefusal(404, "resource_missing", "No such price"), False, False),
    ],
)
def test_only_an_answer_about_the_price_holds_an_adjustment(error: Exception, again: bool, down: bool) -> None:
    """A Stripe that is away, broken, busy or does not know our key is asked again; one that does not know the price says no."""
    account = Account(prices__price_1=error)
    found = quote(account, account, asked())
    assert isinstance(found, RetryAfter if again else Refused) and getattr(found, "down", False) == down
    looked = look_up(Account(invoiceitems=error), LookUp(b"", receipt(), remedy()))
    assert isinstance(looked, RetryAfter) and looked.down == down


def test_a_price_in_another_currency_bills_nothing() -> None:
    """Where the subscription is billed in another currency than the price shows its amounts in, nobody knows what the units cost."""
    account = Account(subscriptions__sub_1=SUBSCRIPTION | {"currency": "eur"})
    found = quote(account, account, asked())
    assert isinstance(found, Refused) and "eur" in found.sentence


def test_lines_give_back_what_is_left_of_them() -> None:
    """Of the lines of the item that hold the cell's second, less what credit notes that stand have given back already."""
    notes = [
        {"id": "cn_1", "status": "issued", "lines": {"data": [{"invoice_line_item": "il_1", "amount": 4}], "has_more": False}},
        {"id": "cn_2", "status": "void", "lines": {"data": [{"invoice_line_item": "il_1", "amount": 1}], "has_more": False}},
        {"id": "cn_3", "status": "issued", "lines": {"data": [], "has_more": True}},
    ]
    lines = [line("il_1", 10), line("il_2", 5), line("il_3", 7, item="si_2"), line("il_4", 7, end=40)]
    invoice = {"id": "in_1", "status": "open", "amount_remaining": 6, "lines": {"data": lines, "has_more": False}}
    account = Account(invoices__in_1=invoice, credit_notes=notes, credit_notes__cn_3__lines=[{"id": "x", "invoice_line_item": "il_2", "amount": 2}])
    found = quote(account, account, asked(invoice="in_1"))
    assert isinstance(found, Quoted) and (found.lines, found.owed) == ((CreditLine("il_1", 6), CreditLine("il_2", 3)), 6)
    paid = Account(invoices__in_1=invoice | {"status": "paid"})
    again = quote(paid, paid, asked(invoice="in_1"))
    assert isinstance(again, Quoted) and again.owed == 0


def test_what_was_made_is_found_by_its_mark() -> None:
    """Only the object with this adjustment's mark and number is its own; an invoice item is looked for at its payer, a credit note at its invoice."""
    rows = [{"id": "ii_1", "metadata": {"tidemark_remedy": "adj_1/2"}}, {"id": "ii_2", "metadata": {"tidemark_remedy": "adj_1/1"}}, {"id": "ii_3"}]
    assert look_up(Account(invoiceitems=rows), LookUp(b"", receipt(), remedy())) == "ii_2"
    assert look_up(Account(invoiceitems=rows[:1]), LookUp(b"", receipt(), remedy())) == ""
    note = Remedy(kind="credit_note", number=1, units="-1", invoice="in_1", intent_at_ms=0)
    assert look_up(Account(credit_notes=rows), LookUp(b"", receipt(), note)) == "ii_2"


def remedy() -> Remedy:
    """An invoice item on its way."""
    return Remedy(kind="invoice_item", number=1, units="1", payer="cus_1", intent_at_ms=0)


def receipt() -> CellReceipt:
    """A cell with the adjustment adj_1."""
    said = Adjustment(id="adj_1", units="1", standing="0", cause="late_event", since_ms=0)
    return CellReceipt(
        provider="stripe", account="default", cell="si_1|50", customer="acme", meter="calls", item="si_1", timestamp_s=50, period_start_s=0,
        period_end_s=100, windows=(), revision=1, attempt=1, quantity="1", units="1", state="adjustment", intent_at_ms=0, adjustment=said,
    )  # fmt: skip
