"""What people write: tidemark.toml, and files for `send`. Faults have a place and a remedy, bad lines a number and a reason; nothing is raised."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random
from typing import Any, Final

from infra.send.access_log import read_access_log
from infra.send.csv_rows import Columns, read_csv
from infra.send.events import read_events
from infra.send.files import numbered_lines
from infra.send.outgoing import BadLine, Outgoing
from infra.settings import Settings, load_settings
from infra.settings_rules import homes, warnings
from tests.core.meterlog import NOW_MS, PARTITIONS
from tests.fuzz.events import Case, event_bytes
from tests.fuzz.mutate import damaged
from topics.definitions import Definitions
from topics.errors import ConfigurationFault, UsageError
from topics.judging import Setting, judge

CANARIES: Final = ("sk_test_" + "canary0123456789", "whsec_" + "canary0123456789", "canary-password")
TOML: Final = """
[kafka]
bootstrap = "localhost:9092"
partitions = 4
replication = 1
min_insync = 1
retention = "7d"
[clickhouse]
url = "http://localhost:8123"
[stripe]
api_base = "https://api.stripe.com"
calls_per_second = 80
[timing]
dedup = "7d"
future = "5m"
[[meters]]
slug = "api_calls"
event_type = "api.request"
where = { region = "eu", tier = 1, paid = true }
window = "1h"
[[meters]]
slug = "bytes"
event_type = "api.request"
value = "bytes"
grace = "5m"
[[customers]]
id = "acme"
[[customers.items]]
meter = "api_calls"
stripe_subscription_item = "si_1"
period_anchor = "2026-11-03T10:23:45Z"
period = "month"
scale = 1
"""
VALUES: Final = (
    "1", "-1", "0", "1.5", "1e400", "nan", "inf", "true", "9" * 5000, "0x1f", "1_000", '""', '"x"', '"5m"', '"5"', '"-5m"', '"' + "9" * 400 + 'd"',
    '"1d2h"',
    "[]", "[1]", "{}", "{ a = 1 }", "[[1]]", '"\\u0000"', '"\\uD800"', "2026-11-03", "2026-11-03T10:00:00", "2026-11-03T10:00:00Z", "10:00:00",
    '"http://[::1"', '"http://u:canary-password@h"', '"http://[u@h"', '"http://a:b:c@d"', '"//@"', '"sk_test_' + 'canary0123456789"',
    "'''\n'''", '"\u0661"', '"é"',
    "[" * 300 + "]" * 300, "{ a = " * 60 + "1" + " }" * 60, '"' + "x" * 3000 + '"', '"localhost:9092,other:9092"', '"https://"',
    '"http:// x"', '"ftp://h"',
    '"api_calls"', '"bytes"', '"tidemark.x"', '"1e3"', '"0.000"', '"1.5"', '"9999-12-31T23:59:59Z"', '"0001-01-01T00:00:00+14:00"',
)  # fmt: skip


def toml_text(rng: Random) -> str:
    """A configuration with some wrong values, keys, sections, or letters."""
    lines = TOML.splitlines()
    for _ in range(rng.randrange(1, 5)):
        at = rng.randrange(len(lines))
        name, _, value = lines[at].partition(" = ")
        match rng.randrange(7):
            case 0 | 1 | 2 if value:
                lines[at] = f"{name} = {rng.choice(VALUES)}"
            case 3:
                lines.insert(at, rng.choice(("api_key", "password", "widow", "a.b", '""', "url", "token")) + " = " + rng.choice(VALUES))
            case 4:
                del lines[at]
            case 5:
                lines.insert(
                    at, rng.choice(("[kafka]", "[[kafka]]", "[meters]", "[worker]", "[x]", "[[customers.items]]", "[customers.items]", "#\x00", "="))
                )
            case _:
                lines[at] = damaged(rng, lines[at].encode(), 1).decode(errors=rng.choice(("replace", "ignore")))
    return "\n".join(lines)


@contextmanager
def configuring() -> Iterator[Case]:
    """A wrong file and environment: Settings, or faults that each have a place, a problem and a remedy, and show no secret."""
    with tempfile.TemporaryDirectory(prefix="tidemark-fuzz-") as directory:
        path = Path(directory) / "tidemark.toml"
        yield lambda rng: _configured(rng, path)


def _configured(rng: Random, path: Path) -> str:
    data = toml_text(rng).encode("utf-8", "surrogatepass")
    path.write_bytes(damaged(rng, data, 2) if rng.random() < 0.1 else data)
    environment = {"STRIPE_API_KEY": CANARIES[0], "TIDEMARK_CLICKHOUSE__PASSWORD": CANARIES[2]} if rng.random() < 0.5 else {}
    for _ in range(rng.choice((0, 0, 1, 3))):
        name = rng.choice(
            ("KAFKA__PARTITIONS", "TIMING__DEDUP", "WORKER__HTTP", "STATUS__WORKERS", "METERS__X", "KAFKA__WIDOW", "X__Y", "CLICKHOUSE__URL")
        )
        environment[f"TIDEMARK_{name}"] = rng.choice(VALUES).strip('"')
    try:
        settings = load_settings(path, environment)
    except ConfigurationFault as error:
        assert error.faults
        for fault in error.faults:
            assert fault.place.strip(), fault
            assert fault.problem.strip(), fault
            assert fault.remedy.strip(), fault
        assert not any(canary in str(error) for canary in CANARIES), error
        return f"{min(len(error.faults), 4)} faults"
    return _in_use(settings)


def _in_use(settings: Settings) -> str:
    """What a process asks of its settings at its start."""
    warnings(settings)
    homes(settings)
    settings.meter_records()
    assert not any(canary in repr(settings) for canary in CANARIES)
    return "settings"


@contextmanager
def sending() -> Iterator[Case]:
    """Files of rows, of requests and of events, wounded anywhere: an event that can be sent, or a numbered line with its reason."""
    with tempfile.TemporaryDirectory(prefix="tidemark-fuzz-") as directory:
        path = Path(directory) / "usage.txt"
        yield lambda rng: _sent(rng, path)


def _sent(rng: Random, path: Path) -> str:
    kind = rng.choice(("csv", "access-log", "events"))
    path.write_bytes({"csv": csv_bytes, "access-log": log_bytes, "events": event_lines}[kind](rng))
    columns = Columns(
        event_type="api.request",
        customer=None if rng.random() < 0.5 else "acme",
        customer_column="who" if rng.random() < 0.5 else None,
        value=rng.choice((None, "n")),
        time=rng.choice((None, "at")),
        id=rng.choice((None, "id")),
        zone=rng.choice(("UTC", "Europe/Berlin", "America/St_Johns", "Pacific/Apia", "Nowhere/No", "../x", "")),
    )
    shift = rng.random() < 0.3
    try:
        first, second = (list(_read(kind, path, columns, shift)) for _ in range(2))
    except UsageError as error:
        assert len(str(error)) > 10
        return f"{kind} refused"
    assert first == second
    shift_us = rng.choice((0, 10**15, -(10**15))) if shift else 0
    for event in first:
        if isinstance(event, BadLine):
            assert event.line > 0
            assert event.problem
            continue
        value = event.bytes_at(shift_us)
        key = event.customer.encode()
        judge(key, value, (), NOW_MS, Setting(0, PARTITIONS, NOW_MS, 0, Definitions()))
        if event.body is not None and kind != "events":
            assert json.loads(value)["subject"] == event.customer
    return f"{kind} {'some bad' if any(isinstance(event, BadLine) for event in first) else 'all good'}"


def _read(kind: str, path: Path, columns: Columns, shift: bool) -> Iterator[Outgoing | BadLine]:
    lines = numbered_lines(path)
    if kind == "csv":
        return read_csv(lines, columns)
    return read_access_log(lines) if kind == "access-log" else read_events(lines, shift=shift)


def csv_bytes(rng: Random) -> bytes:
    """Rows of a table."""
    header = [b"who", b"n", b"at", b"id"]
    times: tuple[Any, ...] = (
        b"2026-11-21T00:00:00Z", b"2026-03-29 02:30:00", b"2026-10-25 02:30", b"1795219200", b"1795219200123", b"0001-01-01 00:00:00",
        b"9999-12-31 23:59:59",
        b"0000-01-01 00:00", b"2026-02-30 00:00", b"2026-11-21 00:00:00.123456789", b"", b"2011-12-30 12:00", b"9999999999999",
    )  # fmt: skip
    rows = [
        b",".join(
            (rng.choice((b"acme", b'"a,b"', b"", b"\xc3\xa9")), rng.choice((b"1", b"-1", b"1.5", b"9" * 30, b"x")), rng.choice(times), b"%d" % number)
        )
        for number in range(rng.randrange(6))
    ]
    data = b"\n".join([b",".join(header), *rows])
    return damaged(rng, data, 3) if rng.random() < 0.7 else data


def log_bytes(rng: Random) -> bytes:
    """Lines of a web server's log."""
    lines = [
        b'%b - frank [%b/%b/%b:13:55:36 %b] "%b /x HTTP/1.1" %b %b "-" "agent"'
        % (
            rng.choice((b"203.0.113.7", b"::1", b"\xff", b"-")),
            rng.choice((b"10", b"31", b"00")),
            rng.choice((b"Oct", b"Feb", b"Xxx")),
            rng.choice((b"2026", b"0001", b"9999", b"0000")),
            rng.choice((b"+0000", b"-0700", b"+1400", b"+9999", b"-2359")),
            rng.choice((b"GET", b"", b"get", b"X" * 300)),
            rng.choice((b"200", b"999")),
            rng.choice((b"2326", b"-", b"9" * 5000, b"9" * 30)),
        )
        for _ in range(rng.randrange(6))
    ]
    data = rng.choice((b"\n", b"\r\n")).join(lines)
    return damaged(rng, data, 3) if rng.random() < 0.6 else data


def event_lines(rng: Random) -> bytes:
    """One event a line, each of its own kind of wrong."""
    return b"\n".join(event_bytes(rng, NOW_MS).replace(b"\n", b" ") for _ in range(rng.randrange(5)))
