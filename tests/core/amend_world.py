"""A partition with amendments for tests of the core: records made by hand, and an account of windows that shares no code with the product."""

from __future__ import annotations

import hashlib
import json
import random
import struct
from collections.abc import Iterable
from datetime import datetime
from fractions import Fraction
from typing import Any

from streams.partition import MeterPartition
from tests.core.meterlog import NOW_MS, Disk, Log, Stored, customers, fresh, meters_record, usage
from topics.amendments import Amendment
from topics.instants import format_s, format_us
from topics.meters import Meter, Timing

HOUR = Meter(slug="calls", event_type="api.request", value="n", window_s=3600)
DAY = Meter(slug="daily", event_type="api.request", value="n", window_s=86_400)
SIGNED = Meter(slug="credit", event_type="wallet.change", value="n", window_s=3600, allow_negative=True)
METERS = (HOUR, DAY, SIGNED)
NOW_S = NOW_MS // 1000
"""Midnight of a day."""
LATER_MS = NOW_MS + 1_800_000
"""When what happens early in that day is received."""
FIRST, SECOND = customers(2)
SOURCE = "tidemark/amend"


def amend(customer: str, data: dict[str, Any], time_s: Fraction | int, event_id: str) -> bytes:
    """The value of a `tidemark.amend` record."""
    event = {"specversion": "1.0", "id": event_id, "source": SOURCE, "type": "tidemark.amend", "subject": customer, "data": data}
    return json.dumps({**event, "time": format_us(int(time_s * 10**6))}).encode()


def entry(meter: Meter, time_s: int, quantity: str, expects: tuple[int, int] | None = None) -> dict[str, Any]:
    """One posting."""
    start_s = time_s // meter.window_s * meter.window_s
    found: dict[str, Any] = {"meter": meter.slug, "start": format_s(start_s), "end": format_s(start_s + meter.window_s), "quantity": quantity}
    return found if expects is None else {**found, "generation": expects[0], "through_offset": expects[1]}


def void_data(offset: int, postings: list[dict[str, Any]], *, replaces: str = "", kind: str = "void", generation: int = 0) -> dict[str, Any]:
    """`data` of an amendment of the event at `offset`."""
    of = {"source": "gw", "id": f"e{offset}", "partition": 0, "generation": generation, "offset": offset}
    return {"v": 1, "kind": kind, "of": of, "postings": postings, "replaces": replaces, "reason": "sent twice by hand", "who": "ann"}


def voided(offset: int, quantity: int, replaces: str = "") -> dict[str, Any]:
    """`data` of a void of an event of `calls` and `daily`, a minute after `NOW_S`."""
    return void_data(offset, [entry(HOUR, NOW_S + 60, str(-quantity)), entry(DAY, NOW_S + 60, str(-quantity))], replaces=replaces)


def correct_data(postings: list[dict[str, Any]]) -> dict[str, Any]:
    """`data` of a correction of windows."""
    return {"v": 1, "kind": "correct", "of": None, "postings": postings, "replaces": "", "reason": "replayed", "who": "replay"}


class Bench:
    """One partition; what is acknowledged is on `disk`."""

    def __init__(self, timing: Timing | None = None) -> None:
        self.log, self.disk, self.rng = Log(), Disk(), random.Random(1)
        self.log.add(*meters_record(METERS, timing or Timing()), NOW_MS)
        self.partition = fresh(self.disk, self.rng)

    def event(
        self, quantity: int | str, at_s: int = NOW_S + 60, customer: str = FIRST, event_type: str = "api.request", at_ms: int = LATER_MS
    ) -> int:
        """One event; returns its offset."""
        value = usage(customer, f"e{self.log.end}", format_us(at_s * 10**6), {"n": quantity}, event_type)
        return self.log.add(customer.encode(), value, at_ms)

    def amend(self, data: dict[str, Any], at_s: int = NOW_S + 60, customer: str = FIRST, key: bytes | None = None, at_ms: int = LATER_MS) -> int:
        """One amendment; returns its offset."""
        value = amend(customer, data, at_s, f"a{self.log.end}")
        return self.log.add(customer.encode() if key is None else key, value, at_ms)

    def fold(self, *, save: bool = True) -> None:
        """All of the log, in random cuts, made durable."""
        for batch in self.log.batches(self.partition.next_offset, self.rng):
            self.partition.apply(batch)
        if save:
            self.save()

    def save(self) -> None:
        """One flush to the changelog."""
        flush = self.partition.begin_flush()
        if flush is not None:
            for send in [*flush.first, flush.counters, *flush.last]:
                if send.topic == "usage.state":
                    self.disk.append(send.key, send.value)
            self.partition.end_flush(flush)

    def emit(self, now_ms: int) -> None:
        """Everything is closed and emitted, so that final rows are let go with the next flush."""
        self.partition.tick(now_ms, None)
        self.partition.tick(now_ms, self.partition.durable_offset)
        self.partition.end_emission(self.partition.due(now_ms))

    def restart(self) -> None:
        """Another worker takes the partition from what is durable."""
        self.partition = fresh(self.disk, self.rng)

    def refusals(self) -> list[str]:
        """Sentences of what was refused as `bad_control` and is not flushed yet."""
        return [record.sentence for record in self.partition.state.facts.rejected if record.reason == "bad_control"]

    def digests(self) -> list[str]:
        """Digests of the amendments that act and are not flushed yet."""
        return [one.digest for one in self.partition.state.facts.definitions if isinstance(one, Amendment)]

    def total(self, meter: Meter = HOUR, at_s: int = NOW_S + 60, customer: str = FIRST) -> tuple[Fraction | int, int]:
        """(quantity, events) of a window's row."""
        return totals(self.partition)[customer, meter.slug, at_s // meter.window_s * meter.window_s][:2]


def totals(partition: MeterPartition) -> dict[tuple[str, str, int], tuple[Fraction, int, int, str]]:
    """(quantity, events, through_offset, hash) of every row, by (customer, meter, start)."""
    return {
        (row.window.customer, row.window.meter, row.window.start_s): (
            Fraction(row.scaled, 10**12),
            row.events,
            row.through_offset,
            f"{row.content_hash % 2**256:064x}",
        )
        for row in partition.state.rows.all()
    }


class Account:
    """Windows added up from the log's bytes: events once by id, amendments that act. Which act is told from outside."""

    def __init__(self) -> None:
        self.windows: dict[tuple[str, str, int], list[Any]] = {}
        self.seen: set[tuple[str, str]] = set()

    def take(self, records: Iterable[Stored], acting: set[int]) -> None:
        """Add up records in order; `acting` are offsets of amendments that act."""
        for record in records:
            event = json.loads(record.value or b"")
            if event["type"] == "tidemark.amend" and record.offset in acting:
                for posting in event["data"]["postings"]:
                    self._add(record.offset, event, posting["meter"], _seconds(posting["start"]), Fraction(posting["quantity"]))
            elif not event["type"].startswith("tidemark.") and (event["subject"], event["id"]) not in self.seen:
                self._event(record.offset, event)

    def _event(self, offset: int, event: dict[str, Any]) -> None:
        self.seen.add((event["subject"], event["id"]))
        for meter in METERS:
            if meter.event_type == event["type"]:
                start_s = _seconds(event["time"]) // meter.window_s * meter.window_s
                self._add(offset, event, meter.slug, start_s, Fraction(str(event["data"]["n"])))

    def _add(self, offset: int, event: dict[str, Any], meter: str, start_s: int, quantity: Fraction) -> None:
        held = self.windows.setdefault((event["subject"], meter, start_s), [Fraction(0), 0, 0, 0])
        fields = [event["subject"], meter, event["source"], event["id"]]
        data = b"".join(struct.pack("<I", len(text.encode())) + text.encode() for text in fields)
        data += struct.pack("<q", _seconds(event["time"]) * 10**6) + int(quantity * 10**12).to_bytes(16, "little", signed=True)
        held[0] += quantity
        held[1] += 1
        held[2] = offset
        held[3] += int.from_bytes(hashlib.sha256(data).digest(), "little")

    def totals(self) -> dict[tuple[str, str, int], tuple[Fraction, int, int, str]]:
        """As `totals` says them."""
        return {key: (held[0], held[1], held[2], f"{held[3] % 2**256:064x}") for key, held in self.windows.items()}


def _seconds(text: str) -> int:
    return int(datetime.fromisoformat(text).timestamp())
