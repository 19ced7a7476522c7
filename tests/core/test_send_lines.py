"""`send`: what becomes of lines. Ids are those of the lines, times are moved together, real files are counted again by other means."""

from __future__ import annotations

import csv
import json
import re
from collections import Counter
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra.send.access_log import read_access_log
from infra.send.csv_rows import Columns, instant_us, read_csv
from infra.send.events import read_events
from infra.send.files import numbered_lines
from infra.send.outgoing import BadLine, LineIds, Outgoing, shift_to
from infra.send.publish import latest_us
from topics.errors import UsageError
from topics.instants import parse_us

DATA = Path(__file__).resolve().parents[2].parent / "shared" / "data"
needs_data = pytest.mark.skipif(not DATA.is_dir(), reason="../shared/data is not here: real usage files are not shipped with the product")
LINES = st.lists(st.binary(min_size=0, max_size=6).filter(lambda line: b"\n" not in line), max_size=30)


def numbered(lines: list[bytes]) -> Iterator[tuple[int, bytes]]:
    """Lines as a file gives them."""
    return iter(list(enumerate(lines, start=1)))


def sent(result: list[Outgoing | BadLine]) -> list[Outgoing]:
    """The events, where no line was bad."""
    events = [event for event in result if isinstance(event, Outgoing)]
    assert len(events) == len(result), [line for line in result if isinstance(line, BadLine)]
    return events


@given(lines=LINES, data=st.data())
def test_ids_are_of_the_line_and_its_ordinal(lines: list[bytes], data: st.DataObject) -> None:
    """Every line gets its own id; the same lines in any order get the same ids; what is appended changes no id before it."""
    ids = LineIds()
    found = [ids.next(line) for line in lines]
    assert len(set(found)) == len(found)
    shuffled = data.draw(st.permutations(lines))
    again = LineIds()
    assert sorted(again.next(line) for line in shuffled) == sorted(found)
    longer = LineIds()
    assert [longer.next(line) for line in [*lines, b"more"]][: len(lines)] == found


@given(now=st.integers(10**15, 2 * 10**15), last=st.integers(0, 2 * 10**15))
def test_shift_to_now_ends_just_before_now_and_keeps_fractions(now: int, last: int) -> None:
    """Moved by whole seconds, the last event lies one to two seconds in the past, whatever its old time was."""
    shift = shift_to(now, last)
    assert shift % 1_000_000 == 0
    assert 1_000_000 <= now - (last + shift) < 2_000_000


def test_events_are_sent_byte_for_byte() -> None:
    """Without a shift the value is the very line: right, wrong and ugly ones alike, as long as they name a customer."""
    lines = [
        b'{"specversion":"1.0","id":"1","source":"s","type":"t","subject":"acme","time":"2026-01-01T00:00:00Z","data":{"q":1.10}}',
        b'{"subject":"acme","q":NaN}',
        b'  {"subject" : "m\xc3\xbcller"}  ',
        b'{"subject":"acme","x":"\xff"}',
        b'{"subject":"acme","n":' + b"9" * 5000 + b"}",
    ]
    found = sent(list(read_events(numbered(lines))))
    assert [event.bytes_at(0) for event in found] == lines
    assert [event.customer for event in found] == ["acme", "acme", "müller", "acme", "acme"]


@pytest.mark.parametrize(
    "line", [b"garbage", b"[]", b'{"x":1}', b'{"subject":7}', b'{"subject":""}', b'{"subject":"\xff"}', b'{"subject":"\\ud800"}']
)
def test_a_line_without_a_customer_is_named_and_the_rest_goes_on(line: bytes) -> None:
    """A line that names no customer is reported with its number; the lines around it are sent."""
    found = list(read_events(numbered([b'{"subject":"a"}', line, b"", b'{"subject":"b"}'])))
    assert [type(each) for each in found] == [Outgoing, BadLine, Outgoing]
    assert found[1].line == 2


def test_moving_an_event_changes_its_time_and_no_digit_of_its_quantity() -> None:
    """`--shift-to-now` rewrites `time` alone: 1.10, 1e-3 and 40 digits stay the text that they are."""
    line = b'{"subject":"acme","time":"2026-01-01T00:00:00.5+01:00","data":{"a":1.10,"b":1e-3,"c":1234567890123456789012345678901234567890}}'
    (event,) = sent(list(read_events(numbered([line]), shift=True)))
    moved = event.bytes_at(3_000_000)
    assert b'"time":"2025-12-31T23:00:03.5Z"' in moved
    assert b'{"a":1.10,"b":1e-3,"c":1234567890123456789012345678901234567890}' in moved
    (unmoved,) = sent(list(read_events(numbered([b'{"subject":"acme"}']), shift=True)))
    assert unmoved.bytes_at(3_000_000) == b'{"subject":"acme"}'


@pytest.mark.parametrize(
    ("line", "data"),
    [
        (b'1.2.3.4 - - [17/May/2015:10:05:03 +0000] "GET /a HTTP/1.1" 200 12 "-" "x"', {"bytes": 12, "status": 200, "method": "GET"}),
        (b'1.2.3.4 - - [17/May/2015:12:05:03 +0200] "GET /a HTTP/1.1" 304 - "-" "x"', {"bytes": 0, "status": 304, "method": "GET"}),
        (b'1.2.3.4 - bob smith [17/May/2015:10:05:03 +0000] "POST /\\"q HTTP/1.1" 500 7', {"bytes": 7, "status": 500, "method": "POST"}),
        (b'1.2.3.4 - - [17/May/2015:10:05:03 +0000] "\\x16\\x03" 400 0 "-" "-"', {"bytes": 0, "status": 400, "method": ""}),
        (b'1.2.3.4 - - [17/May/2015:10:05:03 +0000] "-" 408 -', {"bytes": 0, "status": 408, "method": ""}),
    ],
)
def test_lines_of_a_web_server(line: bytes, data: dict[str, object]) -> None:
    """Client, instant, bytes (`-` is 0), status and method of combined and common lines, with odd users and odd requests."""
    (event,) = sent(list(read_access_log(numbered([line]))))
    assert event.body is not None
    assert (event.customer, event.body["type"], event.body["data"]) == ("1.2.3.4", "http.request", data)
    assert event.occurred_at_us == parse_us("2015-05-17T10:05:03Z")


@pytest.mark.parametrize(
    "line", [b"hello", b'h - - [31/Feb/2015:10:05:03 +0000] "GET / H" 200 1', b'h - - [17/Mai/2015:10:05:03 +0000] "GET / H" 200 1']
)
def test_a_line_that_is_none_of_a_web_server_is_reported(line: bytes) -> None:
    """A line of another format or with an impossible day is reported, not guessed at."""
    (found,) = read_access_log(numbered([line]))
    assert isinstance(found, BadLine)


def test_csv_columns_become_data_and_the_value_is_kept_exactly() -> None:
    """Every other column is in data under its name; whole numbers are numbers, decimals stay text, the quantity is also `value`."""
    lines = [b"\xef\xbb\xbfwhen,who,units,note", b'2026-01-01 00:00:00,acme,1.10,"a,b"', b'2026-01-01 00:00:01,acme,7,"two', b'lines"']
    columns = Columns("t", customer_column="who", value="units", time="when")
    first, second = sent(list(read_csv(numbered(lines), columns)))
    assert first.body is not None
    assert second.body is not None
    assert first.body["data"] == {"units": "1.10", "value": "1.10", "note": "a,b"}
    assert second.body["data"] == {"units": 7, "value": 7, "note": "two\nlines"}
    assert (first.occurred_at_us, second.line) == (parse_us("2026-01-01T00:00:00Z"), 3)


def test_csv_faults_are_named() -> None:
    """A missing column is wrong use; a row with too few fields, no time or no customer is a bad line with its number."""
    with pytest.raises(UsageError, match="its columns are a, b"):
        list(read_csv(numbered([b"a,b", b"1,2"]), Columns("t", customer="c", value="x")))
    with pytest.raises(UsageError, match="tz database"):
        Columns("t", customer="c", zone="Mars/Olympus").zone_info()
    rows = [b"when,who", b"2026-01-01T00:00:00Z,a", b"yesterday,a", b"2026-01-01T00:00:00Z,", b"only", b"\xff,a"]
    found = list(read_csv(numbered(rows), Columns("t", customer_column="who", time="when")))
    assert [type(each) for each in found] == [Outgoing, BadLine, BadLine, BadLine, BadLine]
    assert [each.line for each in found] == [2, 3, 4, 5, 6]


@pytest.mark.parametrize(
    ("text", "zone", "wanted"),
    [
        ("2026-07-01 12:00:00", "Europe/Berlin", "2026-07-01T10:00:00Z"),
        ("2026-01-01T12:00", "Europe/Berlin", "2026-01-01T11:00:00Z"),
        ("2026-07-01T12:00:00+05:30", "Europe/Berlin", "2026-07-01T06:30:00Z"),
        ("2023-11-16 18:17:03.9799600", "UTC", "2023-11-16T18:17:03.97996Z"),
        ("1700000000", "Europe/Berlin", "2023-11-14T22:13:20Z"),
        ("1700000000123", "UTC", "2023-11-14T22:13:20.123Z"),
        ("2026-10-25 02:30:00", "Europe/Berlin", "2026-10-25T00:30:00Z"),
        ("2026-03-29 02:30:00", "Europe/Berlin", None),
        ("2026-02-30 02:30:00", "UTC", None),
        ("soon", "UTC", None),
    ],
)
def test_times_of_a_csv(text: str, zone: str, wanted: str | None) -> None:
    """Zoned, local, epoch: the instant; an hour that the clocks skip is none, one that they repeat is the first."""
    assert instant_us(text, ZoneInfo(zone)) == (None if wanted is None else parse_us(wanted))


@needs_data
def test_a_real_access_log_is_read_as_awk_would() -> None:
    """10,000 real requests: per client the count and the bytes are those of splitting lines at spaces."""
    path = DATA / "apache_access.log"
    found = sent(list(read_access_log(numbered_lines(path))))
    requests: Counter[str] = Counter()
    egress: Counter[str] = Counter()
    for line in path.read_text(encoding="utf-8", errors="surrogateescape").splitlines():
        client, rest = line.split(" ", 1)
        size = re.split(r'" \d{3} ', rest, maxsplit=1)[1].split(" ", 1)[0]
        requests[client] += 1
        egress[client] += 0 if size == "-" else int(size)
    assert Counter(event.customer for event in found) == requests
    ours: Counter[str] = Counter()
    for event in found:
        assert event.body is not None
        ours[event.customer] += event.body["data"]["bytes"]
    assert ours == egress
    assert len({event.body["id"] for event in found if event.body}) == len(found) == 10_000


@needs_data
@pytest.mark.parametrize("name", ["azure_llm_code.csv", "azure_llm_conv.csv"])
def test_real_traces_are_read_as_the_csv_module_would(name: str) -> None:
    """Two real traces: rows, tokens and the last instant are those of the standard csv reader."""
    path = DATA / name
    columns = Columns("llm.request", customer="acme", value="GeneratedTokens", time="TIMESTAMP")
    found = sent(list(read_csv(numbered_lines(path), columns)))
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(found) == len(rows)
    assert sum(event.body["data"]["value"] for event in found if event.body) == sum(int(row["GeneratedTokens"]) for row in rows)
    whole, _, fraction = max(row["TIMESTAMP"] for row in rows).partition(".")
    assert latest_us(found) == (parse_us(whole.replace(" ", "T") + "Z") or 0) + int(Decimal("0." + fraction) * 1_000_000)
    assert all(json.loads(event.bytes_at(0))["time"].endswith("Z") for event in found[:100])
