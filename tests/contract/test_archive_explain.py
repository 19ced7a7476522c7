"""Deliveries, coverage, bindings and `explain` on the engine, over a small log written by hand."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest

from infra.embedded.testing import engine_server
from sinks.clickhouse.client import ClickHouse
from sinks.clickhouse.explain import explain
from tests.agents.archive_world import Topics
from tests.contract.archive_engine import archive_at, write_raw, write_topic
from tests.core.meterlog import NOW_MS, Log, Stored, control, customers, meters_record, usage
from topics.bindings import BINDING_TYPE, Item, items_digest
from topics.catalog import DEFINITIONS, RECEIPTS, REJECTED, VERDICTS, WINDOWS
from topics.codec import encode
from topics.instants import parse_s
from topics.meters import Meter, Timing
from topics.receipt import CellReceipt, Receipt, WindowPart, WindowReceipt, receipt_key
from topics.window_total import WindowTotal, decode_window_total
from topics.windows import window_key

METER = Meter(slug="calls", event_type="api.request", value="n", window_s=3600)
TIMING = Timing(horizon_ms=86_400_000 * 2, revision_delay_ms=0)
ACME, BETA, GAMMA, DELTA = customers(4)
T = "2026-11-20T10:"
START_S = parse_s("2026-11-20T10:00:00Z") or 0


@pytest.fixture(scope="module")
def engine_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """One engine for the module."""
    with engine_server(tmp_path_factory.mktemp("engine")) as engine:
        yield engine.url


class Story:
    """acme: two events, a duplicate, a bad one, then a late one: two revisions, both delivered. beta: emitted and refused. gamma: unbound.
    delta: an event that no revision covers."""

    def __init__(self) -> None:
        log = Log()
        log.add(*meters_record((METER,), TIMING), NOW_MS - 90_000_000)
        item = Item(meter="calls", item="si_1", price="price_1", subscription="sub_1", period_anchor_s=START_S + 1800)
        data = {"v": 1, "digest": items_digest((item,)), "replaces": None, "items": (item,)}
        log.add(*control(BINDING_TYPE, BETA, data, BETA.encode()), NOW_MS - 90_000_000)
        self._event(log, ACME, "a1", "05:00Z", "1.5")
        self._event(log, ACME, "a2", "06:00.25Z", 2)
        self._event(log, ACME, "a1", "05:00Z", "1.5")
        self._event(log, ACME, "a3", "07:00Z", "many")
        self._event(log, BETA, "b1", "20:00Z", 10)
        self._event(log, BETA, "b2", "40:00Z", 20)
        self._event(log, GAMMA, "c1", "00:00Z", 5)
        self.topics = Topics(1, log)
        self.first_end = log.end
        self._event(log, ACME, "a4", "59:59.999999Z", "0.000000000001")
        self.topics.meter.apply(next(log.batches(self.first_end, random.Random(0), log.end)))
        self.topics._flush()
        self.topics._emit()
        self._event(log, DELTA, "d1", "30:00Z", 7)
        self.topics.meter.apply(next(log.batches(log.end - 1, random.Random(0), log.end)))
        self.topics._flush()
        self.log = log
        self.totals = [decode_window_total(record.value, "test") for record in self.topics.records(WINDOWS)]

    @staticmethod
    def _event(log: Log, customer: str, event_id: str, time: str, amount: object) -> None:
        log.add(customer.encode(), usage(customer, event_id, T + time, {"n": amount}), NOW_MS - 3_600_000)

    def receipts(self) -> list[Stored]:
        """Intent and answer of both revisions of acme, a refusal of beta's first window, gamma parked as unbound."""
        acme = [total for total in self.totals if total.customer == ACME]
        beta = min((total for total in self.totals if total.customer == BETA), key=lambda total: total.start)
        gamma = next(total for total in self.totals if total.customer == GAMMA)
        found: list[Receipt] = []
        for revision, total in enumerate(acme, 1):
            found += [cell(total, revision, "intent"), cell(total, revision, "delivered", request_id=f"req_{revision}")]
        found += [cell(beta, 1, "intent"), cell(beta, 1, "refused", outcome="refused", reason="no_such_item", sentence="No such item.")]
        found.append(parked(gamma, "unbound"))
        return [Stored(at, receipt_key(receipt), encode(receipt), (), NOW_MS) for at, receipt in enumerate(found)]

    def write(self, clickhouse: ClickHouse) -> None:
        """Everything."""
        for topic in (DEFINITIONS, VERDICTS, REJECTED, WINDOWS):
            write_topic(clickhouse, topic, self.topics.records(topic))
        write_raw(clickhouse, self.log.records, self.topics.records(DEFINITIONS))
        receipts = self.receipts()
        write_topic(clickhouse, RECEIPTS, receipts)
        write_topic(clickhouse, RECEIPTS, receipts[::-1])


def cell(total: WindowTotal, revision: int, state: str, **more: object) -> CellReceipt:
    """A receipt of the cell that holds one window."""
    key = window_key(total.window)
    part = WindowPart(window=key, generation=total.generation, through_offset=total.through_offset, quantity=total.quantity)
    reported = NOW_MS + revision if state != "intent" else None
    return CellReceipt(
        provider="stripe", account="default", cell=f"si_1|{total.window.start_s}", customer=total.customer, meter=total.meter, item="si_1",
        timestamp_s=total.window.start_s, period_start_s=START_S - 86_400, period_end_s=START_S + 86_400, windows=(part,), revision=revision,
        attempt=1, quantity=total.quantity, units="3", idempotency_key=f"tm1_{revision}", state=state, intent_at_ms=NOW_MS,  # type: ignore[arg-type]
        reported_at_ms=reported, **more,  # type: ignore[arg-type]
    )  # fmt: skip


def parked(total: WindowTotal, reason: str) -> WindowReceipt:
    """A window parked whole."""
    window = total.window
    return WindowReceipt(
        window=window_key(window), customer=window.customer, meter=window.meter, start_s=window.start_s, end_s=window.end_s,
        generation=total.generation, through_offset=total.through_offset, quantity=total.quantity, reason=reason, parked_at_ms=NOW_MS,
    )  # fmt: skip


@pytest.fixture(scope="module")
def story(engine_url: str) -> tuple[Story, ClickHouse]:
    """The story, archived."""
    told, clickhouse = Story(), archive_at(engine_url, "story")
    told.write(clickhouse)
    return told, clickhouse


def test_explain_shows_duplicate_late_event_and_both_revisions(story: tuple[Story, ClickHouse]) -> None:
    """The window of a duplicate, a bad event and a late one shows all of them, both revisions and attempts, and its proof holds."""
    told, clickhouse = story
    window = explain(clickhouse, ACME, "calls", START_S + 100)
    assert window is not None
    assert (window.start_s, window.end_s, window.quantity) == (START_S, START_S + 3600, "3.500000000001")
    assert [event.event_id for event in window.counted] == ["a1", "a2", "a4"]
    assert [(event.event_id, event.offset) for event in window.duplicates] == [("a1", 4)]
    assert [event.event_id for event in window.late] == ["a4"]
    assert [(event.event_id, event.reason) for event in window.refused] == [("a3", "bad_quantity")]
    assert [(revision.events, revision.cause) for revision in window.revisions] == [(2, "the window was closed"), (3, "1 late event")]
    assert [revision.hash for revision in window.revisions] == [total.hash for total in told.totals if total.customer == ACME]
    assert [(attempt.state, attempt.request_id) for attempt in window.attempts] == [("delivered", "req_1"), ("delivered", "req_2")]
    assert window.conservation is not None
    assert window.conservation.residual == 0
    assert window.is_complete
    assert window.is_proved, window.faults
    assert explain(clickhouse, ACME, "calls", START_S + 4000) is None
    assert explain(clickhouse, ACME, "nothing", START_S) is None


def test_explain_cuts_a_window_at_the_period_edge(story: tuple[Story, ClickHouse]) -> None:
    """A customer whose period ends inside the hour has two windows, each with its own event and proof."""
    _, clickhouse = story
    halves = [explain(clickhouse, BETA, "calls", START_S + after_s) for after_s in (0, 1800)]
    assert [(half.start_s - START_S, half.end_s - START_S, half.quantity) for half in halves if half] == [(0, 1800, "10"), (1800, 3600, "20")]
    assert all(half.is_proved for half in halves if half)


def test_explain_finds_a_missing_event(engine_url: str) -> None:
    """When a raw row is gone, or one was altered, the proof fails and says which revision does not follow from the rows."""
    clickhouse = archive_at(engine_url, "damaged")
    Story().write(clickhouse)
    clickhouse.command("ALTER TABLE raw_events DELETE WHERE event_id = 'a2' SETTINGS mutations_sync = 1")
    window = explain(clickhouse, ACME, "calls", START_S)
    assert window is not None
    assert not window.is_proved
    assert any("revision 1 says 3.5, its events sum up to 1.5" in fault for fault in window.faults)
    assert any("content hash" in fault for fault in window.faults)
    clickhouse.command("ALTER TABLE raw_events UPDATE source = 'other' WHERE event_id = 'b1' SETTINGS mutations_sync = 1")
    altered = explain(clickhouse, BETA, "calls", START_S)
    assert altered is not None
    assert [fault.split(",")[0].split("…")[0][:20] for fault in altered.faults] == ["revision 1 has conte"]


def test_every_window_is_covered_by_exactly_one_state(story: tuple[Story, ClickHouse]) -> None:
    """Delivered, parked with its reason, undelivered, unbound and open windows each appear once, with what is missing in quantity."""
    _, clickhouse = story
    rows = clickhouse.read(
        "SELECT customer, dateDiff('minute', window_start, window_end) AS m, state, reason, counted, emitted, delivered FROM coverage"
    )
    found = {(row["customer"], row["m"], row["counted"]): (row["state"], row["reason"], row["emitted"], row["delivered"]) for row in rows}
    assert len(rows) == len(found) == 5
    assert found == {
        (ACME, 60, "3.500000000001"): ("delivered", "", "3.500000000001", "3.500000000001"),
        (BETA, 30, "10"): ("parked", "no_such_item", "10", "0"),
        (BETA, 30, "20"): ("undelivered", "", "20", "0"),
        (GAMMA, 60, "5"): ("unbound", "unbound", "5", "0"),
        (DELTA, 60, "7"): ("open", "", "0", "0"),
    }


def test_a_newer_event_reopens_and_a_newer_revision_is_undelivered(engine_url: str) -> None:
    """A delivered window with a newer counted event is `reopened`, and with a newer revision `undelivered`, until that is answered."""
    clickhouse, told = archive_at(engine_url, "reopened"), Story()
    told.write(clickhouse)
    state = f"SELECT state, delivered FROM coverage WHERE customer = '{ACME}'"
    last = next(total for total in reversed(told.totals) if total.customer == ACME)
    clickhouse.command(f"ALTER TABLE window_log DELETE WHERE through_offset = {last.through_offset} SETTINGS mutations_sync = 1")
    assert clickhouse.read(state)[0]["state"] == "reopened"
    write_topic(clickhouse, WINDOWS, told.topics.records(WINDOWS))
    clickhouse.command("ALTER TABLE receipt_log DELETE WHERE revision = 2 SETTINGS mutations_sync = 1")
    assert clickhouse.read(state) == [{"state": "undelivered", "delivered": "3.5"}]


def test_bindings_show_who_is_billed_where(story: tuple[Story, ClickHouse]) -> None:
    """A binding is listed with its item, price and period, from the beginning to the end of its validity."""
    _, clickhouse = story
    row = clickhouse.read("SELECT * FROM bindings")[0]
    assert {name: row[name] for name in ("customer", "meter", "provider", "item", "price", "subscription", "period", "scale", "late")} == {
        "customer": BETA, "meter": "calls", "provider": "stripe", "item": "si_1", "price": "price_1", "subscription": "sub_1",
        "period": "month", "scale": "1", "late": "hold",
    }  # fmt: skip
    assert row["valid_from"].startswith("1900-01-01")
    assert row["valid_until"].startswith("2299-12-31")


def test_deliveries_hold_the_newest_state_of_each_attempt(story: tuple[Story, ClickHouse]) -> None:
    """Each attempt is one row with the answer, not its intent, also when every receipt was written twice; parked windows are rows too."""
    _, clickhouse = story
    rows = clickhouse.read("SELECT customer, kind, revision, state, request_id, http_status, units FROM deliveries ORDER BY customer, kind, revision")
    found = [(row["customer"], row["kind"], row["state"], row["request_id"]) for row in rows]
    assert sorted(found) == sorted(
        [(ACME, "cell", "delivered", "req_1"), (ACME, "cell", "delivered", "req_2"), (BETA, "cell", "refused", ""), (GAMMA, "window", "parked", "")]
    )
