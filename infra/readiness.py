"""When a worker that runs is still not ready: its billing is stuck. Pure: a worker's own `/status` and the time in, sentences out.

Four things are looked for, each with what it is, since when, and what to do:
1. the oldest window that nobody has answered for is older than `[alarms] undelivered`;
2. a partition's conservation residual is not 0 (law 7), at once, because every total after it is in doubt;
3. a partition has lag and its offset has not moved for `[alarms] standstill`, or Kafka has not said for as long where its log ends;
4. the invoice gate has held a draft for a day: after three it lets it go, whatever is missing.

An alarm is a word, not a deed: nothing is stopped or killed by it, and it goes by itself when its reason does.
Times are seconds of a clock that only rises and stands still while the machine is suspended (`infra.clock.steady_s`): a laptop that slept
for a night must not wake up to an alarm.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

from topics.durations import format_ms
from topics.instants import format_s

CONFIRM_S: Final = 30.0
"""A window that was bound or released after days is as old as that when it first comes, and is delivered within seconds: too old is an
alarm only once it has lasted this long (or the limit itself, where that is shorter)."""

HELD_S: Final = 86_400.0
"""How long a draft may be held before somebody should look: an outage of hours ends by itself, and two days are left to repair what does not."""

Partition = tuple[str, int]
"""(topic, partition); the topic is empty where a worker has only one."""


@dataclass(frozen=True, kw_only=True)
class Limits:
    """How long is too long, in seconds."""

    undelivered_s: float = 900.0
    standstill_s: float = 300.0


@dataclass(frozen=True, kw_only=True)
class Memory:
    """What is kept between two looks: since when the oldest window is too old, when each lagging partition last moved and where it stood,
    and when Kafka last said where its log ends."""

    late_since_s: float | None = None
    standing: Mapping[Partition, tuple[int, float]] = field(default_factory=dict)
    asked_s: float | None = None


@dataclass(frozen=True)
class Now:
    """The moment of a look: by the steady clock, and by the wall's (seconds since 1970) for what a person reads."""

    steady_s: float
    wall_s: float

    def lasting(self, seconds: float) -> str:
        """`for 7m, since 2026-11-21T07:02:00Z`, of something that began so long ago."""
        return f"for {spoken(seconds)}, since {format_s(int(self.wall_s - seconds))}"


def look(before: Memory, status: Mapping[str, Any], now: Now, limits: Limits, *, is_asked: bool) -> tuple[Memory, list[str]]:
    """What to remember, and the alarms of this moment (none: nothing is stuck). `is_asked`: the ends of the log are fresh."""
    late_since_s, late = undelivered(before.late_since_s, status, now, limits)
    asked_s = now.steady_s if is_asked or before.asked_s is None else before.asked_s
    standing, still = standstill(before.standing, status, now, limits)
    after = replace(before, late_since_s=late_since_s, standing=standing, asked_s=asked_s)
    return after, [*unbalanced(status), *late, *still, *_unasked(asked_s, now, limits), *held(status, now)]


def unbalanced(status: Mapping[str, Any]) -> list[str]:
    """Alarm 2: partitions whose residual is not 0."""
    return [
        f"partition {line['partition']}: the residual is {line['residual']}: offsets of the log without exactly one fate, so totals from here on "
        f"are in doubt; keep the topics, and run `tidemark audit --partition {line['partition']}`"
        for line in status.get("partitions", ())
        if line.get("residual")
    ]


def held(status: Mapping[str, Any], now: Now) -> list[str]:
    """Alarm 4: draft invoices that the gate holds for long."""
    gate = status.get("gate") or {}
    age_s = gate.get("oldest_held_s")
    if age_s is None or age_s < HELD_S:
        return []
    sentence = (
        f"the invoice gate holds {gate['held']} draft invoices, the oldest {now.lasting(age_s)}: usage of ours is still missing on them, and after "
        "72 hours they are let go without it; `tidemark windows --state parked` and `--state undelivered` say what is missing"
    )
    return [sentence]


def undelivered(since_s: float | None, status: Mapping[str, Any], now: Now, limits: Limits) -> tuple[float | None, list[str]]:
    """Alarm 1: since when the oldest window is too old (None: it is not), and the sentence once that has lasted."""
    age_s = status.get("oldest_undelivered_s")
    if age_s is None or age_s <= limits.undelivered_s:
        return None, []
    since_s = now.steady_s if since_s is None else since_s
    if now.steady_s - since_s < min(CONFIRM_S, limits.undelivered_s):
        return since_s, []
    windows, limit = status.get("windows", {}), spoken(limits.undelivered_s)
    if status.get("kind") == "meter":
        sentence = (
            f"{windows.get('due', 0)} windows are due, the oldest {now.lasting(age_s)} (limit {limit}), and are not emitted: a window closes once "
            f"all that was in the log at its end is counted, and {_lag(status)} records are not; start more meter workers, or see why it is slow"
        )
    else:
        reason = status.get("waiting") or "the provider has not answered for it"
        sentence = (
            f"{windows.get('undelivered', 0)} windows are undelivered, the oldest {now.lasting(age_s)} (limit {limit}): {reason}. Nothing is "
            "lost, and it goes on by itself once that answers; `tidemark windows --state undelivered` lists them"
        )
    return since_s, [sentence]


def standstill(
    before: Mapping[Partition, tuple[int, float]], status: Mapping[str, Any], now: Now, limits: Limits
) -> tuple[dict[Partition, tuple[int, float]], list[str]]:
    """Alarm 3: where each partition with lag stands and since when, and a sentence for those that stand too long."""
    after: dict[Partition, tuple[int, float]] = {}
    found: list[str] = []
    for line in status.get("partitions", ()):
        done, end = done_of(line), line.get("marked_offset", line.get("end_offset"))
        if done is None or end is None or end <= done:
            continue
        where = (line.get("topic", ""), line["partition"])
        stood, since_s = before.get(where, (done, now.steady_s))
        after[where] = (done, since_s if stood == done else now.steady_s)
        lasted_s = now.steady_s - after[where][1]
        if lasted_s >= limits.standstill_s:
            reason = f": {status['waiting']}" if status.get("waiting") else ""
            found.append(
                f"{f'{where[0]} ' if where[0] else ''}partition {where[1]}: {end - done} records wait and nothing has been done "
                f"{now.lasting(lasted_s)} (limit {spoken(limits.standstill_s)}){reason}; this worker's log says why, and a restart loses nothing"
            )
    return after, found


def _unasked(asked_s: float, now: Now, limits: Limits) -> Iterable[str]:
    lasted_s = now.steady_s - asked_s
    if lasted_s >= limits.standstill_s:
        limit = spoken(limits.standstill_s)
        yield f"Kafka has not said where its log ends {now.lasting(lasted_s)} (limit {limit}): whether anything waits is not known; is Kafka up?"


def done_of(line: Mapping[str, Any]) -> int | None:
    """Below this offset a partition of a worker's `/status` is durably done: counted, read or archived."""
    return next((line[name] for name in ("durable_offset", "next_offset", "archived_offset") if name in line), None)


def _lag(status: Mapping[str, Any]) -> int:
    return sum(max(0, line.get("end_offset", 0) - (done_of(line) or 0)) for line in status.get("partitions", ()))


def spoken(seconds: float) -> str:
    """A duration in the largest unit of which it has two, rounded down: `17m`, `90s`, `3h`."""
    whole_ms = int(seconds) * 1000
    for unit_ms in (86_400_000, 3_600_000, 60_000):
        if whole_ms >= 2 * unit_ms:
            return format_ms(whole_ms // unit_ms * unit_ms)
    return format_ms(whole_ms) if whole_ms else f"{seconds:.1f}s"
