"""A small archive with a bit of everything that analysts ask for, and the SQL of a document."""

from __future__ import annotations

import random
import re
from typing import Any

from sinks.clickhouse.client import ClickHouse
from sinks.clickhouse.tables import PROGRESS
from tests.contract.archive_engine import write_raw, write_topic
from tests.core.meterlog import NOW_MS, Disk, Log, Stored, customers, fresh, meters_record, usage
from topics.catalog import DEFINITIONS, EVENTS, RECEIPTS, REJECTED, VERDICTS, WINDOWS
from topics.codec import encode
from topics.instants import parse_s
from topics.meters import Meter, Timing
from topics.receipt import CellReceipt, Receipt, WindowPart, WindowReceipt, receipt_key
from topics.window_total import WindowTotal, decode_window_total
from topics.windows import window_key

METERS = (
    Meter(slug="calls", event_type="api.request", value="n", window_s=3600),
    Meter(slug="tokens", event_type="llm.request", value="tokens", window_s=3600),
)
TIMING = Timing(horizon_ms=60 * 86_400_000, revision_delay_ms=0)
ACME, BETA, GAMMA, DELTA = customers(4)
CLOSED_MS = NOW_MS + 10 * 86_400_000
"""2026-12-01: the windows of November are closed. A day later something comes late."""
LATE_MS = CLOSED_MS + 86_400_000
TOPICS = (DEFINITIONS, VERDICTS, REJECTED, WINDOWS)


def at_ms(text: str) -> int:
    """An instant of November 2026: `17T10:05:00`."""
    return (parse_s(f"2026-11-{text}Z") or 0) * 1000


class Analysed:
    """acme: two weeks, duplicates, a late event, bad ones; beta: refused and undelivered; gamma: unbound; delta: open."""

    def __init__(self) -> None:
        self.log, self.meter = Log(), fresh(Disk(), random.Random(1))
        self.logs = {topic: Log() for topic in TOPICS}
        self.folded = 0
        self.log.add(*meters_record(METERS, TIMING), at_ms("10T00:00:00"))
        self._event(ACME, "e1", "10T10:00:00", 5)
        self._event(BETA, "e2", "11T10:00:00", 2)
        self._event(ACME, "a1", "17T10:05:00", "1.5")
        self._event(ACME, "a2", "17T10:06:00", 2)
        self._event(ACME, "a1", "17T10:05:00", "1.5", received="17T10:05:30")
        self._event(ACME, "a1", "17T10:05:00", "1.5", received="17T10:06:30")
        self._event(BETA, "b1", "17T12:00:00", 1000, "llm.request", "llm")
        self._event(GAMMA, "c1", "18T09:00:00", 7)
        self._event(ACME, "a8", "18T09:00:00", "many")
        self._event(ACME, "a9", "18T09:00:00", "many")
        self._event(BETA, "b9", "18T09:00:00", 1, "nobody.counts", "other")
        self.emit(CLOSED_MS)
        self._event(ACME, "a4", "17T10:59:59", "0.25", source="edge", received_ms=LATE_MS)
        self.emit(LATE_MS + 60_000)
        self._event(DELTA, "d1", "18T10:00:00", 9, received_ms=LATE_MS + 120_000)
        self._fold()
        self.totals = [decode_window_total(record.value, "test") for record in self.logs[WINDOWS].records]

    def _event(
        self, customer: str, event_id: str, at: str, amount: object, kind: str = "api.request", source: str = "gw", *, received: str = "",
        received_ms: int = 0,
    ) -> None:  # fmt: skip
        name = "tokens" if kind == "llm.request" else "n"
        value = usage(customer, event_id, f"2026-11-{at}Z", {name: amount}, kind, source)
        self.log.add(customer.encode(), value, received_ms or at_ms(received or at))

    def _fold(self) -> None:
        for batch in self.log.batches(self.folded, random.Random(2)):
            self.meter.apply(batch)
        self.folded = self.log.end
        flush = self.meter.begin_flush()
        assert flush is not None
        self._write((*flush.first, *flush.last))
        self.meter.end_flush(flush)

    def emit(self, now_ms: int) -> None:
        """The meter folds everything, closes what is due at `now_ms` and emits it."""
        self._fold()
        for _ in range(2):
            self.meter.tick(now_ms, self.meter.durable_offset)
        emissions = self.meter.due(now_ms)
        self._write([emission.send for emission in emissions])
        self.meter.end_emission(emissions)
        self._fold()

    def _write(self, sends: Any) -> None:
        for send in sends:
            if send.topic in self.logs:
                self.logs[send.topic].add(send.key, send.value, NOW_MS + 5, tuple(send.headers))

    def receipts(self) -> list[Stored]:
        """acme is delivered, beta's calls are refused, its tokens wait, gamma is unbound."""
        found: list[Receipt] = []
        revisions: dict[str, int] = {}
        for total in self.totals:
            key = window_key(total.window)
            revisions[key] = revisions.get(key, 0) + 1
            if total.customer == ACME:
                found.append(_cell(total, revisions[key], "delivered", request_id=f"req_{total.through_offset}"))
            elif total.customer == BETA and total.meter == "calls":
                found.append(_cell(total, 1, "refused", outcome="refused", reason="no_such_item", sentence="No such item.", request_id="req_no"))
            elif total.customer == GAMMA:
                found.append(_unbound(total))
        return [Stored(at, receipt_key(receipt), encode(receipt), (), NOW_MS) for at, receipt in enumerate(found)]

    def write(self, clickhouse: ClickHouse) -> None:
        """Everything, as the archive would have written it."""
        for topic in TOPICS:
            write_topic(clickhouse, topic, self.logs[topic].records)
        write_raw(clickhouse, self.log.records, self.logs[DEFINITIONS].records)
        write_topic(clickhouse, RECEIPTS, self.receipts())
        clickhouse.insert(PROGRESS, [[EVENTS], [0], [0], [self.log.end]])


def _cell(total: WindowTotal, revision: int, state: str, **more: object) -> CellReceipt:
    part = WindowPart(window=window_key(total.window), generation=total.generation, through_offset=total.through_offset, quantity=total.quantity)
    return CellReceipt(
        provider="stripe", account="default", cell=f"si_1|{total.window.start_s}", customer=total.customer, meter=total.meter, item="si_1",
        timestamp_s=total.window.start_s, period_start_s=at_ms("09T00:00:00") // 1000, period_end_s=at_ms("30T00:00:00") // 1000, windows=(part,),
        revision=revision, attempt=1, quantity=total.quantity, units="3", idempotency_key=f"tm1_{revision}", state=state,  # type: ignore[arg-type]
        intent_at_ms=CLOSED_MS, reported_at_ms=(total.window.end_s + 600) * 1000, **more,  # type: ignore[arg-type]
    )  # fmt: skip


def _unbound(total: WindowTotal) -> WindowReceipt:
    window = total.window
    return WindowReceipt(
        window=window_key(window), customer=window.customer, meter=window.meter, start_s=window.start_s, end_s=window.end_s,
        generation=total.generation, through_offset=total.through_offset, quantity=total.quantity, reason="unbound", parked_at_ms=NOW_MS,
    )  # fmt: skip


def queries(markdown: str) -> dict[str, list[str]]:
    """Every ```sql block of a document by the heading that it stands under."""
    found: dict[str, list[str]] = {}
    heading = ""
    for match in re.finditer(r"^(#+ (?P<heading>[^\n]*)|```sql\n(?P<sql>.*?)^```)", markdown, re.MULTILINE | re.DOTALL):
        if match["sql"] is None:
            heading = match["heading"]
        else:
            found.setdefault(heading, []).append(match["sql"].strip())
    return found
