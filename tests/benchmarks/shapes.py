"""What the load looks like: shapes of events, the same bytes for every contestant, and the sums that each must come to. Pure: seed and count decide.

Events are CloudEvents JSON with short names, so that the base shape is 135 bytes an event, as long as the ones in peers' benchmarks. Times lie
anywhere in the three minutes before the run: four windows of a minute for each customer. Units are random, so a sum that is right is not right
by luck.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
import numpy.typing as npt

SPREAD_S = 180
LATE_S = (3_600, 7_200)
"""How far back a late event lies: its window was due long ago, its horizon of 30 days is far."""
STAMPS = 10_000
"""Distinct times in the spread; one takes 10 µs to spell, so it is not done for each event."""
BLOCK = 50_000
"""Events made at once: the columns of a block fit the processor's cache, and a duplicate copies an event of its own block."""
MOST_UNITS = 1_000
ID_STEP = 0x9E3779B97F4A7C15 >> 24 | 1
"""Odd, so that number × step modulo 2⁴⁰ meets no id twice; ids of neighbours have nothing in common."""
ID_SPACE = 1 << 40
QUANTITIES = ("n", "m", "k")
"""The names of the meters' values in `data`, in the order of the meters."""

Column = npt.NDArray[Any]


@dataclass(frozen=True)
class Shape:
    """One shape. Shares are of all events; `padding` bytes of text lie in each event beside its quantities."""

    name: str
    customers: int = 2_000
    duplicates: float = 0.0
    late: float = 0.0
    hot: float = 0.0
    padding: int = 0
    meters: int = 1
    spread_s: int = SPREAD_S

    @property
    def slugs(self) -> tuple[str, ...]:
        """The names of its meters."""
        return tuple(f"meter_{value}" for value in QUANTITIES[: self.meters])

    def toml(self) -> str:
        """The meters as `tidemark.toml` has them: windows of a minute."""
        return "".join(
            f'[[meters]]\nslug = "{slug}"\nevent_type = "use"\nvalue = "{value}"\nwindow = "1m"\ngrace = "5m"\n'
            for slug, value in zip(self.slugs, QUANTITIES, strict=False)
        )


SHAPES = {
    shape.name: shape
    for shape in (
        Shape("base"),
        Shape("million", customers=1_000_000),
        Shape("million-at-once", customers=1_000_000, spread_s=1),
        Shape("duplicates", duplicates=0.01),
        Shape("late", late=0.01),
        Shape("hot", hot=0.5),
        Shape("kilobyte", padding=865),
        Shape("meters", meters=3),
    )
}
"""`million` has about as many windows as half its events; in `million-at-once` all times lie in one second, as they do where a worker keeps up
with a million customers, so each customer has one window."""


@dataclass(frozen=True)
class Expected:
    """What a log sums to: `units` and `events` of all records on it, and of those that are no copy of an earlier one."""

    events: int = 0
    units: int = 0
    unique_events: int = 0
    unique_units: int = 0

    def __add__(self, other: Expected) -> Expected:
        """Of two logs one after the other."""
        return Expected(
            self.events + other.events,
            self.units + other.units,
            self.unique_events + other.unique_events,
            self.unique_units + other.unique_units,
        )


@dataclass(frozen=True)
class Block:
    """Some events in the order of the log: their customers, their bytes, what they sum to (over all meters)."""

    customers: list[str]
    values: list[bytes]
    expected: Expected


def blocks(shape: Shape, count: int, seed: int, now_s: float, first: int = 0) -> Iterator[Block]:
    """`count` events of a shape, whose times lie before `now_s`; ids begin at number `first`, so that two parts of one log share none."""
    rng = np.random.default_rng(seed)
    names = np.array([f"c{number:06d}" for number in range(shape.customers)], dtype=object)
    recent = _stamps(now_s - shape.spread_s, shape.spread_s)
    late = _stamps(now_s - LATE_S[1], LATE_S[1] - LATE_S[0])
    for begin in range(0, count, BLOCK):
        yield _block(shape, rng, names, (recent, late), np.arange(first + begin, first + min(begin + BLOCK, count)))


def _block(shape: Shape, rng: np.random.Generator, names: Column, stamps: tuple[Column, Column], numbers: Column) -> Block:
    size = len(numbers)
    who = rng.integers(0, shape.customers, size)
    who[rng.random(size) < shape.hot] = 0
    times = stamps[0][rng.integers(0, STAMPS, size)]
    is_late = rng.random(size) < shape.late
    times[is_late] = stamps[1][rng.integers(0, STAMPS, int(is_late.sum()))]
    units = rng.integers(1, MOST_UNITS, (size, shape.meters))
    source = _sources(rng, size, shape.duplicates)
    is_copy = source != np.arange(size)
    customers = names[who][source].tolist()
    originals = [f"{number * ID_STEP % ID_SPACE:010x}" for number in numbers.tolist()]
    values = _spelled(shape, [originals[at] for at in source.tolist()], customers, times[source].tolist(), units[source])
    total = units[source].sum(axis=1)
    return Block(customers, values, Expected(size, int(total.sum()), int((~is_copy).sum()), int(total[~is_copy].sum())))


def _sources(rng: np.random.Generator, size: int, share: float) -> Column:
    """For each place of a block the place whose event stands there: itself, or for a share of them an earlier one that is itself."""
    at = np.arange(size)
    is_copy = rng.random(size) < share
    is_copy[0] = False
    originals = np.flatnonzero(~is_copy)
    before = np.searchsorted(originals, at[is_copy])
    at[is_copy] = originals[(rng.random(len(before)) * before).astype(np.int64)]
    return at


def _spelled(shape: Shape, ids: list[str], customers: list[str], times: list[str], units: Column) -> list[bytes]:
    head, source, when = '{"specversion":"1.0","id":"', '","source":"b","type":"use","subject":"', '","time":"'
    tail = f',"pad":"{"x" * (shape.padding - 9)}"}}}}' if shape.padding else "}}"
    named = zip(ids, customers, times, strict=True)
    if shape.meters == 1:
        values = units[:, 0].tolist()
        return [f'{head}{i}{source}{c}{when}{t}","data":{{"n":{n}{tail}'.encode() for (i, c, t), n in zip(named, values, strict=True)]
    data = [",".join(f'"{name}":{value}' for name, value in zip(QUANTITIES, row, strict=False)) for row in units.tolist()]
    return [f'{head}{i}{source}{c}{when}{t}","data":{{{d}{tail}'.encode() for (i, c, t), d in zip(named, data, strict=True)]


def _stamps(begin_s: float, length_s: float) -> Column:
    spelled = [
        datetime.fromtimestamp(begin_s + index * length_s / STAMPS, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        for index in range(STAMPS)
    ]
    return np.array(spelled, dtype=object)
