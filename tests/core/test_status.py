"""Status and settle: the workers' words joined into one picture, each window in exactly one state, and what keeps a stack from being settled."""

from __future__ import annotations

import copy
import random
from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra.settle import open_points
from infra.status import ARCHIVED_TOPICS, FATES, WINDOW_STATES, joined, workers
from topics.catalog import EVENTS

TOPICS = (EVENTS, *ARCHIVED_TOPICS)


def meter(name: str, partitions: dict[int, int], **windows: int) -> dict[str, Any]:
    """A meter's word: partition → next_offset, all of it counted."""
    lines = [
        dict.fromkeys(FATES, 0)
        | {"partition": p, "generation": 0, "base": 0, "next_offset": n, "durable_offset": n, "end_offset": n, "counted": n, "residual": 0}
        for p, n in partitions.items()
    ]
    return {"name": name, "kind": "meter", "partitions": lines, "windows": {"open": 0, "due": 0, "reopened": 0, **windows}, "halted": None}


def report(next_offset: int, end_offset: int, **windows: int) -> dict[str, Any]:
    """A report's word about one partition of usage.windows."""
    return {
        "name": "report",
        "kind": "report",
        "partitions": [{"partition": 0, "next_offset": next_offset, "end_offset": end_offset}],
        "windows": {"delivered": 0, "undelivered": 0, "parked": 0, "unbound": 0, **windows},
        "halted": None,
    }


def archive(offset: int) -> dict[str, Any]:
    """An archive that has everything up to `offset` of partition 0 of every topic."""
    lines = [{"topic": topic, "partition": 0, "archived_offset": offset, "end_offset": offset} for topic in TOPICS]
    return {"name": "archive", "kind": "archive", "partitions": lines, "halted": None}


def settled_world() -> tuple[dict[str, dict[int, int]], list[dict[str, Any]]]:
    """Ends and words of a stack with nothing to do."""
    return {topic: {0: 10} for topic in TOPICS}, [meter("meter-0", {0: 10}), report(10, 10, delivered=4, parked=1, unbound=2), archive(10)]


@given(states=st.lists(st.sampled_from([*WINDOW_STATES, "reopened", "reopened_due"]), max_size=40), seed=st.integers(0, 2**32))
def test_each_window_is_in_exactly_one_state(states: list[str], seed: int) -> None:
    """Windows that a model puts in one state each, told by two meters and a report with some still between them, are counted once each."""
    # A delivered window with newer events is open (or due) at the meter and delivered at the report; one whose revision the report has not
    # read yet lies between both.
    chance = random.Random(seed)
    meters = [meter("meter-0", {0: 5}), meter("meter-1", {1: 5})]
    said_by_report: Counter[str] = Counter()
    unread = 0
    for state in states:
        windows = chance.choice(meters)["windows"]
        if state.startswith("reopened"):
            windows["due" if state.endswith("due") else "open"] += 1
            windows["reopened"] += 1
            said_by_report["delivered"] += 1
        elif state in {"open", "due"}:
            windows[state] += 1
        elif state == "undelivered" and chance.random() < 0.5:
            unread += 1
        else:
            said_by_report[state] += 1
    _, counts = joined([*meters, report(5, 5 + unread, **said_by_report)])
    wanted = Counter({"reopened": "open", "reopened_due": "due"}.get(state, state) for state in states)
    assert counts == {state: wanted[state] for state in WINDOW_STATES}
    assert sum(counts.values()) == len(states)


@given(data=st.data())
def test_partitions_are_joined_by_the_worker_that_is_further(data: st.DataObject) -> None:
    """Each partition appears once, in order, as the worker that is furthest with it says, with the archive's offset beside it."""
    held = data.draw(st.lists(st.dictionaries(st.integers(0, 7), st.integers(0, 100)), min_size=1, max_size=3))
    archived = data.draw(st.dictionaries(st.integers(0, 7), st.integers(0, 100)))
    lines = [{"topic": EVENTS, "partition": p, "archived_offset": n, "end_offset": n} for p, n in archived.items()]
    said = [meter(f"meter-{i}", part) for i, part in enumerate(held)] + [{"name": "archive", "kind": "archive", "partitions": lines}]
    partitions, _ = joined(said)
    everything = {p for part in held for p in part}
    assert [line["partition"] for line in partitions] == sorted(everything)
    for line in partitions:
        assert line["next_offset"] == max(part.get(line["partition"], -1) for part in held)
        assert line["archived_offset"] == archived.get(line["partition"], 0)


def test_a_stack_with_nothing_to_do_is_settled() -> None:
    """Everything counted, durable, archived and read, with only delivered, parked and unbound windows: settled."""
    assert open_points(*settled_world()) == []


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        ((0, "partitions", 0, "next_offset"), 9, "counted up to"),
        ((0, "partitions", 0, "durable_offset"), 9, "counted up to"),
        ((0, "partitions", 0, "residual"), 1, "residual 1"),
        ((0, "windows", "due"), 3, "3 windows are due"),
        ((0, "halted"), "the log is another one", "has halted"),
        ((1, "windows", "undelivered"), 2, "2 windows are undelivered"),
        ((1, "partitions", 0, "next_offset"), 9, "not read by the report"),
        *(((2, "partitions", index, "archived_offset"), 9, "archived") for index in range(len(TOPICS))),
    ],
)
def test_anything_unfinished_keeps_a_stack_from_being_settled(path: tuple[Any, ...], value: object, words: str) -> None:
    """Each single thing that is not done, and nothing else, is said and keeps the stack unsettled."""
    ends, said = settled_world()
    said = copy.deepcopy(said)
    place: Any = said
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value
    found = open_points(ends, said)
    assert words in " ".join(found)


@pytest.mark.parametrize("missing", [0, 1, 2])
def test_a_silent_worker_keeps_a_stack_from_being_settled(missing: int) -> None:
    """Where meter, report or archive does not answer, nothing is known, so nothing is settled."""
    ends, said = settled_world()
    del said[missing]
    assert open_points(ends, said)


def test_open_windows_do_not_keep_a_stack_from_being_settled() -> None:
    """A window that is still open is nothing to wait for."""
    ends, said = settled_world()
    said[0]["windows"]["open"] = 5
    assert open_points(ends, said) == []


def test_each_worker_shows_its_partitions_and_their_lag() -> None:
    """Workers stand in the order of their numbers with what they hold; lag is what is not durably done, of the archive by topic."""
    behind = meter("meter-10", {3: 8})
    behind["partitions"][0] |= {"durable_offset": 5, "end_offset": 9}
    said = [behind, meter("meter-2", {0: 4, 1: 7}), archive(10), report(10, 12), meter("meter-0", {})]
    found = workers(said)
    assert [worker["name"] for worker in found] == ["archive", "meter-0", "meter-2", "meter-10", "report"]
    held = {worker["name"]: [(line["topic"], line["partition"], line["lag"]) for line in worker["partitions"]] for worker in found}
    assert held["meter-0"] == []
    assert held["meter-2"] == [(EVENTS, 0, 0), (EVENTS, 1, 0)]
    assert held["meter-10"] == [(EVENTS, 3, 4)]
    assert held["report"] == [("usage.windows", 0, 2)]
    assert {topic for topic, _, _ in held["archive"]} == set(TOPICS)
