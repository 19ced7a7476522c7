"""A window's drill-down from plain rows against the view and the whole query, on ClickHouse's engine: the same rows in every state of the archive."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from typing import Any, Final

import pytest

from infra.embedded.testing import engine_server
from sinks.clickhouse import window_rows
from sinks.clickhouse.client import ClickHouse
from sinks.clickhouse.explanation import ExplainedEvent
from sinks.clickhouse.span import event_of, query
from sinks.clickhouse.window_rows import WindowRows
from tests.agents.archive_world import Topics
from tests.contract.archive_engine import archive_at, doubled, write_raw, write_topic
from tests.core.amend_story import Story
from tests.core.meterlog import Log
from tests.core.test_fold import build_log
from topics.catalog import DEFINITIONS, REJECTED, VERDICTS, WINDOWS

SECONDS = "intDiv(toUnixTimestamp64Milli(toDateTime64({}, 3, 'UTC')), 1000)"
WINDOWS_THERE = (
    f"SELECT customer, toString(meter) AS meter, {SECONDS.format('start')} AS from_s, {SECONDS.format('end')} AS until_s,"
    " toString(start) AS begun FROM raw_events ARRAY JOIN meters AS meter, window_starts AS start, window_ends AS end GROUP BY ALL"
    " ORDER BY countIf((customer, kafka_offset) IN (SELECT customer, kafka_offset FROM verdict_log WHERE verdict = 'duplicate')) DESC,"
    " count() DESC, customer, meter, from_s"
)
EACH_END: Final = 8
"""Windows that a test asks for: so many of those with the most duplicates and events, and as many of the emptiest."""
VIEW = (
    "SELECT event_id, source, quantity, toUnixTimestamp64Micro(occurred_at), toUnixTimestamp64Milli(received_at), kafka_partition, generation,"
    " kafka_offset, type FROM window_events(customer = {customer:String}, meter = {meter:String}, start = {begun:String})"
    f" WHERE {SECONDS.format('window_end')} = {{until_s:Int64}}"
)


@pytest.fixture(scope="module")
def engine_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """One engine for the module."""
    with engine_server(tmp_path_factory.mktemp("engine")) as engine:
        yield engine.url


def windows_of(clickhouse: ClickHouse) -> list[dict[str, Any]]:
    """Some windows of the log."""
    found = clickhouse.read(WINDOWS_THERE)
    return found if len(found) <= 2 * EACH_END else found[:EACH_END] + found[-EACH_END:]


class Counting:
    """A reader that keeps which questions were asked."""

    def __init__(self, clickhouse: ClickHouse) -> None:
        self.clickhouse = clickhouse
        self.asked: list[str] = []

    def rows(self, sql: str, parameters: Mapping[str, Any] | None = None) -> list[tuple[Any, ...]]:
        """The whole query."""
        self.asked.append(sql)
        return self.clickhouse.rows(sql, parameters)

    def binary(self, sql: str, parameters: Mapping[str, Any] | None = None) -> bytes:
        """A plain one."""
        self.asked.append(sql)
        return self.clickhouse.binary(sql, parameters)

    def count(self, name: str) -> int:
        """How often one was asked."""
        return self.asked.count(query(name))


def whole(clickhouse: ClickHouse, window: Mapping[str, Any], limit: int = 1000) -> tuple[ExplainedEvent, ...]:
    """What one query says, with FINAL and joins."""
    return tuple(event_of(row) for row in clickhouse.rows(query("window_events"), {**window, "limit": limit}))


def drilled(session: WindowRows, window: Mapping[str, Any], limit: int = 1000) -> tuple[ExplainedEvent, ...]:
    """What the drill-down says."""
    return session.events(window["customer"], window["meter"], window["from_s"], window["until_s"], limit)


def hold(clickhouse: ClickHouse, session: WindowRows) -> list[ExplainedEvent]:
    """Windows by all three ways; all events of them."""
    found: list[ExplainedEvent] = []
    for window in windows_of(clickhouse):
        events = drilled(session, window)
        assert events == whole(clickhouse, window)
        viewed = [event_of((*_of_view(row), window["from_s"], row[8])) for row in clickhouse.rows(VIEW, window)]
        assert [event for event in events if event.verdict == "counted"] == viewed
        found += events
    return found


def _of_view(row: tuple[Any, ...]) -> tuple[Any, ...]:
    event_id, source, quantity, occurred_at_us, received_at_ms, partition, generation, offset, _ = row
    return generation, offset, partition, event_id, source, occurred_at_us, received_at_ms, b"counted", quantity


def archived(url: str, name: str, log: Log, seed: int, *, twice: bool) -> ClickHouse:
    """A log as the meter judged it, nothing merged; `twice`: doubled records of every topic."""
    rng, topics, clickhouse = random.Random(seed), Topics(seed, log), archive_at(url, name)
    for table in ("raw_events", "verdict_log", "mark_log"):
        clickhouse.command(f"SYSTEM STOP MERGES {table}")
    for topic in (DEFINITIONS, VERDICTS, REJECTED, WINDOWS):
        records = topics.records(topic)
        write_topic(clickhouse, topic, doubled(records, rng) if twice else records)
    write_raw(clickhouse, topics.events.records, topics.records(DEFINITIONS))
    if twice:
        again = rng.sample(topics.events.records, len(topics.events.records) // 8)
        write_raw(clickhouse, sorted(again, key=lambda record: record.offset), topics.records(DEFINITIONS))
    return clickhouse


@pytest.mark.parametrize("seed", [71, 72])
@pytest.mark.parametrize("twice", [False, True])
def test_a_drill_down_is_what_the_view_shows(engine_url: str, seed: int, twice: bool) -> None:
    """Counted, late and duplicate events of every window of a hostile log are the view's, digit by digit, doubled and unmerged rows among them."""
    clickhouse = archived(engine_url, f"drill_{seed}_{int(twice)}", build_log(seed, 300), seed, twice=twice)
    reader = Counting(clickhouse)
    events = hold(clickhouse, WindowRows(reader))
    assert {event.verdict for event in events} == {"counted", "duplicate"}
    assert reader.count("window_marks") == 1
    plain, asked_whole = reader.count("window_rows"), reader.count("window_events")
    assert 0 < asked_whole < plain if twice else asked_whole == 0


@pytest.mark.parametrize("twice", [False, True])
def test_a_drill_down_shows_amendments_as_the_view_does(engine_url: str, twice: bool) -> None:
    """Amendments that act stand among the events of their window with their difference, negative ones too; those that do not act are nowhere."""
    story = Story(5)
    for _ in range(25):
        story.turn()
    story.settle()
    clickhouse = archived(engine_url, f"drill_amended_{int(twice)}", story.bench.log, 5, twice=twice)
    amended = [event for event in hold(clickhouse, WindowRows(clickhouse)) if event.type == "tidemark.amend"]
    assert {event.offset for event in amended} <= story.acting
    assert any(event.scaled < 0 for event in amended)


def test_a_drill_down_shows_nothing_past_the_mark(engine_url: str) -> None:
    """Rows that wait for their verdict are not shown, a session that knows an older mark asks for the newer one, and shows what that allows (H34)."""
    topics, clickhouse = Topics(73, build_log(73, 600)), archive_at(engine_url, "drill_mark")
    clickhouse.command("SYSTEM STOP MERGES mark_log")
    write_raw(clickhouse, topics.events.records, topics.records(DEFINITIONS))
    reader = Counting(clickhouse)
    session = WindowRows(reader)
    assert hold(clickhouse, session) == []
    verdicts = topics.records(VERDICTS)
    marks = [at for at, record in enumerate(verdicts) if record.key is None and b'"mark"' in (record.value or b"")]
    assert len(marks) >= 2
    shown = []
    for at in (marks[len(marks) // 2 - 1], marks[-1]):
        write_topic(clickhouse, VERDICTS, verdicts[: at + 1])
        shown.append(len(hold(clickhouse, session)))
    assert 0 < shown[0] < shown[1]
    asked = reader.count("window_marks")
    hold(clickhouse, session)
    assert reader.count("window_marks") == asked


def test_verdicts_that_are_stored_beyond_the_mark_show_no_row(engine_url: str) -> None:
    """A verdict whose mark is not stored yet does not make its row appear, and an older mark that is given shows no more than the newest does."""
    topics, clickhouse = Topics(74, build_log(74, 300)), archive_at(engine_url, "drill_beyond")
    write_raw(clickhouse, topics.events.records, topics.records(DEFINITIONS))
    write_topic(clickhouse, VERDICTS, [record for record in topics.records(VERDICTS) if record.key is not None])
    assert clickhouse.rows("SELECT count() FROM verdict_log")[0][0] > 0
    assert hold(clickhouse, WindowRows(clickhouse)) == []
    write_topic(clickhouse, VERDICTS, topics.records(VERDICTS))
    assert hold(clickhouse, WindowRows(clickhouse, {(0, 0): 20}))


def test_a_customer_with_many_verdicts_is_asked_for_those_of_the_window(engine_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the customer has more verdicts than are asked for at once, those between the window's offsets are, and the rows are the same."""
    clickhouse = archived(engine_url, "drill_many", build_log(75, 300), 75, twice=False)
    monkeypatch.setattr(window_rows, "FEW_VERDICTS", 1)
    reader = Counting(clickhouse)
    hold(clickhouse, WindowRows(reader))
    assert reader.count("window_verdicts") > 0


@pytest.mark.parametrize("limit", [1, 3])
def test_a_window_of_more_events_than_the_limit_shows_its_first(engine_url: str, limit: int) -> None:
    """A window that holds more than may be listed shows the first events of the log, not any."""
    clickhouse = archived(engine_url, f"drill_limit_{limit}", build_log(76, 300), 76, twice=False)
    session = WindowRows(clickhouse)
    windows = windows_of(clickhouse)
    found = [(drilled(session, window, limit), whole(clickhouse, window), whole(clickhouse, window, limit)) for window in windows]
    assert any(len(every) > limit for _, every, _ in found)
    assert all(cut == every[:limit] == first for cut, every, first in found)
