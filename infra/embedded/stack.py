"""The embedded stack for whoever types a command or writes a test: up, stay, down, state, kill."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import psutil

from infra.embedded import jars, machine, options, plan, process
from infra.embedded.layout import Layout
from infra.embedded.locking import holder
from infra.embedded.state import StackState, read_state
from infra.embedded.supervisor import StackFailed
from topics.errors import TidemarkError, UsageError

__all__ = ["down", "kill", "read_state", "rest", "running", "stay", "up"]

DOWN_TIMEOUT_S = 90.0
"""Workers have 20 s to flush, servers 20 s to close; twice that on a loaded machine, then the kernel ends them."""

POLL_S = 0.05

_foreground: dict[Path, subprocess.Popen[bytes]] = {}
"""Supervisors that end with this process, by directory: its children, to be waited for."""


def up(
    directory: Path,
    config: Path | None = None,
    workers: int | None = None,
    *,
    detach: bool = True,
    progress: Callable[[str], None] = lambda _: None,
    ports: Mapping[str, int] | None = None,
    sandbox_arguments: Sequence[str] | None = None,
    stack_plan: str | None = None,
    policy: Mapping[str, float] | None = None,
) -> StackState:
    """Brings up the stack of a directory and returns its state when everything is ready; raises a TidemarkError that says why not.

    What is None is as at the last `up` in this directory. A running stack is left as it is. `detach`: it outlives this process;
    otherwise it is taken down when this process ends, and `stay` waits for that. `ports` asks for ports by name (`kafka`,
    `clickhouse`, `sandbox`, `meter-0`, …).
    """
    layout = _layout(directory)
    machine.check_directory(layout.root)
    if running(layout.root):
        progress(f"the stack in {layout.root} is already running")
        return _must_read(layout)
    asked = options.load(layout)
    changes: dict[str, object] = {
        "config": options.absolute(config),
        "workers": workers,
        "sandbox_arguments": tuple(sandbox_arguments) if sandbox_arguments is not None else None,
        "plan": stack_plan,
        "policy": dict(policy) if policy is not None else None,
    }
    wanted = replace(asked, **{name: value for name, value in changes.items() if value is not None})  # type: ignore[arg-type]
    if wanted.workers < 1:
        raise UsageError("a stack needs at least one meter worker: --workers 1 or more")
    machine.check(layout.root, wanted.workers)
    options.request_ports(layout, dict(ports or {}))
    if wanted.plan == options.STANDARD_PLAN:
        jars.class_path(progress)
    options.save(layout, wanted)
    _start_supervisor(layout, progress, detach=detach)
    return _must_read(layout)


def _start_supervisor(layout: Layout, progress: Callable[[str], None], *, detach: bool) -> None:
    """Starts the supervisor and returns when it says that the stack is up; StackFailed with its reason otherwise."""
    reading, writing = os.pipe()
    with os.fdopen(reading, encoding="utf-8") as report:
        try:
            supervisor = process.start(
                [sys.executable, "-m", "infra.embedded", str(layout.root), "--report", str(writing), *(["--detach"] if detach else [])],
                layout.log("supervisor"),
                {**os.environ, **plan.python_environment()},
                death_signal=None if detach else signal.SIGTERM,
                pass_fds=[writing],
            )
        finally:
            os.close(writing)
        if detach:
            supervisor.wait()
        else:
            _foreground[layout.root] = supervisor
        _follow(report, progress, layout)


def _follow(report: Iterable[str], progress: Callable[[str], None], layout: Layout) -> None:
    """Reads the supervisor's report until it says that the stack is up; StackFailed with its reason otherwise.

    A supervisor that failed has already ended everything. After a Ctrl-C it is told to: it is ours by its pid, for the directory
    may by now belong to another `up`.
    """
    pid = 0
    try:
        for text in report:
            line = json.loads(text)
            pid = line.get("pid", pid)
            if "progress" in line:
                progress(line["progress"])
            elif "failed" in line:
                raise StackFailed(line["failed"], line["exit_code"])
            elif line.get("ready"):
                return
    except KeyboardInterrupt:
        if pid:
            _end_supervisor(pid, layout)
        raise
    log = layout.log("supervisor")
    raise StackFailed(f"the stack did not come up; the end of {log}:\n{process.tail(log, 12)}")


def stay(directory: Path) -> None:
    """Waits until the stack ends or somebody presses Ctrl-C, and then takes it down."""
    try:
        while running(directory):
            time.sleep(POLL_S * 5)
    except KeyboardInterrupt:
        down(directory)


def down(directory: Path, progress: Callable[[str], None] = lambda _: None) -> bool:
    """Takes the stack of a directory down in order and returns when nothing of it runs; False where nothing ran.

    What a killed supervisor left behind is ended too.
    """
    layout = _layout(directory)
    pid = holder(layout)
    if pid is not None:
        progress("stopping workers, then servers")
        _end_supervisor(pid, layout)
    own = _foreground.pop(layout.root, None)
    if own is not None:
        process.end(own, DOWN_TIMEOUT_S)
    left = process.end_recorded(layout.run) if layout.run.is_dir() else []
    if pid is None or left:
        layout.state.unlink(missing_ok=True)
    return pid is not None or bool(left)


def running(directory: Path) -> bool:
    """Whether a supervisor has this directory now (its stack may still be starting or stopping)."""
    return holder(_layout(directory)) is not None


def kill(directory: Path, name: str, number: signal.Signals = signal.SIGKILL) -> int:
    """Sends a signal to one process of a running stack (or to its `supervisor`) and returns its pid; for demonstrations and tests."""
    layout = _layout(directory)
    state = _must_read(layout)
    pid = holder(layout) if name == "supervisor" else state.process(name).pid
    if pid is None:
        raise TidemarkError(f"{name} is not running just now: it is being started again")
    _signal(pid, number)
    return pid


def rest(directory: Path, idle: Iterable[str]) -> None:
    """These workers of a stack shall not run until the next call, all others shall: fewer or more of them without a stop. Returns at once.

    1. the wish is written down, so that the next `up` keeps it; 2. the supervisor is told. A crash between leaves the running stack as it was.
    """
    layout = _layout(directory)
    options.save(layout, replace(options.load(layout), idle=tuple(sorted(idle))))
    pid = holder(layout)
    if pid is not None:
        _signal(pid, signal.SIGUSR1)


def _layout(directory: Path) -> Layout:
    """The directory by a name that holds wherever its processes stand."""
    return Layout(Path(directory).expanduser().absolute())


def _must_read(layout: Layout) -> StackState:
    """The state of a stack that is up."""
    state = read_state(layout.root)
    if state is None:
        raise TidemarkError(f"there is no stack in {layout.root}, or it is only now starting: `tidemark up --dir {layout.root}`")
    return state


def _signal(pid: int, number: signal.Signals) -> None:
    """Signals a process that may have ended since we looked."""
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return


def _end_supervisor(pid: int, layout: Layout) -> None:
    """Asks a supervisor to take its stack down, and ends it where that takes too long."""
    with contextlib.suppress(psutil.NoSuchProcess):
        supervisor = psutil.Process(pid)
        deadline_s = time.monotonic() + DOWN_TIMEOUT_S
        _signal(pid, signal.SIGTERM)
        while process.runs(supervisor) and time.monotonic() < deadline_s:
            time.sleep(POLL_S)
        if process.runs(supervisor):
            supervisor.kill()
            process.end_recorded(layout.run)
