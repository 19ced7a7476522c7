"""Usage from files: logs and tables that people have, counted independently line by line."""

from __future__ import annotations

import csv
import re
from collections import Counter
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from pathlib import Path
from random import Random

import pytest

from tests.system.cli import ROOT
from tests.system.comparing import assert_all_agree
from tests.system.world import World

pytestmark = pytest.mark.system
SHARED = ROOT.parent / "shared" / "data"
Sums = dict[tuple[str, str], Fraction]


def log_sums(path: Path) -> Sums:
    """Requests and bytes by client address, by a reading of the lines that is not the product's."""
    sums: Counter[tuple[str, str]] = Counter()
    for line in path.read_text(encoding="utf-8", errors="surrogateescape").splitlines():
        address, _, rest = line.partition(" ")
        size = re.findall(r'" \d{3} (\d+|-)', rest)[0]
        sums[address, "requests"] += 1
        sums[address, "egress"] += 0 if size == "-" else int(size)
    return {where: Fraction(total) for where, total in sums.items()}


def trace_sums(path: Path, customer: str) -> Sums:
    """Tokens of a trace by column."""
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    columns = {"generated": "GeneratedTokens", "context": "ContextTokens"}
    return {(customer, meter): Fraction(sum(int(row[column]) for row in rows)) for meter, column in columns.items()}


def lines_of(path: Path) -> int:
    """Non-empty lines."""
    return sum(bool(line.strip()) for line in path.read_bytes().splitlines())


def a_log(path: Path, prefix: str) -> Path:
    """An access log of two days and 40 clients, with equal lines, odd requests and responses without a body."""
    rng = Random(5)
    start = datetime(2015, 5, 17, 10, 5, tzinfo=UTC)
    lines = []
    for number in range(600):
        client = f"{prefix}.{rng.randrange(40)}"
        at = (start + timedelta(seconds=number * 288)).strftime("%d/%b/%Y:%H:%M:%S +0000")
        request = rng.choice(("GET / HTTP/1.1", 'GET /a\\"b HTTP/1.0', "-", "POST /x y HTTP/1.1"))
        line = f'{client} - - [{at}] "{request}" {rng.choice((200, 304, 500))} {rng.choice(("-", str(rng.randrange(10**6))))} "-" "agent \\"x\\""'
        lines += [line] * rng.choice((1, 1, 1, 1, 2))
    path.write_text("\n".join(lines) + "\n")
    return path


def a_trace(path: Path) -> Path:
    """A trace of an hour with equal rows and seven digits of a second."""
    rng = Random(6)
    start = datetime(2023, 11, 16, 18, 17, 3, tzinfo=UTC)
    rows = ["TIMESTAMP,ContextTokens,GeneratedTokens"]
    for number in range(400):
        at = start + timedelta(milliseconds=number * 9113)
        row = f"{at:%Y-%m-%d %H:%M:%S.%f}0,{rng.randrange(5000)},{rng.randrange(800)}"
        rows += [row] * rng.choice((1, 1, 1, 2))
    path.write_text("\n".join(rows) + "\n")
    return path


def shown_sums(world: World, customers: set[str]) -> Sums:
    """What the product says of these customers."""
    rows = world.rows("SELECT customer, meter, toString(sum(quantity)) AS q FROM window_totals GROUP BY customer, meter")
    return {(row["customer"], row["meter"]): Fraction(row["q"]) for row in rows if row["customer"] in customers}


def assert_sent_twice_counts_once(world: World, files: dict[Path, tuple[str, ...]], expected: Sums) -> None:
    """Sends files and then again: after each the totals are those of the lines, and all of the second time are duplicates."""
    before = total_duplicates(world)
    lines = {path: lines_of(path) - ("csv" in arguments) for path, arguments in files.items()}
    for again in (False, True):
        for path, arguments in files.items():
            done = world.command.json("send", *arguments, "--shift-to-now", str(path))
            assert (done["sent"], done["bad"]) == (lines[path], [])
        assert_all_agree(world)
        assert shown_sums(world, {customer for customer, _ in expected}) == expected
        assert total_duplicates(world) - before == sum(lines.values()) * again


def trace_arguments(customer: str) -> tuple[str, ...]:
    """How a trace of a language model's requests is sent."""
    return ("csv", "--customer", customer, "--type", "llm.inference", "--time", "TIMESTAMP", "--value", "GeneratedTokens")


def total_duplicates(world: World) -> int:
    """How many events were counted as duplicates until now."""
    return int(world.rows("SELECT toInt64(countIf(verdict = 'duplicate')) AS n FROM usage_events")[0]["n"])


def test_files_count_as_their_lines(world: World, tmp_path: Path) -> None:
    """An access log's requests and bytes by client, and a table's columns, are those of the lines, however often they are sent."""
    log, trace = a_log(tmp_path / "access.log", "10.0.0"), a_trace(tmp_path / "trace.csv")
    assert_sent_twice_counts_once(world, {log: ("access-log",), trace: trace_arguments("tracer")}, log_sums(log) | trace_sums(trace, "tracer"))


def test_real_files_count_as_their_lines(world: World) -> None:
    """Ten thousand requests of a real web server and two real traces of language models are counted to the byte and the token."""
    log, *traces = (SHARED / name for name in ("apache_access.log", "azure_llm_code.csv", "azure_llm_conv.csv"))
    if absent := [path.name for path in (log, *traces) if not path.exists()]:
        pytest.skip(f"{', '.join(absent)}: real usage is no part of the repository, and there is none beside it")
    files = {log: ("access-log",), **{path: trace_arguments(path.stem) for path in traces}}
    expected = log_sums(log)
    for path in traces:
        expected |= trace_sums(path, path.stem)
    assert_sent_twice_counts_once(world, files, expected)


def test_what_was_unbound_is_billed_once_it_is_bound(world: World, tmp_path: Path) -> None:
    """Usage of a customer whom nobody bills is parked, visible and unbound, and stands at the provider once a binding arrives."""
    path = a_log(tmp_path / "access.log", "client")
    world.command.run("send", "access-log", "--shift-to-now", str(path))
    assert_all_agree(world)
    customer = "client.7"
    assert {row["state"] for row in world.command.json("windows", "--customer", customer)} == {"unbound"}
    world.bind(customer, ("requests", "egress"), int(datetime.now(UTC).timestamp()) - 6 * 86_400, kind="looked_up")
    world.apply()
    ledger = assert_all_agree(world)
    assert {row["state"] for row in world.command.json("windows", "--customer", customer)} == {"delivered"}
    billed = {meter: world.provider.usage(world.bound[customer, meter].item) for meter in ("requests", "egress")}
    assert billed == {meter: ledger.sums[customer, meter] for meter in billed}
    assert {row["item"] for row in world.command.json("bindings", "--customer", customer)} == set(world.bindings[customer].items.values())
