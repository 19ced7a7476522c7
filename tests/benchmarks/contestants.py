"""Who contends: for each contestant how it is started on a shape, which group commits for it, where its changelog lies, how its sum is asked for."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.benchmarks import answers
from tests.benchmarks.quix_home import quix_python
from tests.benchmarks.shapes import Expected, Shape
from tests.benchmarks.streams_java.building import streams_command
from topics.catalog import EVENTS, STATE


@dataclass(frozen=True)
class Arena:
    """One shape's broker with its log: where it is, what it holds, where contestants may write."""

    bootstrap: str
    config: Path
    directory: Path
    kafka_data: Path
    shape: Shape


@dataclass(frozen=True)
class Contestant:
    """One contestant.

    `command` makes its command (raises Skipped); a slow one reads a topic of its own with only `slow_events` of the shape (0: it reads the meter's);
    `changelogs` are its topics beside the source (where it has one for each meter, in their order); `value_of` reads their values, None where the
    contestant says its sum itself; `meters` are how many it can sum at once.
    """

    key: str
    name: str
    group: str
    command: Callable[[Arena], Sequence[str]]
    slow_events: int = 0
    changelogs: tuple[str, ...] = ()
    value_of: Callable[[bytes, bytes], int] | None = None
    meters: frozenset[int] = field(default=frozenset({1, 3}))

    @property
    def topic(self) -> str:
        """What it reads."""
        return f"bench.{self.key}" if self.slow_events else EVENTS

    def changelogs_on(self, shape: Shape) -> list[str]:
        """Its changelog topics where it contends on this shape."""
        return list(self.changelogs[: shape.meters])

    def environment(self, arena: Arena) -> Mapping[str, str]:
        """How it is told where to read and write."""
        return {
            "BENCH_BOOTSTRAP": arena.bootstrap,
            "BENCH_GROUP": self.group,
            "BENCH_TOPIC": self.topic,
            "BENCH_METERS": str(arena.shape.meters),
            "BENCH_DIR": str(arena.directory / self.key),
            # The meter's own settings; the others do not read them.
            "TIDEMARK_CONFIG": str(arena.config),
            "TIDEMARK_KAFKA__BOOTSTRAP": arena.bootstrap,
            "TIDEMARK_WORKER__NAME": "meter-0",
            "TIDEMARK_WORKER__HTTP": "127.0.0.1:0",
            "TIDEMARK_EMBEDDED": "1",
        }

    def wrong(self, arena: Arena, expected: Expected, log: Path) -> str:
        """What is wrong with its sums, after its run; empty where nothing is."""
        if self.key == "meter":
            return answers.meter_answer(arena.bootstrap, expected, arena.shape.meters)
        if self.value_of is None:
            return answers.units_answer(answers.said(log), expected)
        return answers.units_answer(answers.changelog_sum(arena.bootstrap, self.changelogs_on(arena.shape), self.value_of), expected)


def _module(*words: str) -> Callable[[Arena], Sequence[str]]:
    return lambda _: [sys.executable, "-m", *words]


METER = Contestant("meter", "Tidemark's meter", "tidemark-meter", _module("infra", "worker", "meter"), changelogs=(STATE,))
AIOKAFKA = Contestant("aiokafka", "bare aiokafka loop", "bench-aiokafka", _module("tests.benchmarks.bare"))
CONFLUENT = Contestant("confluent", "bare confluent-kafka loop", "bench-confluent", _module("tests.benchmarks.bare_confluent"))
STREAMS = Contestant(
    "kafka_streams",
    "Kafka Streams exactly_once_v2",
    "bench-streams",
    lambda arena: streams_command(arena.directory),
    changelogs=tuple(f"bench-streams-sums-{meter}-changelog" for meter in range(3)),
    value_of=answers.streams_value,
)
QUIX = Contestant(
    "quix",
    "Quix Streams",
    "bench-quix",
    lambda _: [str(quix_python()), str(Path(__file__).with_name("quix.py"))],
    slow_events=200_000,
    changelogs=("changelog__bench-quix--bench.quix--sums_tumbling_window_60000_sum",),
    value_of=answers.quix_value,
    meters=frozenset({1}),
)
FAUST = Contestant(
    "faust",
    "stock Faust windowed table",
    "bench-faust",
    _module("tests.benchmarks.stock", "worker", "-l", "warn", "--without-web"),
    slow_events=100_000,
    changelogs=("bench-faust-sums-changelog",),
    value_of=answers.faust_value,
    meters=frozenset({1}),
)
EVERYBODY = (METER, AIOKAFKA, CONFLUENT, STREAMS, QUIX, FAUST)
QUICK = (METER, AIOKAFKA, STREAMS)
"""Who contends on every shape; the others on the base shape only."""
