"""What an event says twice is stored once, and nothing is lost by it: bytes, times, first rows, and rows of before the migration."""

from __future__ import annotations

import ast
import random
import re
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import sinks
from infra.embedded.testing import engine_server
from sinks.clickhouse.client import Address, ClickHouse
from sinks.clickhouse.in_force import InForce
from sinks.clickhouse.migrate import migrations
from sinks.clickhouse.rows import RawRecord, RawRows
from sinks.clickhouse.tables import MARK, RAW, columns_of
from sinks.clickhouse.window_rows import WindowRows
from tests.contract.archive_engine import archive_at
from tests.core.meterlog import NOW_MS
from topics.instants import format_us
from topics.meters import BEGINNING_S, Meter, MeterVersion
from topics.origin import RECEIVED_AT

SHORTER = 8
"""Number of the migration that this file is about."""
LIGHTER = 12
"""And of the one that made its columns lighter."""
TOKENS = Meter(slug="tokens", event_type="llm", value="n", window_s=3600)


@pytest.fixture(scope="module")
def engine_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """One engine for the module."""
    with engine_server(tmp_path_factory.mktemp("engine")) as engine:
        yield engine.url


def rows_of(records: list[RawRecord], meter: Meter = TOKENS) -> list[list[Any]]:
    """Raw rows of partition 0 with one meter in force."""
    in_force = InForce()
    in_force.add(MeterVersion(meter=meter, valid_from_s=BEGINNING_S, offset=-1, digest="d"))
    return RawRows(0, 0, in_force).columns(records)


def record(offset: int, value: bytes, **more: Any) -> RawRecord:
    """A record of customer c."""
    return RawRecord(offset, NOW_MS, b"c", value, ())._replace(**more)


def as_before(clickhouse: ClickHouse, columns: list[list[Any]]) -> None:
    """Insert as a program of before the migration does."""
    client = clickhouse._connect(clickhouse.address.database)
    client.insert(RAW.name, columns, column_names=RAW.names, column_type_names=RAW.types, column_oriented=True)


def marked(clickhouse: ClickHouse) -> None:
    """The views may show everything."""
    clickhouse.insert(MARK, columns_of([(0, 0, 1 << 40, 0, 0, 0, 0, 0, 0, 0, 0, 0)], MARK))


def event(event_id: str, time: str, n: int = 3) -> bytes:
    """As a producer writes it."""
    return f'{{"specversion":"1.0","id":"{event_id}","source":"s","type":"llm","subject":"c","time":"{time}","data":{{"n":{n}}}}}'.encode()


def test_rows_of_before_are_what_they_were(engine_url: str) -> None:
    """Rows written before the migration, and by a worker that does not know it yet, show the same bytes and times after it."""
    clickhouse = ClickHouse(Address(url=engine_url, database="before"))
    clickhouse.migrate([migration for migration in migrations() if migration.number < SHORTER])
    rerouted = ((RECEIVED_AT, b"%d" % (NOW_MS - 5000)),)
    old = [record(1, event("a", format_us(NOW_MS * 1000))), record(2, b"\x01\x03"), record(3, event("b", "x"), headers=rerouted)]
    as_before(clickhouse, rows_of(old))
    clickhouse.migrate()
    during, after = [record(4, event("c", format_us(NOW_MS * 1000)))], [record(5, event("d", format_us(NOW_MS * 1000)), headers=rerouted)]
    as_before(clickhouse, rows_of(during))
    clickhouse.insert(RAW, rows_of(after))
    marked(clickhouse)
    rows = clickhouse.rows("SELECT kafka_offset, value, toUnixTimestamp64Milli(received_at) FROM judged_events ORDER BY kafka_offset")
    assert [row[:2] for row in rows] == [(each.offset, each.value) for each in [*old, *during, *after]]
    assert [row[2] - NOW_MS for row in rows] == [0, 0, -5000, 0, -5000]


def test_however_an_event_is_written_its_bytes_come_back(engine_url: str) -> None:
    """Ids and times in every spelling, the same text elsewhere too, marks in the bytes, years at the edges: restored byte for byte."""
    clickhouse = archive_at(engine_url, "spelled")
    rng = random.Random(5)
    times = [
        format_us(us) for us in (0, 1, 1000, -1, -1_000_001, NOW_MS * 1000, NOW_MS * 1000 + 1, NOW_MS // 1000 * 1_000_000, 253_402_300_799_999_999)
    ]
    times += [f"{time[:19]}{rest}" for time in times for rest in ("Z", ".5Z", ".12Z", ".123456789Z", "+00:00", "-07:30", ".250+02:00", "z")]
    times += ["1900-01-01T00:00:00Z", "2299-12-31T23:59:59.999999Z", "0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z", "2026-02-30T00:00:00Z", ""]
    values: list[bytes] = []
    for time in times:
        name = rng.choice([str(uuid.UUID(int=rng.getrandbits(128))), "a", "n", "1.0", "specversion", "ü", "\\u0001", "\\n", time or "x"])
        values.append(event(name, time))
        values.append(event(name, time).replace(b":", b" : ").replace(b"{", b"\n{ ", 1))
        values.append(event(name, time).replace(b'"data"', b'"also":"%s","again":"%s","data"' % (name.encode(), time.encode())))
        values += [values[-1] + mark for mark in (b"\x01", b'"\x01"', b"\x02", b"\x03", b"\x06", b"\x00", b"\xff")]
    records = [record(at + 1, value) for at, value in enumerate(values)]
    clickhouse.insert(RAW, rows_of(records))
    found = dict(clickhouse.rows("SELECT kafka_offset, record_value FROM raw_events FINAL"))
    assert [(value, found[at + 1]) for at, value in enumerate(values) if found[at + 1] != value] == []


def test_an_id_and_a_time_are_stored_once(engine_url: str) -> None:
    """A usual event's stored bytes hold neither its id nor its time, for whole seconds, milliseconds and microseconds."""
    clickhouse = archive_at(engine_url, "once")
    times = ("2026-11-03T10:00:05Z", "2026-11-03T10:00:05.250Z", "2026-11-03T10:00:05.250001Z")
    clickhouse.insert(RAW, rows_of([record(at + 1, event("5f1c" * 8, time)) for at, time in enumerate(times)]))
    stored = [row[0] for row in clickhouse.rows("SELECT value FROM raw_events FINAL ORDER BY kafka_offset")]
    assert len(stored) == 3
    assert not [value for value in stored if b"5f1c" in value or b"10:00" in value]
    assert all(b'"n":3' in value for value in stored), "the quantity stays in the evidence"


def test_of_two_rows_of_one_coordinate_the_first_stays(engine_url: str) -> None:
    """Whether the first was written before the migration or after it, and whether the broker's clock is ahead or behind: a later row never wins."""
    clickhouse = ClickHouse(Address(url=engine_url, database="first"))
    clickhouse.migrate([migration for migration in migrations() if migration.number < SHORTER])
    double = Meter(slug="other", event_type="llm", value="n", window_s=60)
    ahead_ms = NOW_MS + 400 * 86_400_000
    records = [record(1, event("a", format_us(NOW_MS * 1000))), record(2, event("b", format_us(NOW_MS * 1000)), timestamp_ms=ahead_ms)]
    as_before(clickhouse, rows_of(records[:1]))
    clickhouse.migrate()
    clickhouse.insert(RAW, rows_of(records[1:]))
    clickhouse.insert(RAW, rows_of(records, double))
    wanted = [(1, [b"tokens"]), (2, [b"tokens"])]
    select = "SELECT kafka_offset, meters FROM raw_events FINAL ORDER BY kafka_offset"
    assert [(row[0], list(row[1])) for row in clickhouse.rows(select)] == wanted
    clickhouse.command("OPTIMIZE TABLE raw_events FINAL")
    assert [(row[0], list(row[1])) for row in clickhouse.rows(select.replace(" FINAL", ""))] == wanted


def test_a_distant_server_is_sent_packed_blocks(engine_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where ClickHouse is on another machine the block is packed, and all of its rows arrive; a longer string than most is one of them."""
    monkeypatch.setattr(ClickHouse, "_is_near", False)
    clickhouse = archive_at(engine_url, "distant")
    values = [event("a", format_us(NOW_MS * 1000), at) for at in range(5000)] + [b"x" * 100_000]
    clickhouse.insert(RAW, rows_of([record(at + 1, value) for at, value in enumerate(values)]))
    found = clickhouse.rows("SELECT count(), sum(length(record_value)), max(length(record_value)) FROM raw_events")
    assert found == [(len(values), sum(map(len, values)), 100_000)]


def statements() -> Iterator[tuple[str, str]]:
    """(file, text) of every query of ours: the .sql files, and every text in a program that says raw_events."""
    root = Path(sinks.__file__).parent.parent
    for path in sorted((root / "sinks" / "clickhouse" / "queries").glob("*.sql")):
        yield path.name, re.sub(r"(?m)--.*$", "", path.read_text())
    for path in (found for folder in ("sinks", "infra") for found in sorted((root / folder).rglob("*.py"))):
        yield from ((path.name, text) for text in texts(path) if "SELECT" in text)


def texts(path: Path) -> Iterator[str]:
    """Every text that stands in a program."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


def test_nothing_of_ours_reads_the_stored_form() -> None:
    """Queries on raw_events ask for record_value and record_received_at, for value and received_at are the stored form; two restore it."""
    pattern = re.compile(r"SELECT((?:(?!SELECT|FROM).)*)FROM raw_events((?:(?!SELECT|FROM|JOIN).)*)", re.DOTALL)
    asked = [(name, " ".join(found.groups())) for name, text in statements() for found in pattern.finditer(text)]
    assert len(asked) >= 4
    stored = {name for name, text in asked if re.search(r"(?<![\w.'])(value|received_at)(?![\w'])", text)}
    assert stored == {"window_counted.sql", "window_rows.sql"}


def test_a_drill_down_restores_when_a_record_was_received(engine_url: str) -> None:
    """Of rows of either layout, re-routed or not, with the stored form's own number among the times, a window shows what record_received_at says."""
    clickhouse = ClickHouse(Address(url=engine_url, database="restored_times"))
    clickhouse.migrate([migration for migration in migrations() if migration.number < SHORTER])
    rerouted = [((RECEIVED_AT, b"%d" % ms),) for ms in (NOW_MS - 5000, 0, 1, -1)]
    now = format_us(NOW_MS * 1000)
    sent, resent = (
        [record(first + at, event(f"{name}{at}", now), headers=headers) for at, headers in enumerate([(), *rerouted])]
        for first, name in ((1, "e"), (11, "f"))
    )
    as_before(clickhouse, rows_of([*sent, record(6, event("e6", now), timestamp_ms=-1)]))
    clickhouse.migrate()
    clickhouse.insert(RAW, rows_of(resent))
    marked(clickhouse)
    # The stored form's own number, as no worker writes it, in both layouts.
    same = "customer, occurred_at, log_time, meters, quantities, window_starts, window_ends"
    for layout, offset in ((0, 21), (1, 22)):
        clickhouse.command(
            f"INSERT INTO raw_events (received_at, layout, kafka_offset, {same})"
            f" SELECT toDateTime64(-0.001, 3, 'UTC'), {layout}, {offset}, {same} FROM raw_events WHERE kafka_offset = 1"
        )
    select = "SELECT kafka_offset, toUnixTimestamp64Milli(record_received_at) FROM raw_events FINAL WHERE has(meters, 'tokens')"
    told = dict(clickhouse.rows(select))
    window_s = NOW_MS // 3_600_000 * 3600
    shown = WindowRows(clickhouse).events("c", "tokens", window_s, window_s + 3600, 100)
    assert {row.offset: row.received_at_ms for row in shown} == told
    assert (told[21], told[22]) == (-1, NOW_MS)
    assert set(told.values()) >= {NOW_MS, NOW_MS - 5000, 0, 1}


@pytest.mark.parametrize("number", [SHORTER, LIGHTER])
def test_the_columns_that_restore_say_what_they_said(engine_url: str, number: int) -> None:
    """The restoring columns of each schema since rows are shorter say the same of the same rows: whoever asked them before has the same bytes now."""
    clickhouse = ClickHouse(Address(url=engine_url, database=f"columns_{number}"))
    clickhouse.migrate([migration for migration in migrations() if migration.number < SHORTER])
    times = ("2026-11-03T10:00:05Z", "1969-12-31T23:59:58.250Z", "1900-01-01T00:00:00.000001Z")
    values = [*(event("a", time) for time in times), b"\x00", b"\x01\x02", b""]
    as_before(clickhouse, rows_of([record(at + 1, value) for at, value in enumerate(values)]))
    clickhouse.migrate([migration for migration in migrations() if migration.number <= number])
    clickhouse.insert(RAW, rows_of([record(at + 11, value) for at, value in enumerate(values)]))
    select = "SELECT kafka_offset, record_value, toUnixTimestamp64Milli(record_received_at) FROM raw_events FINAL ORDER BY kafka_offset"
    found = clickhouse.rows(select)
    assert found == [(at + first, value, NOW_MS) for first in (1, 11) for at, value in enumerate(values)]
