"""How fast one window opens, and what a query has to read for it."""

from __future__ import annotations

import json
import random
import statistics
import time
import urllib.parse
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from sinks.clickhouse.client import ClickHouse
from sinks.clickhouse.explain import explain

GOAL_MS = 15
"""Issue "Invoice truth": a one-window drill-down's median at 10⁸ rows."""
WINDOW = (
    "customer = {customer:String} AND meter = {meter:String} AND occurred_at >= toDateTime64({start_s:Int64}, 6, 'UTC')"
    " AND occurred_at < toDateTime64({end_s:Int64}, 6, 'UTC') AND window_start = toDateTime64({start_s:Int64}, 0, 'UTC')"
)
SPAN = (
    "customer = {customer:String}"
    " AND window_start >= toDateTime64({start_s:Int64}, 0, 'UTC') AND window_start < toDateTime64({end_s:Int64}, 0, 'UTC')"
)
COLUMNS = "event_id, source, quantity, occurred_at, received_at, kafka_partition, kafka_offset, verdict"
QUERIES: Mapping[str, str] = {
    "events of a window (usage_events)": f"SELECT {COLUMNS} FROM usage_events WHERE {WINDOW} ORDER BY kafka_offset LIMIT 10000",
    "sum of a window (usage_events)": f"SELECT sum(quantity), count() FROM usage_events WHERE {WINDOW} AND verdict = 'counted'",
    "recount of a window, by its key": "SELECT * FROM window_recount WHERE customer = {customer:String} AND meter = {meter:String}"
    " AND window_start = toDateTime64({start_s:Int64}, 0, 'UTC')",
    "total of a window (window_totals)": "SELECT * FROM window_totals WHERE customer = {customer:String} AND meter = {meter:String}"
    " AND window_start = toDateTime64({start_s:Int64}, 0, 'UTC')",
    "deliveries of a window": "SELECT * FROM deliveries WHERE customer = {customer:String} AND meter = {meter:String}"
    " AND window_start = toDateTime64({start_s:Int64}, 0, 'UTC')",
}
PERIODS: Mapping[str, str] = {
    "coverage, a customer's month": f"SELECT state, count(), sum(counted) FROM coverage WHERE {SPAN} GROUP BY state",
    "totals, a customer's month": f"SELECT * FROM window_totals WHERE {SPAN} ORDER BY window_start",
}


@dataclass(frozen=True)
class Timing:
    """One question over many windows: milliseconds as a client sees them, and rows that the engine read at the median."""

    name: str
    median_ms: float
    p95_ms: float
    read_rows: int

    def as_dict(self) -> dict[str, Any]:
        """For `--json`."""
        return {"query": self.name, "median_ms": round(self.median_ms, 2), "p95_ms": round(self.p95_ms, 2), "read_rows": self.read_rows}


def windows(clickhouse: ClickHouse, count: int, seed: int) -> list[dict[str, Any]]:
    """Windows drawn among all, heavy and light: the first that follow random customers and hours."""
    rng, found = random.Random(seed), list[dict[str, Any]]()
    most = clickhouse.rows("SELECT max(customer), max(window_start) FROM window_log")[0]
    hours = max(1, int(clickhouse.rows("SELECT dateDiff('hour', min(window_start), max(window_start)) FROM window_log")[0][0]))
    while len(found) < count:
        customer = f"cus_{int(int(most[0][4:]) * rng.random() ** 3):08d}"
        rows = clickhouse.rows(
            "SELECT customer, toString(meter), toInt64(toUnixTimestamp64Milli(toDateTime64(window_start, 3))) / 1000,"
            " toInt64(toUnixTimestamp64Milli(toDateTime64(window_end, 3))) / 1000 FROM window_log"
            " WHERE customer = {c:String} AND window_start >= (SELECT min(window_start) FROM window_log) + toIntervalHour({h:UInt32})"
            " ORDER BY window_start LIMIT 1",
            {"c": customer, "h": rng.randrange(hours)},
        )
        found += [{"customer": c.decode(), "meter": m.decode(), "start_s": int(start), "end_s": int(end)} for c, m, start, end in rows]
    return found


def measure(clickhouse: ClickHouse, count: int, seed: int) -> list[Timing]:
    """Every question, each window once: nothing is answered from the cache of the same question."""
    found = [timed(clickhouse, name, sql, windows(clickhouse, count, seed + at)) for at, (name, sql) in enumerate(QUERIES.items())]
    drawn = windows(clickhouse, count, seed + 50)
    took = [clocked(lambda each=each: explain(clickhouse, each["customer"], each["meter"], each["start_s"])) for each in drawn]  # type: ignore[misc]
    found.append(summary("tidemark explain, all its queries", took, 0))
    month = [each | {"start_s": 0, "end_s": 4_102_444_800} for each in windows(clickhouse, max(3, count // 5), seed + 60)]
    return found + [timed(clickhouse, name, sql, month) for name, sql in PERIODS.items()]


def timed(clickhouse: ClickHouse, name: str, sql: str, asked: list[dict[str, Any]]) -> Timing:
    """One question for each of these."""
    clickhouse.rows(sql, asked[0])
    took = [clocked(lambda each=each: clickhouse.rows(sql, each)) for each in asked[1:]]  # type: ignore[misc]
    read = statistics.median(read_rows(clickhouse, sql, each) for each in asked[:5])
    return summary(name, took, int(read))


def clocked(ask: Callable[[], Any]) -> float:
    """Milliseconds."""
    begun_s = time.perf_counter()
    ask()
    return (time.perf_counter() - begun_s) * 1000


def summary(name: str, took: list[float], read: int) -> Timing:
    """Median and 95th percentile."""
    return Timing(name, statistics.median(took), sorted(took)[int(len(took) * 0.95)], read)


def read_rows(clickhouse: ClickHouse, sql: str, parameters: Mapping[str, Any]) -> int:
    """Rows the engine read for a query, as it says itself (a format that is answered whole carries the summary)."""
    asked = {"query": f"{sql} FORMAT JSONCompact", "database": clickhouse.address.database} | {f"param_{k}": str(v) for k, v in parameters.items()}
    with urllib.request.urlopen(f"{clickhouse.address.url}/?{urllib.parse.urlencode(asked)}", timeout=120) as answer:
        answer.read()
        return int(json.loads(answer.headers.get("X-ClickHouse-Summary", "{}")).get("read_rows", 0))
