"""Amendments in the archive, on ClickHouse's engine: sums, recounts and conservation hold without knowing of them, and people see who and why."""

from __future__ import annotations

import random
from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import pytest

from infra.amending.amend import LIST
from infra.amending.drafts import NothingToDo, set_to, void
from infra.amending.effects import effects
from infra.amending.finding import find
from infra.embedded.testing import engine_server
from sinks.clickhouse.client import ClickHouse
from sinks.clickhouse.explain import explain
from tests.agents.archive_world import Topics
from tests.contract.archive_engine import archive_at, doubled, write_raw, write_topic
from tests.core.amend_story import Story
from tests.core.amend_world import DAY, FIRST, HOUR, LATER_MS, NOW_S, Account, Bench, correct_data, entry, void_data, voided
from tests.core.meterlog import NOW_MS, Log
from topics.catalog import DEFINITIONS, REJECTED, VERDICTS, WINDOWS
from topics.errors import TidemarkError
from topics.meters import Timing


@pytest.fixture(scope="module")
def engine_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """One engine for the module."""
    with engine_server(tmp_path_factory.mktemp("engine")) as engine:
        yield engine.url


def archived(url: str, name: str, log: Log, *, twice: bool = False) -> tuple[ClickHouse, Topics]:
    """A log, counted by the meter, in a database of its own."""
    rng, topics, clickhouse = random.Random(3), Topics(3, log), archive_at(url, name)
    for topic in (DEFINITIONS, VERDICTS, REJECTED, WINDOWS):
        records = topics.records(topic)
        write_topic(clickhouse, topic, doubled(records, rng) if twice else records)
    for _ in range(2 if twice else 1):
        write_raw(clickhouse, topics.events.records, topics.records(DEFINITIONS))
    return clickhouse, topics


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize("twice", [False, True])
def test_a_log_with_amendments_adds_up_in_every_view(engine_url: str, seed: int, twice: bool) -> None:
    """usage_events sums to the naive account, the newest revision equals the recount with its hash, every difference of integrity is 0, and
    the view of amendments holds each with the meter's own answer; refused ones count nothing."""
    story = Story(seed)
    for _ in range(30):
        story.turn()
    story.settle()
    clickhouse, _ = archived(engine_url, f"amended_{seed}_{int(twice)}", story.bench.log, twice=twice)
    account = Account()
    account.take(story.bench.log.records, story.acting)
    rows = clickhouse.read(
        "SELECT customer, meter, toUnixTimestamp(window_start) AS start, sum(quantity) AS quantity, count() AS events"
        " FROM usage_events WHERE verdict = 'counted' GROUP BY ALL"
    )
    assert {(row["customer"], row["meter"], row["start"]): (Fraction(row["quantity"]), row["events"]) for row in rows} == {
        key: held[:2] for key, held in account.totals().items()
    }
    same = "customer, meter, window_start, window_end, quantity, events, first_offset, through_offset, hash"
    totals = clickhouse.read(f"SELECT {same} FROM window_totals ORDER BY customer, meter, window_start")
    assert totals == clickhouse.read(f"SELECT {same} FROM window_recount ORDER BY customer, meter, window_start")
    for total in totals:
        asked = "customer = {customer:String}, meter = {meter:String}, start = {window_start:String}"
        shown = clickhouse.read(f"SELECT toString(sum(quantity)) AS quantity, count() AS events FROM window_events({asked})", total)
        assert shown == [{"quantity": total["quantity"], "events": total["events"]}]
    hashes = {(row["customer"], row["meter"], row["hash"]) for row in totals}
    assert hashes == {(customer, meter, held[3]) for (customer, meter, _), held in account.totals().items()}
    (integrity,) = clickhouse.read("SELECT * FROM integrity")
    assert {name: value for name, value in integrity.items() if name.endswith("_missing") and value} == {}
    assert (integrity["residual"], integrity["control"]) == (0, 1 + len(story.acting))
    seen = clickhouse.read("SELECT DISTINCT kafka_offset AS o, state, who FROM amendments ORDER BY o")
    assert {row["o"] for row in seen if row["state"] == "applied"} == story.acting
    assert len(seen) == story.made
    assert {row["who"] for row in seen} == {"ann", "replay"}


def test_an_amendment_is_seen_beside_its_event(engine_url: str) -> None:
    """Both rows stand in usage_events, the amendment naming the event; `explain` lists both, and proves every revision with them."""
    bench = Bench()
    bench.event(5)
    offset = bench.event(7)
    bench.amend(voided(offset, 7))
    clickhouse, _ = archived(engine_url, "beside", bench.log)
    rows = clickhouse.read("SELECT event_id, quantity, amends, type FROM usage_events WHERE meter = 'calls' ORDER BY kafka_offset")
    assert [(row["event_id"], row["quantity"], row["amends"]) for row in rows] == [("e1", "5", ""), ("e2", "7", ""), ("a3", "-7", "e2")]
    assert rows[2]["type"] == "tidemark.amend"
    found = explain(clickhouse, FIRST, "calls", NOW_S)
    assert found is not None
    assert [(event.event_id, event.scaled // 10**12) for event in found.events] == [("e1", 5), ("e2", 7), ("a3", -7)]
    assert [revision.is_proved for revision in found.revisions] == [True] * len(found.revisions)
    (listed, _) = clickhouse.read(LIST, {"customer": FIRST, "limit": 10})
    assert (listed["event"], listed["difference"], listed["who"], listed["reason"]) == ("e2", "-7", "ann", "sent twice by hand")


def events_of(bench: Bench) -> dict[str, int]:
    """A log with one of each: counted, sent twice, refused, too late, amended, of two customers."""
    found = {"plain": bench.event(7), "other": bench.event(5)}
    copied = bench.log.records[found["plain"]]
    found["copy"] = bench.log.add(copied.key, copied.value, LATER_MS)
    found["bad"] = bench.event("many")
    found["late"] = bench.event(1, NOW_S - 40 * 86_400)
    # At the start of its windows, not at the event's own instant: a repair may know no other.
    found["set"] = bench.amend(void_data(found["other"], [entry(HOUR, NOW_S + 60, "-2")], kind="set"), NOW_S)
    return found


def test_an_event_is_found_by_id_or_coordinate(engine_url: str) -> None:
    """An id means the record that was counted, though a copy came later; a coordinate means exactly that record; what was amended shows what it
    counts now."""
    bench = Bench()
    at = events_of(bench)
    clickhouse, _ = archived(engine_url, "finding", bench.log)
    found = find(clickhouse, "e1")
    assert (found.of.offset, found.customer, found.verdict) == (at["plain"], FIRST, "counted")
    assert {share.window.meter: share.now_scaled // 10**12 for share in found.shares} == {"calls": 7, "daily": 7}
    assert find(clickhouse, f"0:{at['copy']}").verdict == "duplicate"
    amended = find(clickhouse, "e2")
    assert {share.window.meter: share.now_scaled // 10**12 for share in amended.shares} == {"calls": 3, "daily": 5}
    assert [(past.kind, past.who) for past in amended.history] == [("set", "ann")]
    for name, sentence in (("nobody", "the archive has no event 'nobody'"), ("0:99", "the archive has no event")):
        with pytest.raises(TidemarkError, match=sentence):
            find(clickhouse, name)
    with pytest.raises(TidemarkError, match="of customer 'nobody'"):
        find(clickhouse, "e1", customer="nobody")


@pytest.mark.parametrize(
    ("name", "sentence"), [("copy", "it is a copy"), ("bad", "it was rejected"), ("late", "too late"), ("set", "control record")]
)
def test_what_counts_nothing_is_not_amended(engine_url: str, name: str, sentence: str) -> None:
    """A copy, a rejected event, one that came too late and an amendment itself say what to do instead."""
    bench = Bench()
    at = events_of(bench)
    clickhouse, _ = archived(engine_url, f"nothing_{name}", bench.log)
    with pytest.raises(TidemarkError, match=sentence):
        void(find(clickhouse, f"0:{at[name]}"), "a test", "ann")


def test_an_id_of_several_events_is_not_guessed(engine_url: str) -> None:
    """Where two producers use one id, each event is named with its coordinate, and --source chooses."""
    bench = Bench()
    value = bench.log.records[bench.event(7)].value or b""
    bench.log.add(FIRST.encode(), value.replace(b'"gw"', b'"another"'), LATER_MS)
    clickhouse, _ = archived(engine_url, "several", bench.log)
    with pytest.raises(TidemarkError, match=r"(?s)several events.*0:0:1 counted.*0:0:2 counted"):
        find(clickhouse, "e1")
    assert find(clickhouse, "e1", source="another").of.offset == 2


def test_drafts_from_the_archive_act_on_the_meter(engine_url: str) -> None:
    """What is drafted from the archive acts, and brings the event to exactly what was asked, also the second time; a third time says so."""
    bench = Bench()
    at = events_of(bench)
    clickhouse, _ = archived(engine_url, "drafted", bench.log)
    set_once = set_to(find(clickhouse, "e2"), 9 * 10**12, "calls", "a test", "bob")
    for drafted in (set_once, void(find(clickhouse, "e1"), "a test", "bob")):
        event = drafted.event()
        bench.log.add(event.key, event.value, LATER_MS)
    again, topics = archived(engine_url, "drafted_again", bench.log)
    assert (topics.meter.counters.rejected, topics.meter.counters.control) == (1, 4)
    assert find(again, f"0:{at['other']}").shares[0].now_scaled == 9 * 10**12
    with pytest.raises(NothingToDo, match="counts nothing already: bob amended it"):
        void(find(again, "e1"), "a test", "bob")
    with pytest.raises(NothingToDo, match="counts 9 on meter 'calls' already"):
        set_to(find(again, "e2"), 9 * 10**12, "calls", "a test", "bob")
    sums = {row["meter"]: row["q"] for row in again.read("SELECT meter, sum(quantity) AS q FROM usage_events WHERE verdict='counted' GROUP BY meter")}
    assert sums == {"calls": "9", "daily": "5"}


def test_effects_are_said_before_anything_is_done(engine_url: str) -> None:
    """Each window with what it holds now and then, and whether it is final by the timings in force."""
    bench = Bench(Timing(horizon_ms=7_200_000))
    bench.event(5)
    bench.event(7)
    clickhouse, topics = archived(engine_url, "effects", bench.log)
    draft = void(find(clickhouse, "e2"), "a test", "ann")
    said = effects(clickhouse, draft, topics.meter.state.definitions, NOW_MS + 3_600_000)
    assert [(one.window.meter, one.before_scaled // 10**12, one.after_scaled // 10**12, one.is_final) for one in said] == [
        ("calls", 12, 5, False),
        ("daily", 12, 5, False),
    ]
    later: list[Any] = effects(clickhouse, draft, topics.meter.state.definitions, NOW_MS + 4 * 3_600_000)
    assert [(one.window.meter, one.is_final) for one in later] == [("calls", True), ("daily", False)]
    assert "will be refused" in later[0].means


def test_a_correction_names_no_event(engine_url: str) -> None:
    """A window that was corrected shows the correction among its rows, by no event's name."""
    bench = Bench()
    through = bench.event(5)
    bench.amend(correct_data([entry(HOUR, NOW_S + 60, "37", (0, through))]))
    clickhouse, _ = archived(engine_url, "corrected", bench.log)
    (row,) = clickhouse.read("SELECT kind, amends, meter, delta, state FROM amendments")
    assert row == {"kind": "correct", "amends": "", "meter": "calls", "delta": "37", "state": "applied"}
    assert clickhouse.read("SELECT quantity FROM window_totals WHERE meter = 'calls'") == [{"quantity": "42"}]
    assert clickhouse.read(f"SELECT count() AS n FROM usage_events WHERE meter = '{DAY.slug}'") == [{"n": 1}]
