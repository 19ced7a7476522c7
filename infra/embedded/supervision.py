"""When a process is started, killed or left alone: pure. The supervisor observes, asks here, and does what it is told.

Three things end a process's life early: it exits; it no longer answers; it answers, has lag, and gets nothing done (a suspended Kafka
consumer may never rejoin its group). A process that says it has halted is left as it is: its sentence is what the operator needs.
Times are seconds of the supervisor's own clock (`Clock`), which does not run while the supervisor is suspended.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any


class Phase(StrEnum):
    """How a process is shown in the stack's state."""

    STARTING = "starting"
    RUNNING = "running"
    RESTARTING = "restarting"
    HALTED = "halted"
    STOPPED = "stopped"


class Action(StrEnum):
    """What the supervisor does now."""

    WAIT = "wait"
    START = "start"
    KILL = "kill"


@dataclass(frozen=True)
class Policy:
    """Patience, in seconds.

    `backoff_first_s` is short because the usual end of a process is a kill, and every second without it is lag;
    `backoff_max_s` because what fails ten times in a row will not be cured by an eleventh try at once.
    """

    backoff_first_s: float = 0.2
    backoff_max_s: float = 30.0
    steady_s: float = 60.0
    """Having lived this long, a process has recovered: its next end starts the backoff anew."""
    loop_exits: int = 4
    """This many early ends in a row are shown as a crash loop: one is a kill, two may be its echo."""
    start_s: float = 180.0
    """A worker first answers after its imports; a broker after recovering its log, which a large one takes minutes for."""
    silent_s: float = 30.0
    """Longer than any batch, collection or compaction keeps a healthy process from answering."""
    stuck_s: float = 60.0
    """Longer than a rebalance after a kill (session time-out 6 s) and any one wait for a broker's acknowledgement."""


@dataclass(frozen=True)
class Observation:
    """What is seen of a process now.

    `exit_code` is None while it runs. `is_live`: it answered lately. `progress` is its own monotone count of things done; `has_lag`:
    there is more to do. `is_excused`: what it depends on is not there, so standing still proves nothing.
    """

    exit_code: int | None = None
    is_live: bool = False
    progress: int | None = None
    has_lag: bool = False
    halted: str | None = None
    is_excused: bool = False


@dataclass(frozen=True)
class Supervised:
    """What is remembered of a process between two looks."""

    phase: Phase = Phase.STOPPED
    restarts: int = 0
    early_ends: int = 0
    started_s: float = 0.0
    next_start_s: float = 0.0
    live_s: float = 0.0
    progress: int | None = None
    progress_s: float = 0.0
    detail: str | None = None
    """A sentence for the operator: why it was killed, that it crashes again and again, or what it said when it halted."""


def started(before: Supervised, now_s: float) -> Supervised:
    """After a start: it has not answered yet, and all patience begins anew."""
    is_first = before.phase is Phase.STOPPED
    return replace(
        before,
        phase=Phase.STARTING if is_first else Phase.RESTARTING,
        restarts=before.restarts + (not is_first),
        started_s=now_s,
        live_s=now_s,
        progress=None,
        progress_s=now_s,
    )


def step(before: Supervised, seen: Observation, now_s: float, policy: Policy) -> tuple[Supervised, Action]:
    """What becomes of a process, and what to do. After START the caller calls `started`; after KILL it will see the exit."""
    if before.phase is Phase.STOPPED:
        return before, Action.WAIT
    if seen.exit_code is not None:
        return _ended(before, seen.exit_code, now_s, policy)
    after = _looked(before, seen, now_s)
    verdict = _overdue(after, now_s, policy)
    if verdict is not None:
        return replace(after, phase=Phase.RESTARTING, detail=verdict), Action.KILL
    return after, Action.WAIT


def _ended(before: Supervised, exit_code: int, now_s: float, policy: Policy) -> tuple[Supervised, Action]:
    """An end is noted once, then waited out."""
    if before.next_start_s <= before.started_s:
        is_early = now_s - before.started_s < policy.steady_s
        early_ends = before.early_ends + 1 if is_early else 1
        delay_s = backoff_s(early_ends, policy)
        detail = before.detail
        if early_ends >= policy.loop_exits:
            detail = f"ended {early_ends} times in a row, last with {exit_text(exit_code)}; tried again every {delay_s:.0f} s"
        before = replace(before, phase=Phase.RESTARTING, early_ends=early_ends, next_start_s=now_s + delay_s, detail=detail)
    return before, Action.START if now_s >= before.next_start_s else Action.WAIT


def _looked(before: Supervised, seen: Observation, now_s: float) -> Supervised:
    """A process that runs, as it is seen now."""
    moved = not seen.has_lag or seen.is_excused or seen.halted is not None or seen.progress != before.progress or not seen.is_live
    after = replace(before, progress=seen.progress, progress_s=now_s if moved else before.progress_s)
    if not seen.is_live:
        return after
    phase = Phase.HALTED if seen.halted is not None else Phase.RUNNING
    return replace(after, phase=phase, live_s=now_s, detail=seen.halted)


def _overdue(after: Supervised, now_s: float, policy: Policy) -> str | None:
    """Why a running process has to be killed, or None."""
    is_up = after.phase in {Phase.RUNNING, Phase.HALTED}
    patience_s = policy.silent_s if is_up else policy.start_s
    if now_s - after.live_s > patience_s:
        return f"did not answer for {patience_s:.0f} s and was killed"
    if after.phase is Phase.RUNNING and now_s - after.progress_s > policy.stuck_s:
        return f"had lag and got nothing done for {policy.stuck_s:.0f} s and was killed"
    return None


def backoff_s(early_ends: int, policy: Policy) -> float:
    """How long to wait before the start after so many early ends in a row."""
    return min(policy.backoff_max_s, policy.backoff_first_s * float(2 ** min(early_ends - 1, 30)))


def exit_text(exit_code: int) -> str:
    """An exit code in words; Python gives a signal as a negative number."""
    return f"signal {-exit_code}" if exit_code < 0 else f"exit code {exit_code}"


def is_crash_loop(process: Supervised, policy: Policy) -> bool:
    """Whether a process ends again and again before it has recovered."""
    return process.phase is Phase.RESTARTING and process.early_ends >= policy.loop_exits


def observe(exit_code: int | None, is_live: bool, status: Mapping[str, Any] | None, is_excused: bool) -> Observation:
    """An observation from a worker's `/status` document (None for a server, which has no such thing)."""
    if status is None:
        return Observation(exit_code=exit_code, is_live=is_live, is_excused=is_excused)
    progress = status.get("progress")
    halted = status.get("halted")
    return Observation(
        exit_code=exit_code,
        is_live=is_live,
        progress=progress if isinstance(progress, int) else None,
        has_lag=has_lag(status),
        halted=str(halted) if halted is not None else None,
        is_excused=is_excused,
    )


def has_lag(status: Mapping[str, Any]) -> bool:
    """Whether any partition of a worker's `/status` is not read (or archived) to its end."""
    partitions = status.get("partitions")
    for partition in partitions if isinstance(partitions, list) else []:
        end = partition.get("end_offset")
        done = partition.get("next_offset", partition.get("archived_offset"))
        if isinstance(end, int) and isinstance(done, int) and end > done:
            return True
    return False


class Clock:
    """Seconds that pass only while the supervisor looks: a suspended laptop must not make every process seem silent for hours."""

    LONGEST_STEP_S = 2.0
    """Eight times the supervisor's pause between two looks: a busy machine stretches it, only a suspension exceeds it."""

    def __init__(self, monotonic_s: float) -> None:
        self._last_s = monotonic_s
        self.now_s = 0.0

    def advance(self, monotonic_s: float) -> float:
        """The supervisor's time at this reading of a monotonic clock."""
        self.now_s += min(max(monotonic_s - self._last_s, 0.0), self.LONGEST_STEP_S)
        self._last_s = monotonic_s
        return self.now_s
