"""What the fuzzer found, once each: named, so that it stays mended."""

from __future__ import annotations

import asyncio
import json
from io import BytesIO
from pathlib import Path
from random import Random
from typing import Any
from unittest.mock import Mock

import pytest
from msgspec.structs import replace

from infra.embedded.engine.codec import BrokenBody, read_body
from infra.embedded.files import DamagedFile
from infra.embedded.layout import Layout
from infra.embedded.process import recorded
from infra.embedded.state import read_state
from infra.sandbox import form
from infra.sandbox.errors import ApiError
from infra.sandbox.params import Array, Boolean, Param, String, validate
from infra.sandbox.store import Store
from infra.sandbox.testing import sandbox_server
from infra.send.access_log import read_access_log
from infra.send.csv_rows import Columns, read_csv
from infra.send.outgoing import BadLine, Outgoing
from infra.settings import load_settings
from sinks.clickhouse.client import Address, ClickHouse, _objects
from sinks.clickhouse.ports import Refused as NotWritten
from sinks.clickhouse.tables import MARK
from sinks.outcomes import Refused, RetryAfter, Wanted, outcome_of
from sinks.stripe.client import StripeAccess
from streams.row_segments import RowSegment
from streams.rows import Row
from streams.segments import IDS, CounterRecord, IdSegment, decode_segment, encode_segment
from tests.core.meterlog import fresh
from tests.core.plain_rows import plain, record_of
from tests.fuzz.liar import lying, reply
from tests.fuzz.samples import REJECTED, REJECTED_HEADERS, START_S, changelog
from topics.bindings import Item, item_problems
from topics.errors import ConfigurationFault, CorruptState, MalformedRecord, TidemarkError, Unreachable
from topics.receipt import decode_receipt_key
from topics.rejected import read_rejected
from topics.windows import Window


def test_two_rows_that_begin_together_are_named_with_their_place() -> None:
    """Two windows of one customer and meter that overlap cannot both be right: recovery names the segment that holds the second."""
    disk = changelog(flushes=1)
    at = next(at for at, (key, _, _) in enumerate(disk.records) if (key or b"")[:1] == b"r")
    key, value, offset = disk.records[at]
    segment = plain(decode_segment(b"r", value or b"", "there"))
    first = segment.rows[0]
    segment.rows.append(replace(first, end_s=first.end_s + 1))
    disk.records[at] = (key, encode_segment(segment), offset)
    with pytest.raises(CorruptState, match=rf"^usage\.state 0@{offset}: .*begin at one instant"):
        fresh(disk, Random(1))


def test_a_receipt_key_that_is_no_utf8_is_named() -> None:
    """A key with a byte that is no UTF-8 is a malformed record at its place."""
    with pytest.raises(MalformedRecord, match="there: the key"):
        decode_receipt_key(b'["window","\xc0"]', "there")


def test_a_null_header_of_a_rejected_record_is_named() -> None:
    """Kafka's headers may be null: a rejected record that lost one halts the archive by name."""
    for at in range(1, 7):
        headers: list[Any] = list(REJECTED_HEADERS)
        headers[at] = (headers[at][0], None)
        with pytest.raises(MalformedRecord, match="there: headers"):
            read_rejected(REJECTED.key, REJECTED.value, tuple(headers), "there")


def test_impossible_numbers_in_a_segment_halt_by_name() -> None:
    """Ids that are no whole digests, rows without events or with negative offsets: halted at the segment, whatever its checksum."""
    row = Row(Window("a", "calls", START_S, START_S + 60))
    row.first_offset, row.rev, row.events = 0, 5, 1
    good = record_of(row)
    decode_segment(b"r", encode_segment(RowSegment(0, 6, [good])), "there")
    for name, value in (("events", 0), ("first_offset", -1), ("generation", 1), ("start_s", START_S + 60), ("content_hash", b"x")):
        bad = record_of(row)
        setattr(bad, name, value)
        with pytest.raises(CorruptState, match="there: "):
            decode_segment(b"r", encode_segment(RowSegment(0, 6, [bad])), "there")
    with pytest.raises(CorruptState, match="there: "):
        decode_segment(IDS, encode_segment(IdSegment(0, 6, 1, b"x" * 17, b"key")), "there")
    with pytest.raises(CorruptState, match="there: "):
        decode_segment(IDS, encode_segment(IdSegment(-1, 6, 1, b"", b"key")), "there")


def test_a_scale_that_is_no_number_is_never_in_force() -> None:
    """An item whose scale the report could not multiply by is refused where it is proposed."""
    for scale in ("", "x", "1e3", "-1", "NaN", "9" * 30, "\u0661"):
        assert item_problems((Item(meter="calls", item="si_1", period_anchor_s=0, scale=scale),))
    assert not item_problems((Item(meter="calls", item="si_1", period_anchor_s=0, scale="0.001"),))


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ('[kafka]\nbootstrap = "http://[::1"\nwidow = 1', "kafka.widow"),
        ("[kafka]\npartitions = " + "9" * 5000, "tidemark.toml"),
        ("[kafka]\npartitions = " + "[" * 20_000, "tidemark.toml"),
        ("[kafka]\n'' = 1", "kafka."),
        ("'' = 1", '""'),
    ],
)
def test_a_strange_file_is_faults_and_no_traceback(text: str, place: str, tmp_path: Path) -> None:
    """Half an address, a number of 5,000 digits, a thousand brackets, a key without a name: each is a fault with its place."""
    path = tmp_path / "tidemark.toml"
    path.write_text(text)
    with pytest.raises(ConfigurationFault) as caught:
        load_settings(path, {})
    assert any(place in fault.place and fault.problem and fault.remedy for fault in caught.value.faults)


def test_a_key_pasted_where_a_name_belongs_is_not_repeated(tmp_path: Path) -> None:
    """A secret in a slug, a key's name, an address of the environment: refused, and in no word of what is said about it."""
    path = tmp_path / "tidemark.toml"
    path.write_text(
        '[[meters]]\nslug = "http://u:canary-password@h"\nevent_type = "t"\n[[customers]]\nid = "a"\n[[customers.items]]\n'
        'meter = "sk_test_canary"\nstripe_subscription_item = "si_1"\n[x]\nwhsec_canary = 1\n[whsec_canary]\n'
    )
    with pytest.raises(ConfigurationFault) as caught:
        load_settings(path, {"TIDEMARK_CLICKHOUSE__URL": "http://u:canary-password@h:8123"})
    assert "canary" not in str(caught.value)
    assert "TIDEMARK_CLICKHOUSE__URL" in {fault.place for fault in caught.value.faults}


def test_a_log_line_of_any_size_is_an_event_or_a_bad_line() -> None:
    """Bytes of 5,000 digits go to the meter as text, which rejects them; times at the ends of the calendar end no run."""
    lines = [
        b'h - - [10/Oct/2026:13:55:36 +0000] "GET / HTTP/1.1" 200 ' + b"9" * 5000,
        b'h - - [01/Jan/0001:00:00:00 +1400] "GET / HTTP/1.1" 200 1',
        b'h - - [31/Dec/9999:23:59:59 -2359] "GET / HTTP/1.1" 200 1',
    ]
    found = list(read_access_log(iter(enumerate(lines, 1))))
    assert all(isinstance(event, Outgoing) and event.bytes_at(0) for event in found)
    rows = [b"at", b"0001-01-01 00:00:00", b"9999-12-31 23:59:59"]
    for zone in ("Europe/Berlin", "America/New_York", "Pacific/Kiritimati"):
        columns = Columns(event_type="t", customer="a", time="at", zone=zone)
        assert all(isinstance(event, Outgoing | BadLine) for event in read_csv(iter(enumerate(rows, 1)), columns))


def test_counters_of_a_generation_know_where_the_earlier_ones_ended() -> None:
    """A counters record that forgot where an earlier generation ended halts: the extent of its prefix could not be told."""
    for key, value, _ in changelog().records:
        if (key or b"")[:1] == b"c":
            record = decode_segment(b"c", value or b"", "there")
            assert isinstance(record, CounterRecord)
            record.generation = 1
            with pytest.raises(CorruptState, match="there: "):
                decode_segment(b"c", encode_segment(record), "there")


@pytest.mark.parametrize("error", ['"Bad Gateway"', "[]", "null", "5", '["x"]', "{}", "[" * 20_000, "[" * 20_000 + "]" * 20_000])
@pytest.mark.parametrize("status", [400, 403, 404, 409, 429, 500, 502])
def test_an_error_of_a_proxy_is_an_outcome(status: int, error: str) -> None:
    """Stripe's own library fails on `{"error": "Bad Gateway"}`; the report reads the status and goes on, and setup says what is wrong."""
    with lying() as liar:
        liar.answering = lambda _: reply(f'{{"error":{error}}}'.encode(), status)
        access = StripeAccess(liar.url, "sk_test_x", timeout_s=2.0)
        answer = access.report("/v1/subscription_items/si_1/usage_records", "quantity=1&timestamp=2&action=set", "tm1_x", lambda: True)
        assert answer.status == status
        assert isinstance(outcome_of(answer, Wanted("si_1", 2, 1)), RetryAfter | Refused)
        assert isinstance(access.summaries("si_1", 0), RetryAfter)
        with pytest.raises(TidemarkError):
            access.get("/v1/customers")
        access.close()


@pytest.mark.parametrize(
    "page", [b"[]", b"null", b'{"data":5}', b'{"data":[1]}', b'{"data":[{}],"has_more":true}', b'{"data":[{"id":"s","total_usage":"1"}]}']
)
def test_a_read_back_of_another_shape_is_no_total(page: bytes) -> None:
    """A total is concluded from documented rows alone: anything else is asked again, and never read as zero."""
    with lying() as liar:
        liar.answering = lambda _: reply(page)
        access = StripeAccess(liar.url, "sk_test_x", timeout_s=2.0)
        assert isinstance(access.summaries("si_1", 0), RetryAfter)
        access.close()


HUGE = (
    b"HTTP/1.1 200 OK\r\nContent-Length: " + b"9" * 30 + b"\r\n\r\n{}",
    b"HTTP/1.1 200 OK\r\nContent-Length: 999999999999\r\n\r\n{}",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"f" * 30 + b"\r\n{}",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{",
)


@pytest.mark.parametrize("announced", HUGE)
def test_an_answer_that_announces_more_than_it_brings_is_none(announced: bytes) -> None:
    """A length that no answer of Stripe's has, in one piece or in chunks, is no answer: asked again, and no memory is reserved for it."""
    with lying() as liar:
        liar.answering = lambda _: announced
        access = StripeAccess(liar.url, "sk_test_x", timeout_s=2.0)
        answer = access.report("/v1/subscription_items/si_1/usage_records", "quantity=1&timestamp=2&action=set", "tm1_x", lambda: True)
        assert (answer.status, answer.sent) == (None, True)
        access.close()


def test_a_query_may_hold_any_end_of_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """A customer whose name holds U+0085 or U+2028 does not break the lines of an answer, and a cut answer is one sentence."""
    rows = [{"customer": "a\u0085b\u2028c"}, {"customer": "d"}]
    assert _objects("\n".join(json.dumps(row, ensure_ascii=False) for row in rows).encode()) == rows
    client = ClickHouse(Address(url="http://127.0.0.1:9"))
    monkeypatch.setattr(client, "_connect", lambda _: Mock(raw_query=lambda *_, **__: b'{"a":1}\n{"a'))
    with pytest.raises(Unreachable, match="cannot be read"):
        client.read("SELECT 1")


@pytest.mark.parametrize(
    "answer", [reply(b"x", 500), reply(b"\xff\x01" * 9), reply(b"", 200, X_ClickHouse_Summary="[]"), b"", b"HTTP/1.1 200 X\r\n\r\n"]
)
def test_a_server_that_is_no_clickhouse_is_one_sentence(answer: bytes) -> None:
    """Whatever stands at the archive's address: each call ends as `Unreachable` or `Refused`, from the first connection on."""
    with lying() as liar:
        liar.answering = lambda _: answer
        client = ClickHouse(Address(url=liar.url))
        for call in (client.migrate, lambda: client.rows("SELECT 1"), lambda: client.command("SELECT 1"), lambda: client.insert(MARK, [[1]])):
            with pytest.raises((Unreachable, NotWritten)):
                call()


def test_parameters_of_another_shape_are_refused_as_stripe_does() -> None:
    """A truth value that is an object and an index of 5,000 digits are 400, not the sandbox's own failure."""
    for spec, text in (({"active": Param(Boolean())}, "active[a]=true"), ({"ids": Param(Array(String()))}, f"ids[{'9' * 5000}]=x")):
        with pytest.raises(ApiError) as caught:
            validate(spec, form.decode(text))
        assert caught.value.status == 400


async def test_headers_and_bodies_that_lie_are_refused_by_the_sandbox(tmp_path: Path) -> None:
    """A key that is no UTF-8 is 401 or taken as a name, and a body that is not gzip although it says so is 400."""
    async with sandbox_server(tmp_path) as sandbox:
        host, port = sandbox.url.removeprefix("http://").split(":")
        for head, status in ((b"Content-Encoding: gzip", b"400"), (b"Authorization: Bearer sk_\xec", b"401"), (b"Idempotency-Key: \xec", b"401")):
            reader, writer = await asyncio.open_connection(host, int(port))
            writer.write(b"POST /v1/customers HTTP/1.1\r\nHost: x\r\nConnection: close\r\n" + head + b"\r\nContent-Length: 6\r\n\r\nname=x")
            assert (await reader.read())[9:12] == status
            writer.close()


def test_a_damaged_file_of_a_stack_is_named(tmp_path: Path) -> None:
    """`down`, `status` and `up` say which file is damaged and what to do, whatever is left of it."""
    layout = Layout(tmp_path)
    layout.state.parent.mkdir(parents=True, exist_ok=True)
    for text in ("", "{", "[]", '{"version": 1}', "\x00", '{"version": 1, "supervisor_pid": "x"}'):
        layout.state.write_text(text)
        with pytest.raises(DamagedFile, match=r"stack\.json is damaged"):
            read_state(tmp_path)
    (tmp_path / "meter-0.pid").write_text('{"pid": 99999999999999999999, "started": 1}')
    with pytest.raises(DamagedFile, match=r"meter-0\.pid is damaged"):
        recorded(tmp_path)


def test_a_damaged_sandbox_is_one_sentence(tmp_path: Path) -> None:
    """A database whose first page is overwritten is refused by name."""
    Store(tmp_path).close()
    (path,) = tmp_path.glob("sandbox.sqlite3")
    path.write_bytes(b"\x01" * len(path.read_bytes()))
    with pytest.raises(TidemarkError, match="is damaged"):
        Store(tmp_path)


def test_a_chunk_of_less_than_nothing_ends_the_body() -> None:
    """A chunk size is hexadecimal digits and nothing else: a sign would let the engine read what is not of this request."""
    for size in (b"-5", b"0x5", b"+5", b"5_0", b""):
        with pytest.raises(BrokenBody):
            b"".join(read_body(BytesIO(size + b"\r\nabcde\r\n0\r\n\r\n"), {"Transfer-Encoding": "chunked"}))
