"""Adjustments billed elsewhere, at the sandbox with the real client: one invoice item or credit note each, wherever the worker dies."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from infra.adjusting import prices_of
from infra.sandbox.testing import sandbox_server
from infra.settings import load_settings
from sinks.calls import Call
from sinks.outcomes import Outcome, RetryAfter, outcome_of
from sinks.receipts import Deliveries
from sinks.remedy_calls import Bill, LookUp, Quote
from sinks.stripe.client import StripeAccess
from sinks.stripe.remedy_request import wanted_bill
from sinks.stripe.request import MODERN_VERSION, wanted_of
from tests.contract.billing_bench import CLOCKS, FEB_29, HOUR, START
from tests.core.report_world import binding, total_of
from topics.bindings import Item
from topics.clocks import ClockVersion
from topics.definitions import Definition
from topics.invoices import Invoice, InvoiceRecord
from topics.meters import BEGINNING_S, Meter, MeterVersion
from topics.quantity import ONE
from topics.receipt import CellReceipt, Receipt
from topics.window_total import WindowTotal

AT_S = START + 10 * HOUR
CUSTOMERS = 16


class Crash(Exception):
    """kill -9, at a chosen moment."""


class Shop:
    """A sandbox with customers, each on a test clock of its own and subscribed at one and a half cents a unit."""

    def __init__(self, url: str, key: str) -> None:
        self.access = StripeAccess(url, key)
        self.modern = StripeAccess(url, key, version=MODERN_VERSION)
        self.clocks = list[str]()
        recurring = {"interval": "month", "usage_type": "metered", "aggregate_usage": "sum"}
        price: dict[str, Any] = {"currency": "usd", "unit_amount_decimal": "1.5", "product_data": {"name": "calls"}, "recurring": recurring}
        self.price = str(self.access.post("/v1/prices", **price)["id"])

    def customer(self, name: str, late: Any) -> tuple[Item, str]:
        """(item, Stripe's customer) of a new subscription."""
        clock = self.modern.post(CLOCKS, frozen_time=START)["id"]
        self.clocks.append(clock)
        payer = self.access.post("/v1/customers", name=name, test_clock=clock)["id"]
        made = self.access.post("/v1/subscriptions", customer=payer, items=[{"price": self.price}])
        item = made["items"]["data"][0]["id"]
        return Item(
            meter="calls", item=item, subscription=made["id"], period_anchor_s=START, late=late, clock=clock, price=self.price
        ), str(payer)  # fmt: skip

    def advance(self, to_s: int) -> None:
        """All clocks move on."""
        for clock in self.clocks:
            self.modern.post(f"{CLOCKS}/{clock}/advance", frozen_time=to_s)

    def invoice(self, payer: str) -> dict[str, Any]:
        """The newest invoice of a customer."""
        return next(iter(self.modern.pages("/v1/invoices", customer=payer)))

    def made(self, payer: str) -> list[tuple[str, int]]:
        """(object, signed amount) of what was made for a customer outside of its subscription's own lines."""
        items = [("invoiceitem", int(row["amount"])) for row in self.modern.pages("/v1/invoiceitems", customer=payer)]
        return items + [("credit_note", -int(row["amount"])) for row in self.modern.pages("/v1/credit_notes", customer=payer)]


class Report:
    """A report worker of one customer without Kafka: the machine, a log that is a dictionary, and a crash after so many moments."""

    def __init__(self, shop: Shop, name: str, item: Item) -> None:
        self.shop, self.name = shop, name
        self.definitions: list[Definition] = [binding(name, item)]
        self.source: list[WindowTotal] = []
        self.log: dict[bytes, Receipt] = {}
        self.now_ms = AT_S * 1000
        self.moments = -1
        self.machine = self.begun()

    def begun(self) -> Deliveries:
        """A worker that has read receipts, definitions and totals."""
        machine = Deliveries(0, "default", 0)
        machine.recover(self.log.values(), self.now_ms)
        machine.define(self.definitions, self.now_ms)
        for offset, total in enumerate(self.source):
            machine.total(total, offset, self.now_ms, self.now_ms)
        machine.advance(len(self.source))
        return machine

    def moment(self) -> None:
        """Between any two effects: here a worker may die."""
        self.moments -= 1
        if self.moments == 0:
            raise Crash

    def emit(self, units: int) -> None:
        """A higher revision of the one window, and a worker that reads it."""
        self.source.append(total_of(self.name, AT_S, units * ONE, len(self.source) + 1))
        self.machine = self.begun()

    def run(self, crash_at: int = -1) -> None:
        """Works until nothing is left to do; dies at that moment once, and goes on as its successor."""
        self.moments = crash_at
        try:
            self._run()
        except Crash:
            self.machine = self.begun()
            self._run()

    def _run(self) -> None:
        idle = 0
        while idle < 3:
            did = self._write()
            for call in self._calls():
                did |= self._call(call)
            idle = 0 if did else idle + 1
            self.now_ms += 1000

    def _calls(self) -> Iterator[Any]:
        yield from self.machine.next_calls(self.now_ms, 4)
        yield from self.machine.remedies.next_calls(self.now_ms, 4)

    def _write(self) -> bool:
        write = self.machine.next_write(self.now_ms)
        if write is None:
            return False
        self.moment()
        self.log.update(dict(write.records))
        self.moment()
        self.machine.written(write, self.now_ms)
        return True

    def _call(self, call: Any) -> bool:
        access, remedies = self.shop.access, self.machine.remedies
        self.moment()
        if isinstance(call, Quote):
            remedies.quoted(call, access.quote(call), self.now_ms)
        elif isinstance(call, LookUp):
            remedies.looked_up(call, access.look_up(call), self.now_ms)
        elif isinstance(call, Bill):
            remedy = call.remedy
            answer = access.report(remedy.path, remedy.body, remedy.idempotency_key, lambda: True)
            self.moment()
            remedies.billed(call, outcome_of(answer, wanted_bill(call.receipt, remedy)), self.now_ms)
        else:
            assert isinstance(call, Call)
            answer = access.report(call.intent.path, call.intent.body, call.intent.idempotency_key, lambda: True)
            outcome: Outcome = outcome_of(answer, wanted_of(call.intent))
            assert not isinstance(outcome, RetryAfter)
            self.machine.answered(call, outcome, self.now_ms)
        return True

    def know_invoice(self, row: dict[str, Any]) -> None:
        """The webhook's word: the period's invoice is final."""
        said = InvoiceRecord(
            invoice=row["id"], subscription=self.receipt.subscription, status=row["status"], period_start_s=START, period_end_s=FEB_29, seen_at_s=1
        )  # fmt: skip
        self.definitions.append(Invoice(customer=self.name, said=said, offset=9))
        self.machine = self.begun()

    @property
    def receipt(self) -> CellReceipt:
        """The one cell's newest record."""
        return next(one for one in self.log.values() if isinstance(one, CellReceipt))


def live(url: str, key: str, late: str, units: int) -> list[tuple[int, list[tuple[str, int]], CellReceipt]]:
    """Customers with 20 units invoiced, then corrected to `units`, each with a crash at another moment: moment, what was made, the receipt."""
    shop = Shop(url, key)
    reports = []
    for number in range(CUSTOMERS):
        item, payer = shop.customer(f"c{number}", late)
        reports.append((number, payer, Report(shop, f"c{number}", item)))
    shop.advance(AT_S + 2 * HOUR)
    for _, _, report in reports:
        report.emit(20)
        report.run()
    shop.advance(FEB_29 + 3 * HOUR)
    found = []
    for number, payer, report in reports:
        row = shop.invoice(payer)
        assert (row["status"] in {"open", "paid"}, row["total"]) == (True, 30)
        report.know_invoice(row)
        report.emit(units)
        report.run(crash_at=number)
        found.append((number, shop.made(payer), report.receipt))
    shop.access.close()
    shop.modern.close()
    return found


@pytest.mark.parametrize(
    ("late", "units", "made"),
    [
        ("invoice_item", 27, ("invoiceitem", 11)),
        ("invoice_item", 15, ("invoiceitem", -7)),
        ("credit_note", 15, ("credit_note", -7)),
        ("credit_note", 27, ("invoiceitem", 11)),
    ],
)
async def test_one_bill_wherever_the_worker_dies(tmp_path: Path, late: str, units: int, made: tuple[str, int]) -> None:
    """Killed at every moment between plan and settlement: exactly one charge or credit of the right amount, named in the receipt."""
    async with sandbox_server(tmp_path) as sandbox:
        found = await asyncio.to_thread(live, sandbox.url, sandbox.key, late, units)
    for number, each, receipt in found:
        assert each == [made], f"killed at moment {number}: {each}"
        assert receipt.adjustment is not None
        assert (receipt.adjustment.units, receipt.adjustment.settled, receipt.outcome) == ("0", str(units - 20), "settled")


async def test_the_next_invoice_carries_the_item(tmp_path: Path) -> None:
    """What came too late for its invoice is on the customer's next one, and both invoices come to what all units cost."""

    def month(url: str, key: str) -> tuple[int, int]:
        shop = Shop(url, key)
        item, payer = shop.customer("acme", "invoice_item")
        report = Report(shop, "acme", item)
        shop.advance(AT_S + 2 * HOUR)
        report.emit(20)
        report.run()
        shop.advance(FEB_29 + 3 * HOUR)
        report.know_invoice(shop.invoice(payer))
        report.emit(27)
        report.run()
        shop.advance(FEB_29 + 32 * 24 * HOUR)
        totals = [int(row["total"]) for row in shop.modern.pages("/v1/invoices", customer=payer)]
        shop.access.close()
        shop.modern.close()
        return sum(totals), totals[0]

    async with sandbox_server(tmp_path) as sandbox:
        total, last = await asyncio.to_thread(month, sandbox.url, sandbox.key)
    assert (total, last) == (41, 11)  # 27 units at 1.5 cents


async def test_the_next_period_takes_the_units(tmp_path: Path) -> None:
    """Under `next_period` the units are a usage record of the period that runs, wherever the worker dies: once on the next invoice."""

    def months(url: str, key: str) -> list[tuple[int, list[int], CellReceipt]]:
        shop = Shop(url, key)
        reports = []
        for number in range(12):
            item, payer = shop.customer(f"c{number}", "next_period")
            report = Report(shop, f"c{number}", item)
            report.definitions.append(MeterVersion(meter=Meter(slug="calls", event_type="x"), valid_from_s=BEGINNING_S, offset=0, digest="d"))
            reports.append((number, payer, report))
        shop.advance(AT_S + 2 * HOUR)
        for _, _, report in reports:
            report.emit(20)
            report.run()
        shop.advance(FEB_29 + 30 * HOUR)
        for number, payer, report in reports:
            report.know_invoice(shop.invoice(payer))
            report.definitions.append(clock_of(report, FEB_29 + 30 * HOUR))
            report.emit(27)
            report.run(crash_at=number)
        shop.advance(FEB_29 + 32 * 24 * HOUR)
        rows = [(number, shop.modern.pages("/v1/invoices", customer=payer), report.receipt) for number, payer, report in reports]
        found = [(number, [int(row["total"]) for row in invoices if row["total"]], receipt) for number, invoices, receipt in rows]
        assert [made for _, payer, _ in reports for made in shop.made(payer)] == []
        shop.access.close()
        shop.modern.close()
        return found

    async with sandbox_server(tmp_path) as sandbox:
        found = await asyncio.to_thread(months, sandbox.url, sandbox.key)
    for number, totals, receipt in found:
        assert totals == [11, 30], f"killed at moment {number}: {totals}"
        assert receipt.adjustment is not None and (receipt.adjustment.settled, receipt.adjustment.units) == ("7", "0")


def clock_of(report: Report, now_s: int) -> ClockVersion:
    """What the customer's test clock shows, as the meter put it in force."""
    clock = report.receipt.clock
    return ClockVersion(
        customer=report.name, clock=clock, now_s=now_s, future_ms=300_000, final_until_us=0, ahead_until_us=now_s * 1_000_000, log_final_s=0, offset=7
    )  # fmt: skip


async def test_prices_are_read_for_the_list(tmp_path: Path) -> None:
    """A price is found by its id, or by the item where the cell does not know it; one that is not there leaves its amounts unknown, with why."""

    def asked(url: str, key: str) -> tuple[dict[tuple[str, str], Any], str, str]:
        shop = Shop(url, key)
        item, _ = shop.customer("acme", "hold")
        path = tmp_path / "tidemark.toml"
        path.write_text("")
        settings = load_settings(path, {"STRIPE_API_KEY": key, "TIDEMARK_STRIPE__API_BASE": url})
        found, why = prices_of(settings, [(item.item, shop.price), (item.item, ""), ("si_none", ""), ("si_1", "price_none")])
        shop.access.close()
        shop.modern.close()
        return found, why, prices_of(load_settings(path, {}), [("si_1", "price_1")])[1]

    async with sandbox_server(tmp_path / "sandbox") as sandbox:
        found, why, without_key = await asyncio.to_thread(asked, sandbox.url, sandbox.key)
    assert {price.unit_amount_decimal for price in found.values()} == {"1.5"} and len(found) == 2
    assert "si_none" in why and "STRIPE_API_KEY" in without_key


async def test_a_bill_without_an_answer_is_found_by_its_mark(tmp_path: Path) -> None:
    """The answer is lost and the key too old to repeat: the item is found by its mark, and settled without a second one."""

    def day(url: str, key: str) -> tuple[list[tuple[str, int]], CellReceipt]:
        shop = Shop(url, key)
        item, payer = shop.customer("acme", "invoice_item")
        report = Report(shop, "acme", item)
        shop.advance(AT_S + 2 * HOUR)
        report.emit(20)
        report.run()
        shop.advance(FEB_29 + 3 * HOUR)
        report.know_invoice(shop.invoice(payer))
        report.emit(27)
        report.moments = next(n for n in range(1, 30) if _dies_after_its_bill(report, n, shop, payer))
        report.now_ms += 2 * 86_400_000
        report.machine = report.begun()
        report.run()
        made = shop.made(payer)
        shop.access.close()
        shop.modern.close()
        return made, report.receipt

    async with sandbox_server(tmp_path) as sandbox:
        made, receipt = await asyncio.to_thread(day, sandbox.url, sandbox.key)
    assert made == [("invoiceitem", 11)]
    assert receipt.adjustment is not None and receipt.adjustment.units == "0" and receipt.adjustment.how.startswith("invoice item ii_")


def _dies_after_its_bill(report: Report, moment: int, shop: Shop, payer: str) -> bool:
    """Runs the worker up to a crash at that moment; True where the item was made and nobody heard of it."""
    report.moments = moment
    report.machine = report.begun()
    try:
        report._run()
    except Crash:
        return bool(shop.made(payer))
    raise AssertionError("the adjustment was settled before a crash could hide its bill")
