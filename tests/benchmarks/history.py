"""Does cost grow with history? One long run of the meter over 10 M events and ids, its rate at the start against that at the end."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tests.benchmarks.contest import SEED, arena, one, say
from tests.benchmarks.contestants import METER
from tests.benchmarks.goals import Figure
from tests.benchmarks.measure import Sample, between
from tests.benchmarks.publishing import publish
from tests.benchmarks.shapes import SHAPES
from topics.catalog import EVENTS

EVENTS_LONG = 10_000_000
WARM = 0.05
"""Start-up and first fetches: not what the start is meant to be."""
SPAN = 0.25
"""A quarter of the run each: long against the half second between two commits."""


def history(directory: Path, events: int = EVENTS_LONG) -> list[Figure]:
    """The goal `history`, from a log of `events` events of the base shape."""
    say(f"history: publishing {events:,} events …")
    with arena(directory, SHAPES["base"]) as where:
        expected = publish(where.bootstrap, EVENTS, where.shape, events, SEED)
        result = one(where, METER, expected, 0)
    if result.wrong:
        return [Figure("history", None, why=f"the meter's sum is wrong: {result.wrong}")]
    return [of_samples(result.samples, events)]


def of_samples(samples: Sequence[Sample], events: int) -> Figure:
    """Rate of the last quarter over that of the first one after the warm-up; CPU per event beside it, which a busy machine moves less."""
    start = between(samples, WARM * events, (WARM + SPAN) * events)
    end = between(samples, (1 - SPAN) * events, events)
    if 0 in {_events(start), _events(end)}:
        return Figure("history", None, why="the run was too short: it committed too seldom")
    ratio = _rate(end) / _rate(start)
    cpu = _cpu(end) / _cpu(start) if _cpu(start) else 0.0
    how = f"{events:,} events; rate of the last quarter {_rate(end):,.0f}/s, of the first {_rate(start):,.0f}/s; CPU per event {cpu:.2f} ×"
    return Figure("history", ratio, how)


def _events(span: tuple[Sample, Sample]) -> int:
    return span[1].committed - span[0].committed


def _rate(span: tuple[Sample, Sample]) -> float:
    return _events(span) / (span[1].at_s - span[0].at_s)


def _cpu(span: tuple[Sample, Sample]) -> float:
    return (span[1].cpu_s - span[0].cpu_s) / _events(span)
