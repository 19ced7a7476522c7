"""Invoice items and credit notes: what is charged or given back beside a subscription's own lines."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from infra.sandbox.knobs import NEWEST_VERSION, Knobs
from tests.contract.billing_bench import FEB_29, HOUR, MAR_31, START, Bench, licensed
from tests.contract.sandbox_driver import Driver

DECLINED = "pm_card_chargeCustomerFail"


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    """A bench on a fresh sandbox."""
    with Driver(tmp_path) as driver:
        yield Bench(driver)


def item(bench: Bench, **params: object) -> str:
    """The id of a new invoice item."""
    return str(bench.post("/v1/invoiceitems", customer=bench.customer, **params)["id"])


def one_time(bench: Bench, **amount: object) -> str:
    """The id of a one-time price."""
    return str(bench.post("/v1/prices", currency="usd", **{"product_data[name]": "adjustment"}, **amount)["id"])


def test_pending_items_come_onto_the_next_invoice(bench: Bench) -> None:
    """An amount, a priced quantity and a credit wait for the edge, are on that invoice once, and for one subscription only if they say so."""
    subscription, _ = bench.subscribe(bench.driver.metered_price())
    other, _ = bench.subscribe(bench.driver.metered_price())
    item(bench, amount=250, currency="usd", description="late usage")
    item(bench, amount=-50, subscription=subscription)
    item(bench, price=one_time(bench, unit_amount_decimal="0.25"), quantity=10, subscription=other)
    assert len(bench.driver.get("/v1/invoiceitems", {"customer": bench.customer, "pending": "true"}).json["data"]) == 3
    bench.advance(FEB_29 + HOUR)
    totals = {invoice["subscription"]: invoice["total"] for invoice in bench.invoices()[2:]}
    assert totals == {subscription: 200, other: 3}
    assert bench.driver.get("/v1/invoiceitems", {"customer": bench.customer, "pending": "true"}).json["data"] == []
    line = next(each for each in bench.invoices()[2]["lines"]["data"] if each["description"] == "late usage")
    assert (line["type"], line["amount"], line["quantity"]) == ("invoiceitem", 250, 1)


def test_items_stand_on_a_draft(bench: Bench) -> None:
    """An item put on a draft is on it at once, changes with it, leaves it when deleted, and is fixed when the draft is final."""
    draft = bench.post("/v1/invoices", customer=bench.customer)["id"]
    first, second = item(bench, invoice=draft, amount=100), item(bench, invoice=draft, unit_amount_decimal="1.5", quantity=3)
    url = f"/v1/invoices/{draft}"
    assert bench.driver.get(url).json["total"] == 105
    bench.post(f"/v1/invoiceitems/{second}", quantity=4, description="more")
    assert bench.driver.get(url).json["total"] == 106
    assert bench.driver.call("DELETE", f"/v1/invoiceitems/{first}").json["deleted"] is True
    assert [line["description"] for line in bench.driver.get(url).json["lines"]["data"]] == ["more"]
    assert bench.post(f"{url}/finalize", auto_advance="false")["status"] == "open"
    for refused in (bench.driver.post(f"/v1/invoiceitems/{second}", {"amount": 1}), bench.driver.call("DELETE", f"/v1/invoiceitems/{second}")):
        assert refused.status == 400
    assert bench.driver.post("/v1/invoiceitems", {"customer": bench.customer, "invoice": draft, "amount": 1}).error["param"] == "invoice"


def test_pending_items_come_onto_a_manual_invoice(bench: Bench) -> None:
    """A manual invoice takes pending items only if it says include, and when deleted takes them with it."""
    item(bench, amount=40)
    assert bench.post("/v1/invoices", customer=bench.customer)["total"] == 0
    included = bench.post("/v1/invoices", customer=bench.customer, pending_invoice_items_behavior="include")
    assert included["total"] == 40
    bench.driver.call("DELETE", f"/v1/invoices/{included['id']}")
    assert bench.driver.get("/v1/invoiceitems", {"customer": bench.customer}).json["data"] == []


@pytest.mark.parametrize("params", [{}, {"amount": 1, "unit_amount": 1}, {"quantity": 1, "quantity_decimal": "1", "unit_amount": 1}])
def test_an_item_has_one_amount(bench: Bench, params: dict[str, object]) -> None:
    """No amount, two amounts and two quantities are refused."""
    assert bench.driver.post("/v1/invoiceitems", {"customer": bench.customer, **params}).status == 400


def test_items_of_both_eras(bench: Bench) -> None:
    """The modern shape has parent, pricing and quantity_decimal, and takes pricing[price] with a fraction of a unit."""
    price = one_time(bench, unit_amount=10)
    params = {"customer": bench.customer, "pricing[price]": price, "quantity_decimal": "2.25"}
    made = bench.driver.post("/v1/invoiceitems", params, stripe_version=NEWEST_VERSION).json
    assert (made["amount"], made["quantity_decimal"], made["pricing"]["price_details"]["price"]) == (23, "2.25", price)
    old = bench.driver.get(f"/v1/invoiceitems/{made['id']}").json
    assert (old["price"]["id"], old["quantity"], old["unit_amount"]) == (price, 2, 10)


def paid_invoice(bench: Bench) -> tuple[str, str]:
    """(invoice, line) of 30 dollars, paid."""
    bench.subscribe(licensed(bench.driver))
    return bench.newest()["id"], bench.newest()["lines"]["data"][0]["id"]


def test_a_credit_note_of_a_paid_invoice(bench: Bench) -> None:
    """It goes to the balance, which pays the next invoice; the invoice's lines stay, and no more than its total is given back."""
    invoice, line = paid_invoice(bench)
    before = bench.newest()["lines"]
    params: dict[str, object] = {"invoice": invoice, "lines[0][type]": "invoice_line_item", "lines[0][invoice_line_item]": line}
    previewed = bench.driver.get("/v1/credit_notes/preview", {**params, "lines[0][amount]": 700, "credit_amount": 700}).json
    assert bench.driver.get("/v1/credit_notes", {"invoice": invoice}).json["data"] == []
    note = bench.driver.made("/v1/credit_notes", {**params, "lines[0][amount]": 700, "credit_amount": 700, "memo": "late correction"})
    assert (previewed["amount"], note["amount"], note["type"], note["post_payment_amount"]) == (700, 700, "post_payment", 700)
    assert bench.driver.get(f"/v1/customers/{bench.customer}").json["balance"] == -700
    shown = bench.driver.get(f"/v1/invoices/{invoice}").json
    assert (shown["lines"], shown["post_payment_credit_notes_amount"], shown["amount_paid"]) == (before, 700, 3000)
    for wrong in ({"amount": 2301, "credit_amount": 2301}, {"amount": 100}, {"amount": 0}):
        assert bench.driver.post("/v1/credit_notes", {"invoice": invoice, **wrong}).status == 400
    bench.advance(FEB_29 + HOUR)
    assert (bench.newest()["total"], bench.newest()["amount_due"], bench.newest()["starting_balance"]) == (3000, 2300, -700)
    assert [each["id"] for each in bench.driver.get("/v1/credit_notes", {"customer": bench.customer}).json["data"]] == [note["id"]]
    assert bench.driver.get(f"/v1/credit_notes/{note['id']}/lines").json["data"] == note["lines"]["data"]


def test_a_credit_note_of_an_open_invoice(bench: Bench) -> None:
    """It lowers what is owed, can be voided, and pays the invoice when nothing is left; a draft takes none."""
    draft = bench.post("/v1/invoices", customer=bench.customer)["id"]
    item(bench, invoice=draft, amount=100)
    assert bench.driver.post("/v1/credit_notes", {"invoice": draft, "amount": 10}).error["param"] == "invoice"
    bench.post(f"/v1/invoices/{draft}/finalize")
    note = bench.post("/v1/credit_notes", invoice=draft, amount=30)
    assert (bench.newest()["amount_due"], bench.newest()["amount_remaining"], note["pre_payment_amount"]) == (70, 70, 30)
    assert bench.post(f"/v1/credit_notes/{note['id']}/void")["status"] == "void"
    assert bench.newest()["amount_remaining"] == 100
    bench.post("/v1/credit_notes", invoice=draft, amount=100)
    assert (bench.newest()["status"], bench.newest()["amount_paid"]) == ("paid", 0)


def test_failed_payments_are_retried_and_end_the_subscription(bench: Bench) -> None:
    """A declined renewal is past due, tried again after 3, 5 and 7 days, and canceled after that; each attempt is said."""
    subscription, _ = bench.subscribe(licensed(bench.driver))
    bench.post(f"/v1/customers/{bench.customer}", **{"invoice_settings[default_payment_method]": DECLINED})
    bench.advance(FEB_29 + HOUR)
    assert (bench.status(subscription), bench.newest()["status"], bench.newest()["attempt_count"]) == ("past_due", "open", 1)
    assert bench.newest()["next_payment_attempt"] == FEB_29 + HOUR + 3 * 86_400
    bench.advance(FEB_29 + HOUR + 15 * 86_400)
    assert (bench.status(subscription), bench.newest()["status"], bench.newest()["attempt_count"]) == ("canceled", "open", 4)
    assert bench.events().count("invoice.payment_failed") == 4


def test_a_paid_renewal_makes_active_again(bench: Bench) -> None:
    """With a method that pays, the next try or a call of pay makes a past due subscription active."""
    subscription, _ = bench.subscribe(licensed(bench.driver))
    bench.post(f"/v1/subscriptions/{subscription}", default_payment_method=DECLINED)
    bench.advance(FEB_29 + HOUR)
    url = f"/v1/invoices/{bench.newest()['id']}/pay"
    declined = bench.driver.post(url)
    assert (declined.status, declined.error["type"], declined.error["code"]) == (402, "card_error", "card_declined")
    assert bench.driver.post(url, {"payment_method": "pm_card_visa"}).json["status"] == "paid"
    assert bench.status(subscription) == "active"


@pytest.mark.parametrize(
    ("behavior", "status", "invoice"),
    [("allow_incomplete", "incomplete", "open"), ("default_incomplete", "incomplete", "open"), ("error_if_incomplete", "", "")],
)
def test_the_first_payment(bench: Bench, behavior: str, status: str, invoice: str) -> None:
    """A first payment that fails leaves the subscription incomplete, for 23 hours, or is refused whole."""
    bench.post(f"/v1/customers/{bench.customer}", **{"invoice_settings[default_payment_method]": DECLINED})
    params = {"customer": bench.customer, "items[0][price]": licensed(bench.driver), "payment_behavior": behavior}
    reply = bench.driver.post("/v1/subscriptions", params)
    if not status:
        assert (reply.status, bench.invoices()) == (402, [])
        return
    assert (reply.json["status"], bench.newest()["status"]) == (status, invoice)
    if behavior == "default_incomplete":
        assert bench.newest()["attempt_count"] == 0
        bench.post(f"/v1/invoices/{bench.newest()['id']}/pay", payment_method="pm_card_visa")
        assert bench.status(reply.json["id"]) == "active"
        return
    bench.advance(START + 23 * HOUR)
    assert (bench.status(reply.json["id"]), bench.newest()["status"]) == ("incomplete_expired", "void")


def test_a_sent_invoice_falls_overdue(bench: Bench) -> None:
    """An invoice that is sent is not charged; unpaid at its due date it is overdue and its subscription past due, until it is paid."""
    subscription, _ = bench.subscribe(licensed(bench.driver), collection_method="send_invoice", days_until_due=5)
    assert (bench.status(subscription), bench.newest()["status"], bench.newest()["due_date"]) == ("active", "open", START + 5 * 86_400)
    bench.advance(START + 5 * 86_400)
    assert (bench.status(subscription), bench.events().count("invoice.overdue")) == ("past_due", 1)
    bench.post(f"/v1/invoices/{bench.newest()['id']}/pay", paid_out_of_band="true")
    assert (bench.status(subscription), bench.newest()["paid_out_of_band"]) == ("active", True)


def test_an_open_invoice_is_collected_again(bench: Bench) -> None:
    """auto_advance=true on an open invoice tries its payment at once."""
    draft = bench.post("/v1/invoices", customer=bench.customer)["id"]
    item(bench, invoice=draft, amount=100)
    assert bench.post(f"/v1/invoices/{draft}/finalize")["status"] == "open"
    bench.post(f"/v1/invoices/{draft}", auto_advance="true")
    assert bench.newest()["status"] == "paid"


def test_a_negative_total_becomes_credit(bench: Bench) -> None:
    """An invoice below zero owes nothing, and what is left of it pays the next one."""
    bench.subscribe(licensed(bench.driver))
    item(bench, amount=-5000)
    bench.advance(FEB_29 + HOUR)
    assert (bench.newest()["total"], bench.newest()["amount_due"], bench.newest()["ending_balance"]) == (-2000, 0, -2000)
    bench.advance(MAR_31 + HOUR)
    assert (bench.newest()["starting_balance"], bench.newest()["amount_due"], bench.newest()["amount_paid"]) == (-2000, 1000, 1000)


def test_a_line_is_credited_by_at_most_its_amount(bench: Bench) -> None:
    """A credit note takes no more of a line than the line came to, even where the invoice came to more."""
    draft = bench.post("/v1/invoices", customer=bench.customer)["id"]
    item(bench, invoice=draft, amount=100)
    item(bench, invoice=draft, amount=40)
    lines = bench.post(f"/v1/invoices/{draft}/finalize")["lines"]["data"]
    params = {"invoice": draft, "lines[0][type]": "invoice_line_item", "lines[0][invoice_line_item]": lines[1]["id"]}
    assert bench.driver.post("/v1/credit_notes", {**params, "lines[0][amount]": 41}).error["param"] == "lines[0][amount]"
    assert bench.driver.post("/v1/credit_notes", {**params, "lines[0][amount]": 40}).json["amount"] == 40


def test_only_the_newest_invoice_brings_a_subscription_back(tmp_path: Path) -> None:
    """Paying an older open invoice leaves a subscription past due, paying the newest makes it active."""
    with Driver(tmp_path, knobs=Knobs(calls_per_second=1e9, payment_retry_days="", after_retries="past_due")) as driver:
        bench = Bench(driver)
        subscription, _ = bench.subscribe(licensed(driver))
        bench.post(f"/v1/subscriptions/{subscription}", default_payment_method=DECLINED)
        bench.advance(FEB_29 + HOUR)
        bench.advance(MAR_31 + HOUR)
        for n, status in ((1, "past_due"), (2, "active")):
            bench.post(f"/v1/invoices/{bench.invoices()[n]['id']}/pay", payment_method="pm_card_visa")
            assert bench.status(subscription) == status


def test_an_ended_subscription_is_not_collected(bench: Bench) -> None:
    """With its cancellation the open invoice stays open and is tried no more."""
    subscription, _ = bench.subscribe(licensed(bench.driver))
    bench.post(f"/v1/subscriptions/{subscription}", default_payment_method=DECLINED)
    bench.advance(FEB_29 + HOUR)
    bench.driver.call("DELETE", f"/v1/subscriptions/{subscription}", {})
    bench.advance(FEB_29 + 10 * 86_400)
    assert (bench.newest()["status"], bench.newest()["attempt_count"], bench.newest()["auto_advance"]) == ("open", 1, False)


def test_an_unpaid_subscriptions_invoices_stay_drafts(tmp_path: Path) -> None:
    """With the account's setting `unpaid`, invoices still come after the last retry, and wait."""
    with Driver(tmp_path, knobs=Knobs(calls_per_second=1e9, payment_retry_days="1", after_retries="unpaid")) as driver:
        bench = Bench(driver)
        subscription, _ = bench.subscribe(licensed(driver))
        bench.post(f"/v1/subscriptions/{subscription}", default_payment_method=DECLINED)
        bench.advance(FEB_29 + 2 * 86_400)
        bench.advance(MAR_31 + HOUR)
        assert (bench.status(subscription), bench.newest()["status"], bench.newest()["auto_advance"]) == ("unpaid", "draft", False)
