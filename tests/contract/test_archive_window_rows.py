"""A window's drill-down from plain rows against the view and the whole query, on ClickHouse's engine: the same rows in every state of the archive."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

import pytest

from infra.embedded.testing import engine_server
from sinks.clickhouse.client import ClickHouse
from sinks.clickhouse.explanation import ExplainedEvent
from sinks.clickhouse.span import event_of, hash_text, query
from sinks.clickhouse.window_rows import Counted, WindowRows
from tests.agents.archive_world import Topics
from tests.contract.archive_engine import archive_at, doubled, write_raw, write_topic
from tests.contract.test_archive_upgrade import first_archive
from tests.core.amend_story import Story
from tests.core.meterlog import Log
from tests.core.test_fold import build_log
from topics.catalog import DEFINITIONS, REJECTED, VERDICTS, WINDOWS
from topics.content_hash import event_hash

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
SELECTING = (
    "SELECT count() FROM raw_events WHERE customer = {customer:String} AND has(meters, {meter:String})"
    " AND toUnixTimestamp64Micro(occurred_at) >= {from_s:Int64} * 1000000 AND toUnixTimestamp64Micro(occurred_at) < {until_s:Int64} * 1000000"
)
"""Rows in a window's time that select its meter, whatever became of them."""


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


def drilled(session: WindowRows, window: Mapping[str, Any], limit: int = 1000, counted: Counted | None = None) -> tuple[ExplainedEvent, ...]:
    """What the drill-down says."""
    return session.events(window["customer"], window["meter"], window["from_s"], window["until_s"], limit, counted)


def content(event: ExplainedEvent) -> tuple[Any, ...]:
    """What of it is hashed."""
    return event.source, event.event_id, event.occurred_at_us, event.scaled


def proof(window: Mapping[str, Any], events: Iterable[ExplainedEvent]) -> Counted:
    """What these count, by the reference."""
    hashes = [
        event_hash(window["customer"], window["meter"], *content(event))
        for event in events
        if event.verdict == "counted"
    ]
    return Counted(len(hashes), hash_text(sum(hashes)))


def hold(clickhouse: ClickHouse, session: WindowRows) -> list[ExplainedEvent]:
    """Windows by all four ways; all events of them."""
    found: list[ExplainedEvent] = []
    for window in windows_of(clickhouse):
        events = drilled(session, window)
        assert events == whole(clickhouse, window) == drilled(session, window, counted=proof(window, events))
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


def test_rows_that_are_what_is_counted_need_no_other_question(engine_url: str) -> None:
    """Where a window's rows have the hash of what is counted nothing else is asked; others among them, one more and one less change no row."""
    clickhouse = archived(engine_url, "drill_known", build_log(77, 300), 77, twice=False)
    told = set[bool]()
    for window in windows_of(clickhouse):
        events = whole(clickhouse, window)
        reader, counted = Counting(clickhouse), proof(window, events)
        assert drilled(WindowRows(reader), window, counted=counted) == events
        has_others = clickhouse.rows(SELECTING, window)[0][0] > counted.events
        if counted.events:
            told.add(has_others)
            asked = [name for name in ("window_counted", "window_marks", "window_rows") if reader.count(name)]
            assert asked == (["window_counted", "window_marks", "window_rows"] if has_others else ["window_counted"])
        for wrong in (Counted(counted.events + 1, counted.hash), Counted(counted.events, proof(window, events[1:]).hash), Counted(0, hash_text(0))):
            assert drilled(WindowRows(clickhouse), window, counted=wrong) == events
    assert told == {True, False}


def test_a_row_that_is_missing_is_not_made_good_by_its_copy(engine_url: str) -> None:
    """Where the row that counted is gone and its copy is there, what the archive counts is less, and the copy is shown as the copy it is."""
    clickhouse = first_archive(engine_url, "drill_gone")
    clickhouse.migrate()
    pairs = (
        (window, events, event)
        for window in windows_of(clickhouse)
        for events in [whole(clickhouse, window)]
        for event in events
        if event.verdict == "counted" and any(content(copy) == content(event) for copy in events if copy != event)
    )
    window, events, gone = next(pairs)
    clickhouse.command("DELETE FROM raw_events WHERE kafka_offset = {at:UInt64}", {"at": gone.offset})
    left = whole(clickhouse, window)
    assert left == tuple(event for event in events if event != gone)
    assert drilled(WindowRows(clickhouse), window, counted=proof(window, left)) == left


def test_rows_of_an_older_program_show_when_they_were_received(engine_url: str) -> None:
    """Rows that were written before the archive's rows became shorter are shown with the instants that their records had."""
    clickhouse = first_archive(engine_url, "drill_first")
    clickhouse.migrate()
    assert {row[0] for row in clickhouse.rows("SELECT DISTINCT layout FROM raw_events")} == {0}
    assert hold(clickhouse, WindowRows(clickhouse))


def test_more_verdicts_than_the_limit_are_asked_with_the_whole_query(engine_url: str) -> None:
    """Where more verdicts lie between a window's rows than may be listed, the one query says what the others cannot, and says the same."""
    clickhouse = archived(engine_url, "drill_many", build_log(75, 300), 75, twice=False)
    reader, limit = Counting(clickhouse), 40
    for window in windows_of(clickhouse):
        assert drilled(WindowRows(reader), window, limit) == whole(clickhouse, window, limit)
    assert reader.count("window_verdicts") and reader.count("window_events")


@pytest.mark.parametrize("limit", [1, 3])
def test_a_window_of_more_events_than_the_limit_shows_its_first(engine_url: str, limit: int) -> None:
    """A window that holds more than may be listed shows the first events of the log, not any."""
    clickhouse = archived(engine_url, f"drill_limit_{limit}", build_log(76, 300), 76, twice=False)
    session = WindowRows(clickhouse)
    windows = windows_of(clickhouse)
    found = [(drilled(session, window, limit), whole(clickhouse, window), whole(clickhouse, window, limit)) for window in windows]
    assert any(len(every) > limit for _, every, _ in found)
    assert all(cut == every[:limit] == first for cut, every, first in found)
