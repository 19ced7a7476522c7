"""The invoice gate's shell: what is asked of Stripe, what never is, and what a crash, a lost answer or a person's hand leaves behind."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ParamSpec, TypeVar, get_args

import pytest

from sinks.calls import Call
from sinks.finality import Invoices
from sinks.gate import LONGEST_HOLD_S, Gate, Stand
from sinks.stripe.app import ReportSettings, ReportWorker
from sinks.stripe.app_calls import IN_FLIGHT, Caller
from sinks.stripe.drafts import DraftInvoice, invoice_of, usage_of
from sinks.stripe.gate_driver import InvoiceGate
from sinks.stripe.gate_ports import Page
from tests.agents.report_bench import Counted, OneFlow
from tests.agents.test_report_review_driver import FakeProvider
from topics.batch import TopicPartition
from topics.closed import Closed
from topics.errors import Unreachable
from topics.invoices import Invoice, InvoiceRecord
from topics.receipt import CellReceipt, WindowPart

P = ParamSpec("P")
R = TypeVar("R")
NOW_S = 1_800_000_000
READY, MISSING = Stand("confirmed", True, False), Stand("intent", False, False)


def row(name: str, *items: str, **more: Any) -> dict[str, Any]:
    """A draft that was made a minute ago, with usage of these items."""
    lines = [{"subscription_item": item, "period": {"start": NOW_S - 9000, "end": NOW_S - 60}} for item in items]
    fields = {"id": name, "created": NOW_S - 60, "status": "draft", "auto_advance": True, "metadata": {}}
    return {**fields, "automatically_finalizes_at": NOW_S + 3540, "lines": {"data": lines, "has_more": False}, **more}


@dataclass
class Shop:
    """Invoices as Stripe holds them. `loses`: so many answers to changes are lost; `before`: what happens just before a change lands."""

    rows: dict[str, dict[str, Any]] = field(default_factory=dict)
    changes: list[tuple[str, str]] = field(default_factory=list)
    loses: int = 0
    page_of: int = 100
    before: Callable[[], None] = lambda: None

    def put(self, *rows: dict[str, Any]) -> None:
        """These invoices are there."""
        self.rows |= {each["id"]: each for each in rows}

    def page(self, after: str, subscription: str) -> Page:
        """See Drafts."""
        drafts = [each for each in self.rows.values() if each["status"] == "draft"]
        found = [each for each in drafts if each.get("subscription", "") == subscription]
        at = next((number + 1 for number, each in enumerate(found) if each["id"] == after), 0)
        return Page([invoice_of(each) for each in found[at : at + self.page_of]], len(found) > at + self.page_of)

    def invoice(self, name: str) -> DraftInvoice | None:
        """See Drafts."""
        return invoice_of(self.rows[name]) if name in self.rows else None

    def lines(self, name: str) -> list[dict[str, Any]]:
        """See Drafts."""
        return list(self.rows[name]["all_lines"])

    def change(self, name: str, wanted: Mapping[str, Any]) -> DraftInvoice:
        """See Drafts."""
        self.before()
        marks = {key: value for key, value in {**self.rows[name]["metadata"], **wanted["metadata"]}.items() if value}
        self.rows[name] = {**self.rows[name], "auto_advance": wanted["auto_advance"] == "true", "metadata": marks}
        self.changes.append((name, wanted["auto_advance"]))
        if self.loses:
            self.loses -= 1
            raise Unreachable("Stripe does not answer")
        return invoice_of(self.rows[name])


@dataclass
class Machine:
    """`Gated`: items of ours, where their usage stands, and up to when it is counted."""

    of: dict[str, list[Stand]]
    closed: Closed | None = None
    next_offset: int = 0
    invoices: Invoices = field(default_factory=lambda: Invoices("default"))
    clocks: set[str] = field(default_factory=set)
    asked_ms: list[int] = field(default_factory=list)

    def owner_of(self, item: str) -> tuple[str, str] | None:
        """See Gated."""
        return ("acme", "calls") if item in self.of else None

    def clock_subscriptions(self) -> set[str]:
        """See Gated."""
        return self.clocks

    def now_of(self, customer: str, now_ms: int) -> int:
        """See Gated."""
        assert customer == "acme"
        return now_ms

    def stands(self, item: str, start_s: int, end_s: int, counted_ms: int) -> list[Stand]:
        """See Gated."""
        assert start_s < end_s
        self.asked_ms.append(counted_ms)
        return self.of[item]


@dataclass
class Part:
    """A partition that is held."""

    machine: Machine
    tp: TopicPartition = ("usage.windows", 0)
    is_current: bool = True


@dataclass
class Bench:
    """A gate, a shop and one partition."""

    shop: Shop = field(default_factory=Shop)
    machine: Machine = field(default_factory=lambda: Machine({"si_1": [READY]}))
    mode: Gate = "hold"
    now_s: int = NOW_S
    end: int = 0

    def __post_init__(self) -> None:
        """A worker with its gate."""
        self.part = Part(self.machine)
        self.start()

    def start(self) -> None:
        """A new worker's gate, which knows nothing."""
        self.gate = InvoiceGate(self.mode, self.shop, self, self.ask, lambda: [self.part], lambda: self.now_s * 1000)

    async def last_stable_offset(self, _tp: TopicPartition) -> int:
        """Where usage.windows ends."""
        return self.end

    async def ask(self, call: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """At once."""
        return call(*args, **kwargs)

    def look(self) -> list[tuple[str, str]]:
        """One look; what it changed."""
        before = len(self.shop.changes)
        asyncio.run(self.gate.look())
        return self.shop.changes[before:]


def test_a_draft_waits_for_what_is_missing_and_is_let_go() -> None:
    """It is held with a mark while usage is missing, left alone meanwhile, and let go without a mark once all is there."""
    bench = Bench()
    bench.shop.put(row("in_1", "si_1"))
    bench.machine.of["si_1"] = [READY, MISSING]
    assert bench.look() == [("in_1", "false")]
    assert bench.shop.rows["in_1"]["metadata"] == {"tidemark_gate": "held"}
    assert bench.look() == []
    assert (bench.gate.report.held, bench.gate.report.unready) == (1, 1)
    bench.machine.of["si_1"] = [READY]
    assert bench.look() == [("in_1", "true")]
    assert bench.shop.rows["in_1"]["metadata"] == {}
    assert bench.look() == []
    assert (bench.gate.report.held, bench.gate.report.unready) == (0, 0)


def test_nothing_of_others_is_touched() -> None:
    """No invoice without an item of ours, none that a person holds, none that a person let go of again, and none of another worker's customers."""
    bench = Bench()
    bench.machine.of["si_1"] = [MISSING]
    licensed = row("in_licensed", "si_1")
    licensed["lines"]["data"][0]["period"] = {"start": NOW_S - 60, "end": NOW_S + 9000}
    bench.shop.put(
        row("in_none"),
        row("in_theirs", "si_9"),
        row("in_person", "si_1", auto_advance=False),
        row("in_overruled", "si_1", metadata={"tidemark_gate": "held"}),
        licensed,
    )
    assert bench.look() == []
    bench.shop.put(row("in_lost", "si_1"))
    bench.part.is_current = False
    assert bench.look() == []


def test_a_hold_survives_its_worker() -> None:
    """The mark stands at Stripe: a worker that knows nothing ends what another began."""
    bench = Bench()
    bench.shop.put(row("in_1", "si_1"))
    bench.machine.of["si_1"] = [MISSING]
    assert bench.look() == [("in_1", "false")]
    bench.start()
    bench.machine.of["si_1"] = [READY]
    assert bench.look() == [("in_1", "true")]


def test_after_three_days_it_is_let_go_with_an_alarm(caplog: pytest.LogCaptureFixture) -> None:
    """Whatever is missing: an error in the log says which invoice and how much, once, and it is counted."""
    bench = Bench()
    bench.shop.put(row("in_1", "si_1"))
    bench.machine.of["si_1"] = [MISSING, MISSING]
    assert bench.look() == [("in_1", "false")]
    bench.now_s += LONGEST_HOLD_S - 61
    assert bench.look() == []
    bench.now_s += 1
    with caplog.at_level(logging.ERROR):
        assert bench.look() == [("in_1", "true")]
    assert "in_1" in caplog.text
    assert "2 not yet reported" in caplog.text
    assert bench.look() == []
    assert bench.gate.report.released_with_alarm == 1


def test_warn_only_says_it(caplog: pytest.LogCaptureFixture) -> None:
    """With the gate on `warn` nothing is changed; each way in which something is missing is said once, and counted."""
    bench = Bench(mode="warn")
    bench.shop.put(row("in_1", "si_1"))
    bench.machine.of["si_1"] = [MISSING]
    assert bench.look() == []
    assert not caplog.text, "in its first minutes every draft lacks something"
    bench.now_s += 1800
    for _ in range(3):
        assert bench.look() == []
    assert caplog.text.count("would become final without usage of ours: 1 not yet reported") == 1
    assert (bench.gate.report.held, bench.gate.report.unready) == (0, 1)
    bench.shop.put(row("in_1", "si_1", auto_advance=False, metadata={"tidemark_gate": "held"}))
    assert bench.look() == [("in_1", "true")], "what an earlier `hold` held is ours to end"


def test_a_hold_that_lands_on_a_final_invoice_is_taken_back() -> None:
    """Stripe finalises it between the question and the change: its collection must go on, also where the answer was lost and the look ended."""
    for loses in (0, 1):
        bench = Bench(shop=Shop(loses=loses))
        bench.shop.put(row("in_1", "si_1"))
        bench.machine.of["si_1"] = [MISSING]
        bench.shop.before = lambda shop=bench.shop: shop.rows["in_1"].update(status="open")  # type: ignore[misc]
        bench.look()
        if loses:
            assert bench.gate.report.waiting
            bench.look()
        assert bench.shop.changes == [("in_1", "false"), ("in_1", "true")]
        assert bench.shop.rows["in_1"]["metadata"] == {}


def test_a_draft_is_not_held_in_its_last_minute() -> None:
    """So close to its hour the request may land after it; later still it is Stripe that waits, and it is held."""
    for seconds, wanted in ((-61, 1), (-59, 0), (59, 0), (61, 1)):
        bench = Bench(now_s=NOW_S + 3540 + seconds)
        bench.shop.put(row("in_1", "si_1"))
        bench.machine.of["si_1"] = [MISSING]
        assert len(bench.look()) == wanted, seconds


def test_every_draft_is_found() -> None:
    """Over all pages, with more lines than the invoice shows, on a test clock, and by the log's word where no list shows it."""
    bench = Bench(shop=Shop(page_of=2))
    bench.machine.of["si_1"] = [MISSING]
    bench.shop.put(*(row(f"in_{number}", "si_1") for number in range(5)))
    long = row("in_long")
    long |= {"lines": {"data": [], "has_more": True}, "all_lines": row("", "si_1")["lines"]["data"]}
    bench.shop.put(long, row("in_clock", "si_1", subscription="sub_clock"), row("in_said", "si_1", subscription="sub_said"))
    bench.machine.clocks = {"sub_clock"}
    said = InvoiceRecord(invoice="in_said", subscription="sub_said", status="draft", period_start_s=1, period_end_s=2, seen_at_s=2)
    gone = InvoiceRecord(invoice="in_gone", subscription="sub_gone", status="draft", period_start_s=1, period_end_s=2, seen_at_s=2)
    for record in (said, gone):
        bench.machine.invoices.learn(Invoice(customer="acme", said=record, offset=1))
    assert sorted(bench.look()) == sorted((name, "false") for name in bench.shop.rows)


def test_the_meters_word_counts_once_all_totals_of_it_are_read() -> None:
    """The report may be behind: the word is believed when everything below the end of usage.windows, asked after it, was read."""
    bench = Bench(end=7)
    bench.shop.put(row("in_1", "si_1"))
    bench.machine.closed = Closed(partition=0, generation=1, until_ms=5000, offset=3)
    bench.machine.next_offset = 6
    bench.look()
    bench.machine.closed = Closed(partition=0, generation=1, until_ms=9000, offset=4)
    bench.end, bench.machine.next_offset = 9, 7
    bench.look()
    bench.machine.next_offset = 9
    bench.look()
    assert bench.machine.asked_ms == [0, 5000, 9000]
    bench.part.machine = Machine({"si_1": [READY]}, closed=bench.machine.closed)
    bench.look()
    assert bench.part.machine.asked_ms == [0], "a partition that was opened anew has read nothing"


def test_a_graduated_price_is_one_usage() -> None:
    """Lines of the tiers of one price are one span; what is paid ahead, and the first invoice's line of nothing, are none."""
    span = {"subscription_item": "si_1", "period": {"start": 100, "end": 200}}
    ahead = {"subscription_item": "si_2", "period": {"start": 200, "end": 300}}
    assert usage_of(200, [span, span, ahead, {"subscription_item": None}, {}]) == [("si_1", 100, 200)]


async def test_a_report_worker_has_the_gate_that_its_settings_say() -> None:
    """With `off` nothing is asked of Stripe and nothing is shown; otherwise it is shown, looks while the worker lives, and ends with it."""
    for gate in get_args(Gate):
        settings = ReportSettings(bootstrap="nowhere:1", api_base="http://127.0.0.1:9", api_key="sk_" + "test_x", gate=gate)
        shop = Shop()
        worker = ReportWorker(settings, flow=OneFlow(), metrics=Counted(), drafts=shop)
        await worker.start()
        shown = worker.status().get("gate")
        assert (shown is None) == (gate == "off")
        assert shown is None or (shown["mode"], shown["held"], shown["waiting"]) == (gate, 0, None)
        running = [task for task in asyncio.all_tasks() if task.get_name() == "invoice gate"]
        assert len(running) == (gate != "off")
        await worker.stop()
        assert all(task.done() for task in running)


async def test_the_gate_asks_when_the_reports_leave_room() -> None:
    """Its calls wait while all slots are taken or the account's limit is used up, and count against both."""
    caller = Caller(FakeProvider(), 400.0, Counted(), lambda: 0)
    asked = asyncio.Event()
    busy = [Call(b"", intent, 0) for _ in range(IN_FLIGHT) for intent in [usage_intent()]]
    for call in busy:
        caller.take(call)
    waiting = asyncio.create_task(caller.ask(asked.set))
    await asyncio.sleep(0.5)
    assert not asked.is_set()
    caller._give_back()
    await asyncio.wait_for(waiting, 5)
    assert (asked.is_set(), caller.free) == (True, 1)
    caller.close()


async def test_a_gate_that_ends_while_it_waits_takes_no_slot_with_it() -> None:
    """Whether its turn had come or not, a cancelled call leaves slots and turns to the others."""
    caller = Caller(FakeProvider(), 400.0, Counted(), lambda: 0)
    for _ in range(IN_FLIGHT):
        caller.take(Call(b"", usage_intent(), 0))
    waiting = [asyncio.create_task(caller.ask(lambda: None)) for _ in range(3)]
    await asyncio.sleep(0.1)
    waiting[0].cancel()
    await asyncio.sleep(0)
    caller._give_back()
    caller._let_aside()  # the second one's turn comes, and it is cancelled before it hears of it
    waiting[1].cancel()
    await asyncio.wait_for(waiting[2], 5)
    assert [task.cancelled() for task in waiting] == [True, True, False]
    assert caller.free == 1
    caller.close()


def usage_intent() -> CellReceipt:
    """An intent of a usage record."""
    part = WindowPart(window="acme|calls|0|60", generation=1, through_offset=1, quantity="1")
    return CellReceipt(
        provider="stripe", account="default", cell="si_1|1", customer="acme", meter="calls", item="si_1", timestamp_s=1, period_start_s=0,
        period_end_s=100, windows=(part,), revision=1, attempt=1, quantity="1", units="1", state="intent", intent_at_ms=0,
    )  # fmt: skip
