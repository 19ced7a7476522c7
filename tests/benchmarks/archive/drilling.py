"""How fast one window opens, and what a query has to read for it."""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import psutil

from sinks.clickhouse.client import ClickHouse
from sinks.clickhouse.explain import explain, query
from sinks.clickhouse.window_rows import Counted, WindowRows

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
SHOWN = (
    "event_id, source, quantities[indexOf(meters, {meter:String})] AS quantity, occurred_at, record_received_at AS received_at, kafka_partition,"
    " generation, kafka_offset, type, window_ends[indexOf(meters, {meter:String})] AS window_end"
)
DRILLING: Mapping[str, str] = {
    "events of a window (window_events)": "SELECT * FROM window_events(customer = {customer:String}, meter = {meter:String},"
    " start = {start:String}) LIMIT 10000",
    "events of a window (as one query)": query("window_events"),
    "its bare rows with FINAL, no law 19": f"SELECT {SHOWN} FROM raw_events FINAL WHERE customer = {{customer:String}}"
    " AND occurred_at >= fromUnixTimestamp64Micro({from_s:Int64} * 1000000, 'UTC')"
    " AND occurred_at < fromUnixTimestamp64Micro({until_s:Int64} * 1000000, 'UTC')"
    " AND window_starts[indexOf(meters, {meter:String})] = {start:DateTime64(0, 'UTC')} LIMIT 10000",
    "a query without a table": "SELECT 1",
}
"""A drill-down as an analyst asks it, as one query with joins, as the same rows by key without marks and verdicts, and the engine's answer to
nothing. They and the program's own drill-down are asked in turns of the same windows; the driver reads the answers of all but that."""
KNOWN = "drill-down, as explain asks it"
"""From the window's proof, which was read before: its rows are asked, and their hash says whether they are all that counts. Where the proof tells
of a copy among them, by marks and verdicts."""
JUDGED = "drill-down, by marks and verdicts"
"""Where nothing is known of the window but the marks."""
FIRST = "drill-down, marks asked too"
HEAVY = "the same in heavy windows"
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


Question = Callable[[Mapping[str, Any]], Any]
"""Asks of one window."""
READ_BACK = (
    "SELECT DISTINCT kafka_offset FROM raw_events"
    " WHERE kafka_partition = {p:UInt32} AND generation = {g:UInt32} AND kafka_offset >= {o:UInt64}"
)
"""What a worker asks on assignment (`client.present_raw`), here with the last 3,000 offsets of a partition not yet in `progress`."""
NOT_IN_PROGRESS = 3_000


IN_A_ROW = 10
"""Windows that a question is asked of before it is the next one's turn: whoever drills down does so more than once, and what the processor's caches
hold of the engine (the same questions one by one: half as long again) is theirs; yet a machine that is busy for a while is so to all questions."""


@dataclass(frozen=True)
class Timing:
    """One question over many windows: milliseconds as a client sees them, of CPU (engine and client) each, and what the plan has to read."""

    name: str
    median_ms: float
    p95_ms: float
    least_ms: float
    cpu_ms: float
    read: dict[str, int]

    def as_dict(self) -> dict[str, Any]:
        """For `--json`."""
        rounded = {name: round(getattr(self, name), 2) for name in ("median_ms", "p95_ms", "least_ms", "cpu_ms")}
        return {"query": self.name, "read_rows": self.read} | rounded


SECONDS = "intDiv(toUnixTimestamp64Milli(toDateTime64({}, 3)), 1000)"
WINDOW_SHOWN = f"SELECT customer, toString(meter), {SECONDS.format('window_start')}, {SECONDS.format('window_end')}, events, hash FROM window_log"


def windows(clickhouse: ClickHouse, count: int, seed: int) -> list[dict[str, Any]]:
    """Windows drawn among all, each as likely as any other."""
    drawn = f"{WINDOW_SHOWN} ORDER BY cityHash64(customer, meter, window_start, {{seed:UInt64}}) LIMIT {{count:UInt64}}"
    return [_asked(clickhouse, row) for row in clickhouse.rows(drawn, {"seed": seed, "count": count})]


def heavy(clickhouse: ClickHouse, count: int, seed: int) -> list[dict[str, Any]]:
    """Windows of customers with much usage: every other one among the heaviest eighth, the first window after a random hour."""
    rng, found = random.Random(seed), list[dict[str, Any]]()
    most = clickhouse.rows("SELECT max(customer), max(window_start) FROM window_log")[0]
    hours = max(1, int(clickhouse.rows("SELECT dateDiff('hour', min(window_start), max(window_start)) FROM window_log")[0][0]))
    while len(found) < count:
        customer = f"cus_{int(int(most[0][4:]) * rng.random() ** 3):08d}"
        rows = clickhouse.rows(
            f"{WINDOW_SHOWN} WHERE customer = {{c:String}}"
            " AND window_start >= (SELECT min(window_start) FROM window_log) + toIntervalHour({h:UInt32}) ORDER BY window_start LIMIT 1",
            {"c": customer, "h": rng.randrange(hours)},
        )
        found += [_asked(clickhouse, row) for row in rows]
    return found


def _asked(clickhouse: ClickHouse, row: tuple[Any, ...]) -> dict[str, Any]:
    """What is asked with of a window, and what `explain` knows of it from its proof, which is asked before."""
    name, meter, start_s, end_s, events, content_hash = row
    begun = f"{datetime.fromtimestamp(start_s, UTC):%Y-%m-%d %H:%M:%S}"
    asked = {"customer": name.decode(), "meter": meter.decode(), "start": begun, "start_s": start_s, "end_s": end_s}
    asked |= {"from_s": start_s, "until_s": end_s, "limit": 10_000}
    return asked | {"events": events, "hash": content_hash.decode(), "has_others": _has_others(clickhouse, asked)}


def _has_others(clickhouse: ClickHouse, each: Mapping[str, Any]) -> bool:
    """Whether copies lie in the window's time, as `explain` knows from the fates of its proof."""
    fates = clickhouse.rows(query("span_fates"), {**each, "to_s": each["until_s"]})
    return any(of_meter for fate, _, of_meter in fates if fate != b"counted")


def measure(clickhouse: ClickHouse, engine: psutil.Process, count: int, seed: int, *, only: bool = False) -> list[Timing]:
    """Every question, each window once: nothing is answered from the cache of the same question. `only`: those of one window's drill-down."""
    watch = Watch(clickhouse, engine)
    questions = _questions(clickhouse)
    found = watch.in_turns(questions, windows(clickhouse, count, seed + 40))
    found += [replace(each, name=HEAVY) for each in watch.in_turns({KNOWN: questions[KNOWN]}, heavy(clickhouse, count, seed + 41))]
    if only:
        return found
    found += [watch.timed(name, sql, windows(clickhouse, count, seed + at)) for at, (name, sql) in enumerate(QUERIES.items())]
    found.append(watch.explained(windows(clickhouse, count, seed + 50)))
    ends = clickhouse.rows("SELECT kafka_partition, max(next_offset) FROM progress WHERE topic = 'usage.events' GROUP BY kafka_partition")
    found.append(watch.timed("read-back on assignment", READ_BACK, [{"p": p, "g": 0, "o": max(0, end - NOT_IN_PROGRESS)} for p, end in ends]))
    month = [each | {"start_s": 0, "end_s": 4_102_444_800} for each in windows(clickhouse, max(5, count // 5), seed + 60)]
    return found + [watch.timed(name, sql, month) for name, sql in PERIODS.items()]


def _questions(clickhouse: ClickHouse) -> dict[str, Question]:
    """The program's own drill-down (`tidemark explain` knows total and marks by then, `WindowRows`), from call to events; then those of DRILLING."""
    session = WindowRows(clickhouse)

    def events(rows: WindowRows, each: Mapping[str, Any], counted: Counted | None = None) -> Any:
        return rows.events(each["customer"], each["meter"], each["from_s"], each["until_s"], each["limit"], counted)

    def plain(sql: str) -> Question:
        return lambda each: clickhouse.rows(sql, each)

    own: dict[str, Question] = {
        KNOWN: lambda each: events(session, each, None if each["has_others"] else Counted(each["events"], each["hash"])),
        JUDGED: lambda each: events(session, each),
        FIRST: lambda each: events(WindowRows(clickhouse), each),
    }
    return own | {name: plain(sql) for name, sql in DRILLING.items()}


def _turns(names: list[str], asked: list[dict[str, Any]]) -> Iterator[tuple[str, dict[str, Any]]]:
    for at in range(0, len(asked), IN_A_ROW):
        for name in names:
            yield from ((name, each) for each in asked[at : at + IN_A_ROW])


def _timing(name: str, took: list[float], cpu_ms: float, read: dict[str, int]) -> Timing:
    return Timing(name, statistics.median(took), sorted(took)[int(len(took) * 0.95)], min(took), cpu_ms, read)


class Watch:
    """Times questions to one engine."""

    def __init__(self, clickhouse: ClickHouse, engine: psutil.Process) -> None:
        self._clickhouse = clickhouse
        self._processes = (engine, psutil.Process())

    def in_turns(self, named: Mapping[str, Question], asked: list[dict[str, Any]]) -> list[Timing]:
        """Each question asked of IN_A_ROW windows, then the next question of the same; the first answer of each question warms up."""
        took: dict[str, list[float]] = {name: [] for name in named}
        cpu_s = dict.fromkeys(named, 0.0)
        for name, each in _turns(list(named), asked):
            before_s, begun_s = self._cpu_s(), time.perf_counter()
            named[name](each)
            took[name].append((time.perf_counter() - begun_s) * 1000)
            cpu_s[name] += self._cpu_s() - before_s
        read = {name: self._read(sql, asked[0]) for name, sql in DRILLING.items() if name in named}
        return [_timing(name, took[name][1:], cpu_s[name] * 1000 / len(asked), read.get(name, {})) for name in named]

    def timed(self, name: str, sql: str, asked: list[dict[str, Any]]) -> Timing:
        """One question for each of these; the first warms up."""
        read = self._read(sql, asked[0])
        return self._summed(name, [lambda each=each: self._clickhouse.rows(sql, each) for each in asked], read)  # type: ignore[misc]

    def _read(self, sql: str, asked: Mapping[str, Any]) -> dict[str, int]:
        return {table.decode(): rows for _, table, _, rows, _ in self._clickhouse.rows(f"EXPLAIN ESTIMATE {sql}", asked)}

    def explained(self, asked: list[dict[str, Any]]) -> Timing:
        """`tidemark explain` of each of these windows, all of its queries together."""

        def one(each: dict[str, Any]) -> Any:
            return explain(self._clickhouse, each["customer"], each["meter"], each["start_s"])

        return self._summed("tidemark explain, all its queries", [lambda each=each: one(each) for each in asked], {})  # type: ignore[misc]

    def _summed(self, name: str, questions: list[Callable[[], Any]], read: dict[str, int]) -> Timing:
        questions[0]()
        took: list[float] = []
        cpu_s = self._cpu_s()
        for ask in questions[1:]:
            begun_s = time.perf_counter()
            ask()
            took.append((time.perf_counter() - begun_s) * 1000)
        cpu_ms = (self._cpu_s() - cpu_s) * 1000 / len(took)
        return _timing(name, took, cpu_ms, read)

    def _cpu_s(self) -> float:
        return sum(times.user + times.system for times in (process.cpu_times() for process in self._processes))
