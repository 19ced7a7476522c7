"""What providers and ClickHouse answer: any status, headers and bytes become an outcome of ours; nothing is raised, nothing is believed unproved."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from random import Random
from typing import Any, Final

from sinks.clickhouse.client import Address, ClickHouse
from sinks.clickhouse.ports import Refused
from sinks.clickhouse.tables import MARK
from sinks.outcomes import AlreadyDelivered, Answer, Delivered, Outcome, RetryAfter, Wanted, outcome_of
from sinks.stripe.access import Eras
from sinks.stripe.binding import sync
from sinks.stripe.client import StripeAccess
from sinks.stripe.request import usage_record_body, usage_record_path
from sinks.stripe.setup import NewCustomer, NewMeter, Plan
from sinks.stripe.subscribing import set_up
from sinks.stripe.suitability import Terms
from tests.core.meterlog import NOW_MS
from tests.fuzz.events import Case
from tests.fuzz.liar import PAGES, STATUSES, Liar, cut, lie, lying, reply
from tests.fuzz.mutate import altered, damaged, written
from topics.errors import TidemarkError, Unreachable

KEY: Final = "sk_test_" + "canary0123456789"
NOW_S: Final = NOW_MS // 1000
WANTED: Final = Wanted("si_1", NOW_S, 24_001)
RECORD: Final[dict[str, Any]] = {
    "id": "mbur_1", "object": "usage_record", "livemode": False, "quantity": 24_001, "subscription_item": "si_1", "timestamp": NOW_S,
}  # fmt: skip
ERROR: Final[dict[str, Any]] = {"error": {"type": "invalid_request_error", "code": "resource_missing", "message": "No such item", "param": "id"}}
SUMMARIES: Final[dict[str, Any]] = {
    "object": "list", "has_more": False, "url": "/x",
    "data": [{"id": f"sis_{n}", "total_usage": n, "period": {"start": n * 10, "end": n * 10 + 10}} for n in (3, 2, 1)],
}  # fmt: skip
PRICE: Final = {"id": "price_1", "recurring": {"interval": "month", "interval_count": 1, "usage_type": "metered", "aggregate_usage": "sum"}}
SUBSCRIPTIONS: Final[dict[str, Any]] = {
    "object": "list", "has_more": False,
    "data": [
        {
            "id": "sub_1", "customer": "cus_1", "billing_cycle_anchor": NOW_S, "start_date": NOW_S, "metadata": {"tidemark_customer": "acme"},
            "items": {"data": [{"id": "si_1", "price": PRICE}], "has_more": False},
        }
    ],
}  # fmt: skip


@contextmanager
def deciding() -> Iterator[Case]:
    """`outcome_of` alone: an Outcome for any answer, and delivered only where the answer says item, second and units."""
    yield _decided


def _decided(rng: Random) -> str:
    good = json.dumps(rng.choice((RECORD, ERROR))).encode()
    body = rng.choice((good, damaged(rng, good), written(rng, altered(rng, rng.choice((RECORD, ERROR)))), rng.choice(PAGES)))
    headers = {rng.choice(("idempotent-replayed", "request-id", "stripe-rate-limited-reason")): rng.choice(("true", "TRUE", "", "x", "\x00"))}
    status = None if rng.random() < 0.05 else rng.choice((*STATUSES, 0, -1, 99, 100, 299, 600, 999))
    answer = Answer(status, body.decode(errors="replace"), headers, sent=rng.random() < 0.5)
    return _proved(outcome_of(answer, WANTED), answer)


def _proved(outcome: Outcome, answer: Answer) -> str:
    """Delivered only with proof in the very bytes."""
    assert isinstance(outcome, Outcome)
    if isinstance(outcome, Delivered | AlreadyDelivered):
        assert answer.status is not None
        assert 200 <= answer.status < 300
        said = json.loads(answer.body, parse_int=lambda digits: int(digits) if len(digits) < 60 else digits)
        assert (said["object"], said["subscription_item"], said["timestamp"], said["quantity"]) == ("usage_record", "si_1", NOW_S, 24_001)
        assert type(said["quantity"]) is int
    return outcome.name


@contextmanager
def reporting() -> Iterator[Case]:
    """The Stripe client against a server that lies: reports and read-backs end as values, setup and sync as an error of ours; no key is shown."""
    logging.getLogger("stripe").setLevel(logging.CRITICAL)
    with lying() as liar:
        access = StripeAccess(liar.url, KEY, timeout_s=2.0)
        yield lambda rng: _reported(rng, liar, access)
        access.close()


def _reported(rng: Random, liar: Liar, access: StripeAccess) -> str:
    kind = rng.choice(("report", "report", "summaries", "sync", "setup"))
    good = {"report": RECORD, "summaries": SUMMARIES, "sync": SUBSCRIPTIONS, "setup": SUBSCRIPTIONS}[kind]
    said: list[bytes] = []

    def answering(_: bytes) -> bytes:
        chosen = rng.choice((good, good, ERROR))
        body = json.dumps(chosen).encode() if rng.random() < 0.5 else written(rng, altered(rng, chosen, 1))
        said.append(lie(rng, body) if len(said) < 20 else reply(b"{}", 500))
        return said[-1]

    liar.answering, liar.reset = answering, rng.random() < 0.1
    if kind == "report":
        answer = access.report(usage_record_path("si_1"), usage_record_body(24_001, NOW_S), "tm1_x", lambda: True)
        assert KEY not in repr(answer)
        return f"{kind} {_proved(outcome_of(answer, WANTED), answer)}"
    if kind == "summaries":
        found = access.summaries("si_1", 0)
        if isinstance(found, RetryAfter):
            assert KEY not in found.sentence
            return "read-back: none"
        assert all(type(number) is int for summary in found for number in summary)
        return "read-back: totals"
    try:
        if kind == "sync":
            sync(Eras(access, access), [Terms("calls", price="price_1")])
        else:
            set_up(Eras(access, access), Plan([NewMeter(Terms("calls"))], [NewCustomer("acme")], NOW_S))
    except TidemarkError as error:
        assert KEY not in str(error)
        return f"{kind} refused"
    return f"{kind} done"


SETTINGS: Final = b"\x03\x00\x04name\x06String\x05value\x06String\x08readonly\x05UInt8"
"""ClickHouse's Native format: no row of three columns."""


@contextmanager
def archiving() -> Iterator[Case]:
    """The ClickHouse client against a server that lies: rows, or an error of ours; an insert is believed only with its count of rows."""
    with lying() as liar:
        yield lambda rng: _archived(rng, liar)


def _archived(rng: Random, liar: Liar) -> str:
    asked = 0
    honest = rng.choice((0, 1, 2, 3, 3, 3, 3))
    good = b"\x02\x02\x01a\x06UInt64" + (7).to_bytes(8, "little") + (8).to_bytes(8, "little") + b"\x01b\x06String\x02xy\x00"
    summary = json.dumps({"read_rows": "0", "written_rows": rng.choice(("2", "1", "3", "x", "", "-1", "1e3"))})

    def answering(request: bytes) -> bytes:
        nonlocal asked
        asked += 1
        if asked <= honest:
            return _handshake(request)
        # The driver's own reader of this binary format runs past the end of blocks that lie about their sizes, in C: a right handshake has shown
        # who answers, so blocks are cut and refused here, and not invented.
        if b"Native" in request and not request.startswith(b"POST /?query=INSERT"):
            return cut(rng, good if asked > 2 else SETTINGS)
        whole = lie(rng, rng.choice((b"", b"Code: 60. DB::Exception: no table", b'{"a":1}\n{"b":"2"}\n')))
        summaries = (
            b"",
            b"X-ClickHouse-Summary: " + summary.encode() + b"\r\n",
            b"X-ClickHouse-Summary: {\r\n",
            b"X-ClickHouse-Exception-Code: x\r\n",
        )
        return whole.replace(b"\r\n\r\n", b"\r\n" + rng.choice(summaries) + b"\r\n", 1)

    liar.answering, liar.reset = answering, rng.random() < 0.1
    client = ClickHouse(Address(url=liar.url, password="canary-password"))
    kind = rng.choice(("insert", "rows", "read", "command", "migrate"))
    try:
        asked_for = _asked(client, kind)
        assert asked_for != "believed" or json.loads(summary)["written_rows"] == "2"
        return f"{kind} {asked_for}"
    except (Unreachable, Refused, TidemarkError) as error:
        assert "canary" not in str(error)
        return f"{kind} {type(error).__name__}"
    finally:
        client.close()


def _asked(client: ClickHouse, kind: str) -> str:
    if kind == "insert":
        client.insert(MARK, [[1, 2] for _ in MARK.names])
        return "believed"
    if kind == "rows":
        assert all(isinstance(row, tuple) for row in client.rows("SELECT a, b FROM t"))
    elif kind == "read":
        assert all(isinstance(row, dict) for row in client.read("SELECT 1"))
    elif kind == "command":
        client.command("SELECT 1")
    else:
        client.migrate()
    return "answered"


def _handshake(request: bytes) -> bytes:
    if b"version()" in request:
        return reply(b"24.8.1\tUTC\n", X_ClickHouse_Timezone="UTC")
    return reply(SETTINGS, X_ClickHouse_Timezone="UTC") if b"system.settings" in request else reply(b"")
