"""The benchmark's load: what a shape says is what lies on the log, and the sums by which contestants are judged are right."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import pytest

from tests.benchmarks.answers import faust_value, quix_value, streams_value, units_answer
from tests.benchmarks.shapes import BLOCK, QUANTITIES, SHAPES, Expected, blocks

COUNT = 20_000
NOW_S = 1_795_800_000.0


def made(name: str, seed: int = 1, count: int = COUNT) -> tuple[list[bytes], Expected]:
    """A shape's events and what they are said to sum to."""
    values: list[bytes] = []
    total = Expected()
    for block in blocks(SHAPES[name], count, seed, NOW_S):
        assert [json.loads(value)["subject"] for value in block.values] == block.customers
        values += block.values
        total += block.expected
    return values, total


def units(event: dict[str, Any]) -> int:
    """All quantities of an event."""
    return sum(event["data"].get(name, 0) for name in QUANTITIES)


@pytest.mark.parametrize("name", sorted(SHAPES))
def test_the_sums_are_those_of_the_bytes(name: str) -> None:
    """Counted again from the JSON, copies by their id: the four numbers of `Expected` are the log's."""
    values, total = made(name)
    events = [json.loads(value) for value in values]
    unique = {event["id"]: event for event in events}
    assert total == Expected(len(events), sum(map(units, events)), len(unique), sum(map(units, unique.values())))


def test_a_seed_says_it_all() -> None:
    """The same seed makes the same bytes, another one others."""
    assert made("duplicates") == made("duplicates")
    assert made("duplicates") != made("duplicates", seed=2)


def test_ids_of_two_blocks_and_of_two_parts_differ() -> None:
    """No event has the id of another by chance, beyond a block and where a log is made in two parts."""
    count = BLOCK + 1_000
    first = [json.loads(value)["id"] for value in made("base", count=count)[0]]
    second = [json.loads(value)["id"] for block in blocks(SHAPES["base"], 1_000, 2, NOW_S, first=count) for value in block.values]
    assert len({*first, *second}) == count + 1_000


@pytest.mark.parametrize(("name", "size_bytes"), [("base", 135), ("million", 135), ("kilobyte", 1_000)])
def test_an_event_is_as_long_as_its_shape_says(name: str, size_bytes: int) -> None:
    """135 bytes and 1 kB, within two bytes in the mean."""
    values, _ = made(name)
    assert abs(sum(map(len, values)) / len(values) - size_bytes) <= 2


def test_one_in_a_hundred_is_a_copy_or_late_and_one_in_two_is_hot() -> None:
    """Shares are as said; a copy has the bytes of an event before it; a late event is one to two hours old."""
    values, total = made("duplicates")
    assert abs(total.events - total.unique_events - COUNT / 100) < 60
    assert len(set(values)) == total.unique_events
    times = [json.loads(value)["time"] for value in made("late")[0]]
    newest = max(times)
    assert abs(sum(time < newest[:11] + f"{int(newest[11:13]) - 1:02}" + newest[13:] for time in times) - COUNT / 100) < 60
    assert abs(Counter(json.loads(value)["subject"] for value in made("hot")[0])["c000000"] - COUNT / 2) < 400


def test_three_meters_find_three_quantities() -> None:
    """Each event of that shape has the value of each of its meters."""
    shape = SHAPES["meters"]
    assert shape.slugs == ("meter_n", "meter_m", "meter_k")
    assert shape.toml().count("[[meters]]") == 3
    assert all(set(QUANTITIES) <= set(json.loads(value)["data"]) for value in made("meters")[0])


def test_peers_changelogs_are_read_as_they_write_them() -> None:
    """A long of Kafka Streams, a number of Faust, a window of Quix but not what it remembers of time."""
    assert streams_value(b"", (258).to_bytes(8, "big")) == 258
    assert faust_value(b'["c000001", [1.0, 2.0]]', b"714") == 714
    assert quix_value(b'"c001156"|\x00\x00\x01\xa2\x1e\x80\x14@|\x00\x00\x01\xa2\x1e\x80\n\xa0', b"714") == 714
    assert quix_value(b'"c001250"|__latest_timestamp__', b"1795807737675") == 0


def test_a_sum_that_is_off_by_one_is_said() -> None:
    """A peer knows no ids: its sum is that of all events, copies too; anything else, and no answer, is wrong."""
    expected = Expected(10, 100, 9, 90)
    assert units_answer(100, expected) == ""
    assert "90" in units_answer(90, expected)
    assert units_answer(None, expected) != ""
