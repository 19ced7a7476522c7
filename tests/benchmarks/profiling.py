"""`--profile`: where the meter's time goes on a shape, by a sampling profiler in its own process."""

from __future__ import annotations

from pathlib import Path

from tests.benchmarks.contest import SEED, arena, one, say
from tests.benchmarks.contestants import METER
from tests.benchmarks.publishing import publish
from tests.benchmarks.shapes import Shape
from topics.catalog import EVENTS


def profile(directory: Path, shape: Shape, events: int) -> None:
    """Publish, run the meter under the profiler, print the functions in which most samples lie."""
    out = directory / "profile.txt"
    with arena(directory, shape) as where:
        expected = publish(where.bootstrap, EVENTS, shape, events, SEED)
        say(f"shape {shape.name}, {events:,} events, under the profiler: its rate is lower than without")
        one(where, METER, expected, 0, prefix=("-m", "tests.benchmarks.profiled", str(out)))
    print(out.read_text() if out.exists() else "it ended before anything was seen: use more events")
