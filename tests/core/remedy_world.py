"""The report in a box, with a Stripe that also makes invoice items and credit notes: what bills adjustments elsewhere."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple, cast
from urllib.parse import parse_qsl

from sinks.calls import Call
from sinks.outcomes import Answer, Refused, RetryAfter, outcome_of
from sinks.remedy_calls import Bill, CreditLine, LookUp, Quote, Quoted, RemedyCall
from sinks.stripe.objects import Price
from sinks.stripe.remedy_request import mark_of, wanted_bill
from tests.core.report_stripe import FakeStripe
from tests.core.report_world import ANCHOR_S, START_S, Fenced, Worker, World
from topics.adjustments import Remedy
from topics.invoices import Invoice, InvoiceRecord
from topics.periods import period_at
from topics.receipt import CellReceipt

PERIOD = period_at(ANCHOR_S, "month", 1, START_S)
CENTS = Price("price_1", unit_amount_decimal="1.5")
SECTIONS = ("/v1/invoiceitems", "/v1/credit_notes")


class Made(NamedTuple):
    """An invoice item (signed) or a credit note (as a negative amount)."""

    id: str
    path: str
    mark: str
    units: str
    amount: int
    form: dict[str, str]


class _Posted(NamedTuple):
    """A remedy on the wire, where the world looks for an intent."""

    intent: Remedy


@dataclass
class BillingStripe(FakeStripe):
    """Cells, keys and faults as before; what is billed elsewhere is in `made`. `lines` are what the invoice's lines came to."""

    made: list[Made] = field(default_factory=list)
    price: Price = CENTS
    lines: tuple[CreditLine, ...] = ()
    owed: int = 0
    unpriced: str = ""

    def _execute(self, path: str, body: str, key: str, now_ms: int) -> Answer:
        if path not in SECTIONS:
            return super()._execute(path, body, key, now_ms)
        if path in self.refuse:
            status, error = self.refuse[path]
            return self._error(status, **error)
        form = dict(parse_qsl(body, strict_parsing=True))
        fails = self.sticky(key) or self._strikes("500")
        if fails and self.chance.random() < 0.5:
            return self._error(500, type="api_error", message="sorry")
        is_item = path == SECTIONS[0]
        amount = int(form["amount"]) if is_item else sum(int(text) for name, text in form.items() if name.endswith("[amount]"))
        made = Made(f"{'ii' if is_item else 'cn'}_{len(self.made) + 1}", path, form["metadata[tidemark_remedy]"], form["metadata[tidemark_units]"],
                    amount if is_item else -amount, form)  # fmt: skip
        self.made.append(made)
        if fails:
            return self._error(500, type="api_error", message="sorry")
        said = {
            "id": made.id, "object": "invoiceitem" if is_item else "credit_note", "amount": amount, "currency": form.get("currency", "usd"),
            "metadata": {"tidemark_remedy": made.mark},
        }  # fmt: skip
        return Answer(200, json.dumps(said), {"request-id": f"req_{self.posts}"})

    def left(self) -> tuple[CreditLine, ...]:
        """What the invoice's lines can still give back."""
        given: dict[str, int] = {}
        for form in (made.form for made in self.made):
            for number in range(len(self.lines)):
                line = form.get(f"lines[{number}][invoice_line_item]", "")
                given[line] = given.get(line, 0) + int(form.get(f"lines[{number}][amount]", "0"))
        return tuple(CreditLine(line.id, line.left - given.get(line.id, 0)) for line in self.lines)


class RemedyWorld(World):
    """A world whose workers also bill adjustments elsewhere."""

    stripe: BillingStripe

    def __init__(self, seed: int) -> None:
        super().__init__(seed)
        self.stripe = BillingStripe(self.chance)

    def step(self, worker: Worker, slots: int = 16) -> None:
        """See World.step."""
        for call in worker.machine.remedies.next_calls(self.now_ms, max(0, slots - worker.calls_out)):
            worker.tasks.append(self._remedy(worker, call))
        super().step(worker, slots)

    def _remedy(self, worker: Worker, call: RemedyCall) -> Iterator[str]:
        worker.calls_out += 1
        yield "handed out"
        yield "connects"
        remedies = worker.machine.remedies
        if isinstance(call, Quote):
            remedies.quoted(call, self.quote(call), self.now_ms)
        elif isinstance(call, LookUp):
            remedies.looked_up(call, self.look_up(call), self.now_ms)
        else:
            yield from self._bill(worker, call)
        worker.calls_out -= 1

    def _bill(self, worker: Worker, call: Bill) -> Iterator[str]:
        answer: list[Answer] = []
        if self.now_ms > call.not_after_ms:
            answer.append(Answer(None, sent=False, late=True))
        else:
            yield from self._on_the_wire(cast("Call", _Posted(call.remedy)), answer)
        worker.machine.remedies.billed(call, outcome_of(answer[0], wanted_bill(call.receipt, call.remedy)), self.now_ms)

    def quote(self, call: Quote) -> Quoted | Refused | RetryAfter:
        """What Stripe says that units cost."""
        if self.stripe.is_down:
            return RetryAfter(down=True)
        if self.stripe.unpriced:
            return Refused(sentence=self.stripe.unpriced)
        return Quoted("cus_1", self.stripe.price, self.stripe.left() if call.invoice else (), self.stripe.owed)

    def look_up(self, call: LookUp) -> str | RetryAfter:
        """What Stripe lists under a mark."""
        if self.stripe.is_down:
            return RetryAfter(down=True)
        mark = mark_of(call.receipt, call.remedy.number)
        return next((made.id for made in self.stripe.made if made.mark == mark), "")

    def receipts(self) -> list[CellReceipt]:
        """The newest record of every cell."""
        return [receipt for receipt in self.last.values() if isinstance(receipt, CellReceipt)]

    def is_billed(self) -> bool:
        """True where every adjustment is settled and every total in a receipt."""
        assert self.worker is not None
        tally = self.worker.machine.tally
        return not tally.adjustments and tally.counts()["undelivered"] == 0 and self.committed == len(self.source)

    def work(self, turns: int = 400, most_ms: int = 20) -> None:
        """The worker does what it has to do."""
        if self.worker is None:
            self.start()
        self.feed()
        for _ in range(turns):
            assert self.worker is not None
            try:
                self.step(self.worker)
            except Fenced:
                return
            self.pass_time(self.chance.choice((1, most_ms)))


def invoice(customer: str = "acme", status: Any = "open", name: str = "in_1", **more: Any) -> Invoice:
    """The final invoice of the customer's period."""
    fields: dict[str, Any] = {
        "invoice": name, "subscription": "sub_1", "status": status, "period_start_s": PERIOD.start_s, "period_end_s": PERIOD.end_s, "seen_at_s": 1
    } | more  # fmt: skip
    return Invoice(customer=customer, said=InvoiceRecord(**fields), offset=9)
