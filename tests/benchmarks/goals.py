"""The goals of issue "Speed and scale", what was measured for each, and what is said of it.

A goal is a promise to the reader of the README, never an assertion: a clock fails no test. A part of the benchmark (its own module, see PARTS)
is any function `figures(directory, scale, say) -> list[Figure]`; it names what it measured by a goal's key.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable
from dataclasses import asdict, dataclass


@dataclass(frozen=True)
class Goal:
    """One line of the table: reached if the value is at least (`is_floor`) or at most `bound`, in `unit`."""

    key: str
    measure: str
    bound: float
    unit: str
    is_floor: bool

    def met(self, value: float) -> bool:
        """Whether a measured value reaches it."""
        return value >= self.bound if self.is_floor else value <= self.bound

    def wanted(self) -> str:
        """The bound as text."""
        return f"{'≥' if self.is_floor else '≤'} {self.bound:g} {self.unit}"


@dataclass(frozen=True)
class Figure:
    """What was measured for the goal `key`: `value` in the goal's unit, or None and `why` it could not be measured here.

    `how` says in one sentence what was done (count, size, settings), so that the figure can be judged by who reads it.
    """

    key: str
    value: float | None
    how: str = ""
    why: str = ""

    def as_dict(self) -> dict[str, object]:
        """For the JSON file."""
        return asdict(self)


GOALS = (
    Goal("kafka_streams", "meter, all on, against Kafka Streams exactly_once_v2", 2.0, "×", is_floor=True),
    Goal("aiokafka", "meter against the bare aiokafka decode-and-sum loop", 1.2, "×", is_floor=True),
    Goal("quix", "meter against Quix Streams", 20, "×", is_floor=True),
    Goal("faust", "meter against stock Faust's windowed table", 100, "×", is_floor=True),
    Goal("customers", "meter with 1,000,000 customers against 2,000", 0.6, "×", is_floor=True),
    Goal("history", "meter after 10 M events against the start", 0.95, "×", is_floor=True),
    Goal("workers_cpu", "two workers against one: CPU per event", 1.1, "×", is_floor=False),
    Goal("workers_rate", "two workers against one: rate, where there are 4 cores", 1.8, "×", is_floor=True),
    Goal("window_bytes", "memory per open window", 250, "B", is_floor=False),
    Goal("id_bytes", "memory per remembered id", 24, "B", is_floor=False),
    Goal("recovery", "recovery of 1,000,000 open windows", 15, "s", is_floor=False),
    Goal("delivery", "close to delivered, p99 after grace", 10, "s", is_floor=False),
)
"""In the order of the issue."""

PARTS = ("tests.benchmarks.state", "tests.benchmarks.ids", "tests.benchmarks.delivering", "tests.benchmarks.scaling")
"""Measures with a module of their own, run after the contest: memory and recovery of windows; of ids; close to delivered; two workers.
One that is not there is named as not measured."""


def parts() -> list[str]:
    """The modules of PARTS that exist."""
    return [name for name in PARTS if importlib.util.find_spec(name) is not None]


def table(figures: Iterable[Figure]) -> list[str]:
    """Every goal with its result: reached, NOT reached, or not measured and why."""
    found = {figure.key: figure for figure in figures}
    width = max(len(goal.measure) for goal in GOALS)
    return [f"{goal.measure:{width}}  {goal.wanted():>9}  {verdict(goal, found.get(goal.key))}" for goal in GOALS]


def verdict(goal: Goal, figure: Figure | None) -> str:
    """The result of one goal as text."""
    if figure is None:
        return "not measured in this run"
    if figure.value is None:
        return f"not measured: {figure.why or 'no reason given'}"
    said = f"{figure.value:8.2f} {goal.unit}  {'reached' if goal.met(figure.value) else 'NOT reached'}"
    return f"{said}  ({figure.how})" if figure.how else said


def beside(figures: Iterable[Figure]) -> list[str]:
    """What parts measured for information: figures whose key is no goal's."""
    keys = {goal.key for goal in GOALS}
    return [
        f"{figure.key}: {'not measured: ' + figure.why if figure.value is None else f'{figure.value:.2f}  {figure.how}'.rstrip()}"
        for figure in figures
        if figure.key not in keys
    ]


def missed(figures: Iterable[Figure]) -> list[str]:
    """Keys of the goals that were measured and not reached."""
    found = {figure.key: figure.value for figure in figures}
    return [goal.key for goal in GOALS if (value := found.get(goal.key)) is not None and not goal.met(value)]
