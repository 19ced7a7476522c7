"""The views against a naive account of the log, on ClickHouse's engine: doubled records, marks, proofs, conservation (laws 18, 19)."""

from __future__ import annotations

import json
import random
from collections import Counter, defaultdict
from collections.abc import Iterator
from fractions import Fraction
from typing import Any
from urllib.parse import urlencode
from urllib.request import Request, urlopen

import pytest

from infra.embedded.testing import engine_server
from sinks.clickhouse.client import ClickHouse
from sinks.clickhouse.explain import query
from tests.agents.archive_world import Topics
from tests.contract.archive_engine import archive_at, doubled, write_raw, write_topic
from tests.core.meterlog import Stored
from tests.core.naive import Naive
from tests.core.test_fold import HOME, PLAIN, TIMING, build_log
from topics.catalog import DEFINITIONS, REJECTED, VERDICTS, WINDOWS


@pytest.fixture(scope="module")
def engine_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """One engine for the module."""
    with engine_server(tmp_path_factory.mktemp("engine")) as engine:
        yield engine.url


def naive_account(records: list[Stored]) -> Naive:
    """What the log means, by code that is not the product's."""
    naive = Naive(PLAIN, dedup_ms=TIMING.dedup_ms, horizon_ms=TIMING.horizon_ms, future_ms=TIMING.future_ms, at_home=set(HOME))
    for record in records:
        naive.take(record)
    return naive


def archived(url: str, seed: int, *, twice: bool) -> tuple[ClickHouse, Topics, Naive]:
    """A hostile log, judged by the meter, in a database of its own; `twice` doubles records of every topic at random."""
    rng = random.Random(seed)
    topics = Topics(seed, build_log(seed, 300))
    clickhouse = archive_at(url, f"views_{seed}_{int(twice)}")
    for topic in (DEFINITIONS, VERDICTS, REJECTED, WINDOWS):
        records = topics.records(topic)
        write_topic(clickhouse, topic, doubled(records, rng) if twice else records)
    for _ in range(2 if twice else 1):
        write_raw(clickhouse, topics.events.records, topics.records(DEFINITIONS))
    return clickhouse, topics, naive_account(topics.events.records)


@pytest.mark.parametrize("seed", [11, 12, 13])
@pytest.mark.parametrize("twice", [False, True])
def test_usage_events_are_the_naive_account(engine_url: str, seed: int, twice: bool) -> None:
    """Sums, counts and verdicts of `usage_events` equal an account kept apart, also when every output record was written twice (H33)."""
    clickhouse, _, naive = archived(engine_url, seed, twice=twice)
    rows = clickhouse.read(
        "SELECT customer, meter, toUnixTimestamp(window_start) AS start, sum(quantity) AS quantity, count() AS events"
        " FROM usage_events WHERE verdict = 'counted' GROUP BY ALL"
    )
    sums = {(row["customer"], row["meter"], row["start"]): (Fraction(row["quantity"]), row["events"]) for row in rows}
    assert sums == {key: (naive.sums[key], naive.events[key]) for key in naive.events}
    verdicts = clickhouse.read("SELECT kafka_offset, any(verdict) AS verdict FROM usage_events GROUP BY kafka_offset")
    assert {row["kafka_offset"]: row["verdict"] for row in verdicts} == {
        offset: _class(verdict) for offset, verdict in naive.verdicts.items() if _class(verdict) is not None
    }


@pytest.mark.parametrize("seed", [11, 12])
def test_window_events_are_the_counted_rows_of_each_window(engine_url: str, seed: int) -> None:
    """A window asked for by its key shows the rows that `usage_events` counts in it, each with its quantity, and no other."""
    clickhouse, _, _ = archived(engine_url, seed, twice=True)
    columns = "kafka_partition, generation, kafka_offset, event_id, source, toString(quantity) AS quantity, occurred_at, received_at, window_end"
    windows = clickhouse.read("SELECT DISTINCT customer, meter, toString(window_start) AS start FROM usage_events WHERE verdict = 'counted'")
    assert len(windows) > 10
    for window in windows:
        shown = clickhouse.read(
            f"SELECT {columns} FROM window_events(customer = {{customer:String}}, meter = {{meter:String}}, start = {{start:String}})", window
        )
        counted = clickhouse.read(
            f"SELECT {columns} FROM usage_events WHERE customer = {{customer:String}} AND meter = {{meter:String}}"
            " AND toString(window_start) = {start:String} AND verdict = 'counted' ORDER BY generation, kafka_offset",
            window,
        )
        assert shown == counted


@pytest.mark.parametrize("nulls", [0, 1])
def test_the_events_of_an_explanation_are_there_whatever_a_profile_says_of_joins(engine_url: str, nulls: int) -> None:
    """A server whose profile has join_use_nulls shows the counted events of a window too, not only its duplicates."""
    clickhouse, _, _ = archived(engine_url, 13, twice=nulls == 1)
    statement = query("window_events")
    windows = clickhouse.read(
        "SELECT customer, meter, toUnixTimestamp(window_start) AS from_s, toUnixTimestamp(window_end) AS until_s, 1000 AS limit,"
        " groupArray(kafka_offset) AS offsets FROM (SELECT * FROM usage_events WHERE verdict = 'counted' ORDER BY kafka_offset) GROUP BY ALL"
    )
    assert len(windows) > 10
    for window in windows[:10]:
        arguments = {"database": f"views_13_{nulls}", "join_use_nulls": nulls, "default_format": "JSONEachRow"}
        arguments |= {f"param_{name}": value for name, value in window.items() if name != "offsets"}
        request = Request(f"{engine_url}/?{urlencode(arguments)}", statement.encode(), {"Content-Type": "text/plain"})
        with urlopen(request) as answer:
            shown = [json.loads(line) for line in answer.read().splitlines()]
        assert sorted(int(row["kafka_offset"]) for row in shown if row["fate"] == "counted") == window["offsets"]


def _class(verdict: str) -> str | None:
    if verdict in {"rerouted", "control"}:
        return None
    return verdict if verdict in {"counted", "duplicate", "too_late"} else "rejected"


@pytest.mark.parametrize("twice", [False, True])
def test_totals_revisions_recount_and_hash_agree(engine_url: str, twice: bool) -> None:
    """The newest revision of each window equals the recount of its raw events: quantity, events, offsets and content hash, digit by digit."""
    clickhouse, topics, naive = archived(engine_url, 21, twice=twice)
    same = (
        "customer, meter, toUnixTimestamp(window_start) AS s, toUnixTimestamp(window_end) AS e, quantity, events, first_offset, through_offset, hash"
    )
    totals = clickhouse.read(f"SELECT {same} FROM window_totals ORDER BY customer, meter, s")
    assert totals == clickhouse.read(f"SELECT {same} FROM window_recount ORDER BY customer, meter, s")
    assert len(totals) == len(naive.events)
    revisions = clickhouse.read(
        "SELECT count() AS n, uniqExact(customer, meter, window_start, generation, through_offset) AS u FROM window_revisions"
    )
    assert revisions == [{"n": len({record.value for record in topics.records(WINDOWS)})} | {"u": revisions[0]["n"]}]
    assert sum(row["revisions"] for row in clickhouse.read("SELECT revisions FROM window_totals")) == revisions[0]["n"]


@pytest.mark.parametrize("twice", [False, True])
def test_integrity_is_zero_when_everything_is_there(engine_url: str, twice: bool) -> None:
    """Every difference between the meter's own conservation and the archive is 0, and becomes visible when one raw row is missing."""
    clickhouse, topics, naive = archived(engine_url, 31, twice=twice)
    row = clickhouse.read("SELECT * FROM integrity")[0]
    assert {name: value for name, value in row.items() if name.endswith("_missing") or name == "residual"} == dict.fromkeys(
        [name for name in row if name.endswith("_missing") or name == "residual"], 0
    )
    assert row["next_offset"] == topics.events.end
    counted = Counter(_class(verdict) for verdict in naive.verdicts.values())
    assert (row["counted"], row["duplicate"], row["rejected"], row["too_late"]) == tuple(
        counted[name] for name in ("counted", "duplicate", "rejected", "too_late")
    )
    gone = clickhouse.read("SELECT kafka_offset AS o FROM usage_events WHERE verdict = 'counted' LIMIT 1")[0]["o"]
    clickhouse.command(f"ALTER TABLE raw_events DELETE WHERE kafka_offset = {gone} SETTINGS mutations_sync = 1")
    assert clickhouse.read("SELECT counted_missing FROM integrity") == [{"counted_missing": 1}]


def test_nothing_is_seen_past_the_mark(engine_url: str) -> None:
    """Raw rows at or past the archived mark, whatever wrote them, are in no view: an event is never seen without its verdict (H34)."""
    topics = Topics(41, build_log(41, 1500))
    clickhouse = archive_at(engine_url, "views_mark")
    write_raw(clickhouse, topics.events.records, topics.records(DEFINITIONS))
    assert clickhouse.read("SELECT count() AS n FROM usage_events") == [{"n": 0}]
    verdicts = topics.records(VERDICTS)
    marks = [at for at, record in enumerate(verdicts) if record.key is None and b'"mark"' in (record.value or b"")]
    assert len(marks) >= 3
    naive = naive_account(topics.events.records)
    for at in (marks[0], marks[len(marks) // 2], marks[-1]):
        write_topic(clickhouse, VERDICTS, verdicts[: at + 1])
        mark = clickhouse.read("SELECT max(next_offset) AS m FROM mark_log")[0]["m"]
        shown = clickhouse.read("SELECT kafka_offset, any(verdict) AS verdict FROM usage_events GROUP BY kafka_offset")
        wanted = {offset: _class(v) for offset, v in naive.verdicts.items() if offset < mark and _class(v) is not None}
        assert {row["kafka_offset"]: row["verdict"] for row in shown} == wanted
    assert clickhouse.read("SELECT max(next_offset) AS m FROM mark_log") == [{"m": topics.events.end}]


def test_window_events_show_nothing_past_the_mark(engine_url: str) -> None:
    """A window shows each event that counts below the archived mark once, and no raw row past it, also while several marks are unmerged (H34)."""
    topics = Topics(42, build_log(42, 600))
    clickhouse = archive_at(engine_url, "views_window_mark")
    clickhouse.command("SYSTEM STOP MERGES mark_log")
    write_raw(clickhouse, topics.events.records, topics.records(DEFINITIONS))
    windows = clickhouse.read(
        "SELECT DISTINCT customer, toString(meter) AS meter, toString(start) AS start"
        " FROM raw_events ARRAY JOIN meters AS meter, window_starts AS start ORDER BY ALL"
    )
    asked = random.Random(42).sample(windows, 12)
    verdicts = topics.records(VERDICTS)
    marks = [at for at, record in enumerate(verdicts) if record.key is None and b'"mark"' in (record.value or b"")]
    assert len(marks) >= 2
    sizes = []
    for at in (marks[len(marks) // 2 - 1], marks[-1]):
        write_topic(clickhouse, VERDICTS, verdicts[: at + 1])
        counted: dict[tuple[str, str, str], list[int]] = defaultdict(list)
        for row in clickhouse.read(
            "SELECT customer, meter, toString(window_start) AS start, kafka_offset FROM usage_events WHERE verdict = 'counted' ORDER BY kafka_offset"
        ):
            counted[row["customer"], row["meter"], row["start"]].append(row["kafka_offset"])
        for window in asked:
            shown = clickhouse.read(
                "SELECT kafka_offset FROM window_events(customer = {customer:String}, meter = {meter:String}, start = {start:String})", window
            )
            assert [row["kafka_offset"] for row in shown] == counted[window["customer"], window["meter"], window["start"]]
        sizes.append(sum(len(counted[window["customer"], window["meter"], window["start"]]) for window in asked))
    assert sizes[0] < sizes[1]
    assert clickhouse.read("SELECT count() > uniqExact(kafka_partition, generation) AS is_unmerged FROM mark_log") == [{"is_unmerged": 1}]


def test_the_rejected_keep_their_exact_bytes(engine_url: str) -> None:
    """Key, value and headers of every rejected event come back byte for byte, invalid UTF-8 and NUL included, with reason and sentence."""
    clickhouse, topics, naive = archived(engine_url, 51, twice=True)
    rows = clickhouse.rows("SELECT kafka_offset, customer, key_is_null, value, header_names, header_values, reason, sentence FROM rejected_events")
    stored = {record.offset: record for record in topics.events.records}
    reasons = {offset: v for offset, v in naive.verdicts.items() if _class(v) in {"rejected", "too_late"}}
    assert {row[0]: row[6].decode() for row in rows} == reasons
    assert len(rows) == len(reasons)
    for offset, key, key_is_null, value, names, values, _, sentence in rows:
        record = stored[offset]
        assert (None if key_is_null else key) == record.key
        assert value == (record.value or b"")
        assert [(name.decode(), data) for name, data in zip(names, values, strict=True)] == list(record.headers)
        assert sentence


def test_columns_of_usage_events_are_those_of_the_surfaces(engine_url: str) -> None:
    """The view has the promised columns first and in order, and offsets, revisions and generations are 64-bit where they are offsets (H35)."""
    clickhouse = archive_at(engine_url, "views_schema")
    columns = [row["name"] for row in clickhouse.read("DESCRIBE TABLE usage_events")]
    assert columns[:12] == [
        "event_id", "source", "customer", "meter", "quantity", "occurred_at", "received_at", "kafka_partition", "kafka_offset", "verdict",
        "window_start", "window_end",
    ]  # fmt: skip
    types: dict[str, dict[str, str]] = defaultdict(dict)
    for row in clickhouse.read("SELECT table, name, type FROM system.columns WHERE database = currentDatabase()"):
        types[row["table"]][row["name"]] = row["type"]
    for table, found in types.items():
        for name, kind in found.items():
            if name.endswith("_offset") or name in {"through_offset", "revision", "next_offset"}:
                assert kind == "UInt64", f"{table}.{name} is {kind}"
            if name.endswith("quantity"):
                assert kind.startswith("Decimal("), f"{table}.{name} is {kind}"
    views: set[Any] = {row["name"] for row in clickhouse.read("SHOW TABLES")}
    assert {"usage_events", "window_totals", "window_revisions", "deliveries", "rejected_events", "bindings", "coverage"} <= views
