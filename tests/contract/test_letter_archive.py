"""Dead letters as ClickHouse's engine has them: the same answers as the model that the replays are tested against, and the money."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator
from typing import Any

import pytest

from infra.embedded.testing import engine_server
from infra.letters import archive as archive_module
from infra.letters.archive import LetterArchive, Selection
from infra.letters.letter import Letter, State
from infra.letters.listing import look
from infra.letters.replay import Order, replay
from sinks.clickhouse.client import ClickHouse
from sinks.clickhouse.in_force import InForce
from sinks.clickhouse.record_rows import TABLE_OF, batch_rows, mark_row
from sinks.clickhouse.rows import RawRecord, RawRows
from sinks.clickhouse.tables import MARK, PROGRESS, RAW, columns_of
from tests.contract.archive_engine import archive_at
from tests.core.letter_world import ModelArchive, ModelLog, World
from tests.core.meterlog import PARTITIONS, Log, batch_of
from tests.core.test_letter_replay import FIX, MONTHS_MS, TIMING, order_of, run, send_some
from topics.batch import Batch
from topics.catalog import DEFINITIONS, EVENTS, REJECTED, VERDICTS
from topics.codec import encode
from topics.definitions import decode_definition


@pytest.fixture(scope="module")
def engine_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """One engine for the module."""
    with engine_server(tmp_path_factory.mktemp("engine")) as engine:
        yield engine.url


def write(clickhouse: ClickHouse, world: World) -> None:
    """Everything that the world's archive has, as the worker would have written it."""
    for each in world.partitions:
        in_force = InForce()
        for send in each.said[DEFINITIONS]:
            in_force.add(decode_definition(send.value, "test"))
        for topic in (DEFINITIONS, VERDICTS, REJECTED):
            log = Log()
            for send in each.said[topic]:
                log.add(send.key, send.value, world.now_ms, tuple(send.headers))
            plain = batch_of(log.records, 0, log.end)
            whole = {name: getattr(plain, name) for name in Batch.__slots__} | {"topic": topic, "partition": each.number}
            rows = batch_rows(Batch(**whole), frozenset())
            if rows.rows:
                clickhouse.insert(TABLE_OF[topic], columns_of(rows.rows, TABLE_OF[topic]))
            if rows.mark is not None:
                clickhouse.insert(MARK, columns_of([mark_row(rows.mark)], MARK))
        raw = [RawRecord(r.offset, r.timestamp_ms, r.key, r.value, r.headers) for r in each.log.records if r.offset < world.archived[each.number]]
        if raw:
            clickhouse.insert(RAW, RawRows(each.number, 0, in_force).columns(raw))
        clickhouse.insert(PROGRESS, [[EVENTS], [each.number], [0], [world.archived[each.number]]])


def lived(seed: int) -> World:
    """A world in which letters were sent, by operators and producers, and the archive is somewhere in the middle."""
    world, rng = World(seed, TIMING), random.Random(seed)
    for _ in range(5):
        send_some(world, rng, 30)
        world.fold()
        run(world, order_of(rng))
        world.now_ms += rng.choice((0, MONTHS_MS))
    world.fold()
    return world


def plain(letter: Letter) -> Any:
    """Without when it was rejected, which the model has no clock for."""
    return letter._replace(rejected_at_ms=0, headers=tuple(letter.headers))


@pytest.mark.parametrize("seed", [1, 2])
def test_the_archive_answers_as_the_model(engine_url: str, seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Letters, replays by origin, records by id, what is gone, definitions and progress are those of the model, byte for byte."""
    world = lived(seed)
    clickhouse = archive_at(engine_url, f"letters_{seed}")
    write(clickhouse, world)
    archive, model = LetterArchive(clickhouse), ModelArchive(world)
    monkeypatch.setattr(archive_module, "FETCHED", 5)
    monkeypatch.setattr(archive_module, "PAGE", 2)  # so that letters of one millisecond lie on two pages
    letters = model.letters()
    assert [plain(one) for page in archive.pages(Selection()) for one in page] == [plain(one) for one in letters]
    some = letters[len(letters) // 2]
    for selection, wanted in (
        (Selection(reason="bad_quantity"), [one for one in letters if one.reason == "bad_quantity"]),
        (Selection(source="gw", customer="c1"), [one for one in letters if one.source == "gw" and "c1" in {one.subject, (one.key or b"").decode()}]),
        (Selection(names=(some.name,)), [some]),
    ):
        assert [plain(one) for page in archive.pages(selection) for one in page] == [plain(one) for one in wanted]
    assert archive.archived_to() == model.archived_to()
    by_origin = {origin: sorted(set(fates)) for origin, fates in archive.replays(0).items()}
    assert by_origin == {origin: sorted(fates) for origin, fates in model.replays(0).items()}
    assert {origin for origin in by_origin if origin in {one.coordinate for one in letters}}, "no letter was sent again: the test proves nothing"
    ids = [one.id for one in letters if one.id is not None]
    assert {event: sorted(set(fates)) for event, fates in archive.same_ids(ids).items()} == {
        event: sorted(fates) for event, fates in model.same_ids(ids).items()
    }
    assert archive.gone(Selection()) == model.gone(Selection())
    assert [(said.partition, encode(said.definition)) for said in archive.definitions()] == [
        (said.partition, encode(said.definition)) for said in model.definitions()
    ]


def test_what_a_dropped_month_held_is_gone(engine_url: str) -> None:
    """After a month of raw events is dropped, the letters of that month are `gone` and those of later months are not."""
    world = World(9, TIMING)
    send_some(world, random.Random(9), 40)
    world.fold(all_=True)
    first = {letter.coordinate for letter in ModelArchive(world).letters()}
    world.now_ms += MONTHS_MS
    send_some(world, random.Random(10), 40)
    world.fold(all_=True)
    clickhouse = archive_at(engine_url, "letters_dropped")
    write(clickhouse, world)
    assert LetterArchive(clickhouse).gone(Selection()) == set()
    month = clickhouse.read("SELECT min(toYYYYMM(log_time)) AS month FROM raw_events")[0]["month"]
    clickhouse.command(f"ALTER TABLE raw_events DROP PARTITION '{month}'")
    gone = LetterArchive(clickhouse).gone(Selection())
    assert first
    assert gone == first
    states = {seen.letter.coordinate: seen.standing.state for seen in look(clickhouse, PARTITIONS, Selection())}
    assert all(states[each] in {State.GONE, State.RESENT} for each in first)
    assert State.WAITING in {state for each, state in states.items() if each not in first}


def test_names_of_any_size_are_asked_for(engine_url: str) -> None:
    """Thousands of ids, and ids of kilobytes, are looked up in questions that fit."""
    world = World(12, TIMING)
    clickhouse = archive_at(engine_url, "letters_names")
    write(clickhouse, world)
    ids = [(f"c{n}", "gw", f"{n}" * (3000 if n % 100 == 0 else 1)) for n in range(1500)]
    assert LetterArchive(clickhouse).same_ids(ids) == {}


def test_a_preview_and_a_replay_decide_alike_on_the_engine(engine_url: str) -> None:
    """What `fix` says of each letter from the engine is what the model's run says."""
    world = lived(4)
    clickhouse = archive_at(engine_url, "letters_decide")
    write(clickhouse, world)
    order = Order(selection=Selection(), edits=FIX)
    on_engine = asyncio.run(replay(ModelLog(world), LetterArchive(clickhouse), order, world.now_ms))
    on_model = asyncio.run(replay(ModelLog(world), ModelArchive(world), order, world.now_ms))
    assert on_engine.counts == on_model.counts
    assert [(one.letter.name, one.next, one.sentence) for one in on_engine.planned] == [
        (one.letter.name, one.next, one.sentence) for one in on_model.planned
    ]
    assert len(on_engine.counts) > 2
