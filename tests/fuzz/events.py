"""Events and control records: whatever the bytes, one verdict; the meter's fast path, the reference and a reading of our own say the same."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from random import Random
from typing import Any, Final, get_args

from tests.core.meterlog import NOW_MS, PARTITIONS, Disk, Log, customers, fresh, meters_record
from tests.fuzz.mutate import altered, damaged, token, written
from topics.adjustments import SETTLE_TYPE
from topics.amendments import AMEND_TYPE
from topics.bindings import BINDING_TYPE, CLOSE_TYPE, RELEASE_TYPE, Item, items_digest
from topics.codec import encode
from topics.errors import Halt
from topics.event import MAX_DEPTH, MAX_EVENT_BYTES, Event, Reason, Rejection, depth, parse_event
from topics.instants import format_us
from topics.invoices import INVOICE_TYPE
from topics.judging import Control, Rerouted, Setting, Usage, judge
from topics.meters import METERS_TYPE, Meter, Timing, meters_digest
from topics.quantity import Digits

REASONS: Final = frozenset(get_args(Reason))
METERS: Final = (
    Meter(slug="calls", event_type="api.request", window_s=60),
    Meter(slug="bytes", event_type="api.request", value="n", where={"region": "eu"}),
    Meter(slug="credit", event_type="wallet", value="n", allow_negative=True, window_s=10),
)
TIMING: Final = Timing(dedup_ms=3_600_000, horizon_ms=86_400_000, future_ms=300_000)
HOME: Final = tuple(customers(3))
AWAY: Final = tuple(customers(2, partition=1))
Case = Callable[[Random], str]


def event_bytes(rng: Random, stamp_ms: int) -> bytes:
    """A CloudEvent that is good, nearly good, or nothing at all."""
    document: dict[str, Any] = {
        "specversion": "1.0",
        "id": f"e{rng.randrange(30)}",
        "source": rng.choice(("gw", "gw2")),
        "type": rng.choice(("api.request", "wallet", "api.request", "other", METERS_TYPE, BINDING_TYPE, CLOSE_TYPE, "tidemark.")),
        "subject": rng.choice((*HOME, *HOME, *AWAY)),
        "time": format_us((stamp_ms + rng.choice((0, 0, -5000, 299_999, 300_000, 300_001, -86_400_001))) * 1000),
        "data": {"n": rng.randrange(9), "region": "eu"},
    }
    value = written(rng, altered(rng, document)) if rng.random() < 0.8 else json.dumps(document, ensure_ascii=rng.random() < 0.5).encode()
    if rng.random() < 0.2:
        value = damaged(rng, value)
    if rng.random() < 0.02:
        value = written(rng, [*altered(rng, document, 0), ("pad", b'"' + b"x" * (MAX_EVENT_BYTES - len(value) - rng.randrange(40)) + b'"')])
    return value


@contextmanager
def reading() -> Iterator[Case]:
    """One event's bytes, held against a reading by Python's own JSON library."""
    yield _read_one


def _read_one(rng: Random) -> str:
    value = event_bytes(rng, NOW_MS)
    found = parse_event(value)
    wanted = _own_reading(value)
    if isinstance(found, Rejection):
        assert found.reason in {"not_json", "not_cloudevents", "missing_field"}, value
        assert len(found.sentence) > 5
    if wanted == "either":
        return "either"
    if isinstance(found, Rejection):
        assert found.reason == wanted, (value, found.sentence, wanted)
        return found.reason
    assert isinstance(wanted, dict), (value, wanted)
    assert (found.id, found.source, found.type, found.subject) == tuple(wanted[name] for name in ("id", "source", "type", "subject")), value
    time = wanted.get("time")
    assert found.time == (time if time is None or type(time) is str else "(no string)"), value
    assert _plain(found.data) == _plain(wanted.get("data")), value
    return "event"


def _own_reading(value: bytes) -> dict[str, Any] | str:
    """The document, or the reason of SURFACES; "either" where an attribute that nobody reads holds what only a strict reader minds."""
    try:
        text = value.decode()
        document = json.loads(text, parse_int=_Number, parse_float=_Number, parse_constant=_refuse)
    except (ValueError, RecursionError):
        return "not_json"
    if depth(value) > MAX_DEPTH:
        return "not_json"
    try:
        # As pairs, so that a member which a later one of the same name replaces is looked at too.
        json.dumps(json.loads(text, object_pairs_hook=list, parse_int=str), ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return "either"
    if not isinstance(document, dict) or type(document.get("specversion")) is not str or document["specversion"] != "1.0":
        return "not_cloudevents"
    if any(type(document.get(name)) is not str or not document[name] for name in ("id", "source", "type", "subject")):
        return "missing_field"
    return document


class _Number(str):
    """The digits of any number."""

    __slots__ = ()


def _refuse(name: str) -> object:
    raise ValueError(name)


def _plain(value: object) -> object:
    """Numbers as ("number", exact digits), so that 1 and "1" differ and 1.0 and 1.00 do too."""
    if isinstance(value, dict):
        return {name: _plain(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [_plain(inner) for inner in value]
    if isinstance(value, Digits | _Number) or type(value) is int:
        text = str(value) if type(value) is not int else f"{value}"
        return ("number", text if text != "-0" else "0")
    return value


@contextmanager
def folding() -> Iterator[Case]:
    """A log of forty hostile records, folded in random cuts: every record has one fate, and it is the reference's."""
    yield _fold


def _fold(rng: Random) -> str:
    log = Log()
    log.add(*meters_record(METERS, TIMING), NOW_MS)
    for number in range(1, 41):
        stamp_ms = NOW_MS + number
        value: bytes | None = event_bytes(rng, stamp_ms) if rng.random() < 0.8 else control_bytes(rng)
        log.add(_key_of(rng, value), None if rng.random() < 0.01 else value, stamp_ms, _headers(rng))
    partition = fresh(Disk(), rng)
    for batch in log.batches(0, rng):
        partition.apply(batch)
    state, counters = partition.state, partition.counters
    assert counters.residual == 0
    rejected = {each.offset: each.reason for each in state.facts.rejected}
    assert set(rejected.values()) <= REASONS
    fates = {verdict.offset: verdict.verdict for _, verdict in state.facts.verdicts}
    for record in log.records[1:]:
        if counters.control > 1:
            break  # definitions changed on the way, so the reference would have to be asked at that moment
        setting = Setting(0, PARTITIONS, record.timestamp_ms, (record.timestamp_ms - TIMING.horizon_ms) * 1000, state.definitions)
        judged = judge(record.key, record.value, record.headers, record.timestamp_ms, setting)
        if isinstance(judged, Rejection):
            assert rejected[record.offset] == judged.reason, record.value
        elif isinstance(judged, Rerouted):
            assert fates[record.offset] == "rerouted", record.value
        elif isinstance(judged, Usage):
            assert fates.get(record.offset, "duplicate") == "duplicate", record.value
    flush = partition.begin_flush()
    assert flush is not None
    assert all(len(send.key or b"") + len(send.value or b"") < 1_000_000 for send in flush.first)
    return "+".join(name for name in ("counted", "duplicate", "rejected", "too_late", "rerouted") if getattr(counters, name))


def _key_of(rng: Random, value: bytes | None) -> bytes | None:
    event = parse_event(value)
    if rng.random() < 0.9 and isinstance(event, Event):
        return event.subject.encode()
    return rng.choice((None, b"", HOME[0].encode(), b"\xff", "\ufeff".encode(), b"k" * (70_000 if rng.random() < 0.1 else 700)))


def _headers(rng: Random) -> tuple[tuple[str, bytes], ...]:
    names = ("tidemark-received-at", "tidemark-origin-partition", "tidemark-origin-offset", "x", "", "reason", "tidemark-rejected-offset")
    values = (b"", b"1", b"3", b"-1", b"9" * 18, b"9" * 30, b"\xff", "\u0661".encode(), b" 1", b"1" * 300, str(NOW_MS).encode())
    return tuple((rng.choice(names), rng.choice(values)) for _ in range(rng.choice((0, 0, 0, 1, 2, 6))))


def control_bytes(rng: Random) -> bytes:
    """A control record: right, stale, absurd, or no record at all."""
    slugs = ("calls", "b" * rng.choice((1, 70)))
    meters = tuple(Meter(slug=slug, event_type="api.request", window_s=rng.choice((60, 10, 7, 86_400))) for slug in slugs)
    items = (Item(meter="calls", item="si_1", period_anchor_s=NOW_MS // 1000, scale=rng.choice(("1", "0.5", "x", "1e9", "9" * 30))),)
    named, before = meters_digest(TIMING, meters), meters_digest(TIMING, METERS)
    customer = rng.choice((*HOME, *AWAY))
    kinds: tuple[tuple[str, str, dict[str, Any]], ...] = (
        (METERS_TYPE, "tidemark", {"v": 1, "digest": named, "replaces": before, "timing": TIMING, "meters": meters}),
        (BINDING_TYPE, customer, {"v": 1, "digest": items_digest(items), "replaces": None, "items": items}),
        (RELEASE_TYPE, customer, {"v": 1, "target": '["cell","stripe","default","si_1|5"]', "reason": "r"}),
        (INVOICE_TYPE, customer, {"v": 1, "invoice": rng.choice(("in_1", "in_2")), "subscription": rng.choice(("sub_1", "")), "items": ["si_1"],
            "status": rng.choice(("draft", "open", "paid")), "period_start_s": 1, "period_end_s": rng.choice((2, 0)), "seen_at_s": rng.randrange(3)}),
        (SETTLE_TYPE, customer, {"v": 1, "target": "t", "units": rng.choice(("7", "-7", "x")), "settled": "0"}),
        (CLOSE_TYPE, "tidemark", {"v": 1, "id": "x"}),
        (AMEND_TYPE, customer, _amendment(rng)),
    )  # fmt: skip
    kind, subject, data = rng.choice(kinds)
    data = json.loads(encode(data))
    if rng.random() < 0.6:
        body = written(rng, altered(rng, data, 3))
    else:
        body = json.dumps(data).encode() if rng.random() < 0.9 else token(rng)
    fields = {"specversion": "1.0", "id": "c", "source": "tidemark", "type": kind, "subject": subject}
    if kind == AMEND_TYPE:
        fields["time"] = rng.choice(("2026-11-21T00:00:00Z", "2026-11-21T00:00:59.5+00:00", "2026-11-20T23:59:59Z", "yesterday"))
    return written(rng, [*((name, json.dumps(text).encode()) for name, text in fields.items()), ("data", body)])


def _amendment(rng: Random) -> dict[str, Any]:
    """A correction that begins a window, one of a revision, or a void of some offset."""
    generation, through_offset = rng.choice(((-1, -1), (0, rng.randrange(24)), (2**70, -5)))
    posting: dict[str, Any] = {"meter": "calls", "start": "2026-11-21T00:00:00Z", "end": "2026-11-21T00:01:00Z"}
    posting["quantity"] = rng.choice(("1", "-1", "1e3", "x", "9" * 30))
    said = {"v": 1, "replaces": "", "reason": "r", "who": rng.choice(("ann", "ünï", " "))}
    if rng.random() < 0.6:
        return {**said, "kind": "correct", "postings": [{**posting, "generation": generation, "through_offset": through_offset}]}
    of = {"source": "s", "id": "i", "partition": 0, "generation": rng.choice((0, -1, 2**65)), "offset": rng.choice((1, 2, 5, 2**64, -1))}
    return {**said, "kind": rng.choice(("void", "set", "accept")), "of": of, "postings": rng.choice(([posting], []))}


@contextmanager
def controlling() -> Iterator[Case]:
    """Control records one after the other: in force or `bad_control`, never a halt, and what is in force can be recovered and reported."""
    yield _control


def _control(rng: Random) -> str:
    log = Log()
    log.add(*meters_record(METERS, TIMING), NOW_MS)
    for number in range(12):
        value = control_bytes(rng)
        log.add(_key_of(rng, value), value, NOW_MS + number)
        usage = event_bytes(rng, NOW_MS + number)
        log.add(_key_of(rng, usage), usage, NOW_MS + number)
    disk = Disk()
    partition = fresh(disk, rng)
    for batch in log.batches(0, rng):
        partition.apply(batch)
    flush = partition.begin_flush()
    assert flush is not None
    for send in (*flush.first, flush.counters):
        if send.topic == "usage.state":
            disk.append(send.key, send.value)
    again = fresh(disk, rng)
    assert again.counters == partition.counters
    assert again.state.definitions.items == partition.state.definitions.items
    assert again.state.definitions.meters == partition.state.definitions.meters
    assert again.state.definitions.invoices == partition.state.definitions.invoices
    assert again.state.amended.links() == partition.state.amended.links()
    return f"{min(partition.counters.control, 4)} in force"


@contextmanager
def beginning() -> Iterator[Case]:
    """Before a good meters record no event is judged: the meter halts, and nothing else is raised. A binding or release may stand first."""
    yield _begin


def _begin(rng: Random) -> str:
    log = Log()
    value = rng.choice((event_bytes, lambda rng, _: control_bytes(rng)))(rng, NOW_MS)
    log.add(_key_of(rng, value), value, NOW_MS)
    partition = fresh(Disk(), rng)
    try:
        for batch in log.batches(0, rng):
            partition.apply(batch)
    except Halt as error:
        assert "tidemark apply" in str(error)
        return "halt"
    judged = parse_event(value)
    assert isinstance(judged, Event)
    assert judged.type in {METERS_TYPE, BINDING_TYPE, RELEASE_TYPE, INVOICE_TYPE, SETTLE_TYPE, AMEND_TYPE}
    assert (partition.counters.control, partition.counters.next_offset) == (1, 1)
    return "begun"


__all__ = ["Case", "Control", "beginning", "control_bytes", "controlling", "event_bytes", "folding", "reading"]
