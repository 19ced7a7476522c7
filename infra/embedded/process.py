"""Child processes that cannot outlive us: started tethered, written down, found again by pid and start time, ended for certain."""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import platform
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import psutil

from infra.embedded.files import DamagedFile, read_document, write_atomically

PR_SET_PDEATHSIG = 1
"""Linux prctl(2): the signal that a process gets when the thread that started it ends."""

START_TOLERANCE_S = 2.0
"""How far a process's start time may seem to move: psutil adds clock ticks to a boot time that a clock adjustment shifts."""

LOG_MAX_BYTES = 8 * 1024 * 1024
"""A log larger than this at a start is set aside (one old one is kept): workers log a few lines a minute, so it holds weeks."""

POLL_S = 0.02

END_TIMEOUT_S = 10.0
"""After SIGKILL a process is gone in milliseconds unless the kernel waits for a disk; then waiting longer helps nobody."""


def tether(death_signal: signal.Signals) -> Callable[[], None]:
    """A function for the child's side of a fork: the kernel sends it this signal when its parent dies, however it dies.

    Linux only; elsewhere it does nothing and infra.embedded.watcher does the work. Bound to the *thread* that forks.
    """
    if platform.system() != "Linux":
        return lambda: None
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    parent = os.getpid()

    def in_child() -> None:
        prctl(PR_SET_PDEATHSIG, int(death_signal), 0, 0, 0)
        # The parent may have died between fork and prctl; then nobody would ever send the signal.
        if os.getppid() != parent:
            os._exit(1)

    return in_child


def start(
    command: Sequence[str],
    log: Path,
    environment: Mapping[str, str],
    *,
    death_signal: signal.Signals | None = signal.SIGKILL,
    pass_fds: Sequence[int] = (),
    directory: Path | None = None,
) -> subprocess.Popen[bytes]:
    """Starts a child in a session of its own (so that a Ctrl-C reaches only us), its output appended to `log`.

    It gets `death_signal` when this thread ends; with None it outlives us.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    rotate(log)
    with log.open("ab") as output:
        return subprocess.Popen(
            list(command),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=dict(environment),
            cwd=directory,
            start_new_session=True,
            pass_fds=tuple(pass_fds),
            # Safe because whoever starts children here runs no other thread that could hold a lock at the fork.
            preexec_fn=tether(death_signal) if death_signal is not None else None,  # noqa: PLW1509
        )


def rotate(log: Path) -> None:
    """Sets a large log aside as `<name>.1`."""
    with contextlib.suppress(FileNotFoundError):
        if log.stat().st_size > LOG_MAX_BYTES:
            log.replace(log.with_name(log.name + ".1"))


def tail(log: Path, lines: int) -> str:
    """The last lines of a log, or an empty text where there is none."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - 16_384))
            text = file.read().decode(errors="replace")
    except FileNotFoundError:
        return ""
    return "\n".join(text.rstrip().splitlines()[-lines:])


def record(directory: Path, name: str, pid: int) -> None:
    """Writes down which process this is, so that a later supervisor finds it even if we are killed."""
    with contextlib.suppress(psutil.NoSuchProcess):
        started = psutil.Process(pid).create_time()
        write_atomically(directory / f"{name}.pid", json.dumps({"pid": pid, "started": started}))


def forget(directory: Path, name: str) -> None:
    """Removes the note of a process that was seen to end."""
    (directory / f"{name}.pid").unlink(missing_ok=True)


def recorded(directory: Path) -> dict[str, psutil.Process]:
    """The processes written down in `directory` that still run; a pid that another program got since is not one of them."""
    alive = {}
    for path in sorted(directory.glob("*.pid")):
        note = read_document(path)
        if note is None:
            continue
        if type(note.get("pid")) is not int or not 0 < note["pid"] < 1 << 31 or not isinstance(note.get("started"), int | float):
            raise DamagedFile(path, "it names no process")
        with contextlib.suppress(psutil.NoSuchProcess):
            process = psutil.Process(note["pid"])
            if abs(process.create_time() - note["started"]) <= START_TOLERANCE_S and runs(process):
                alive[path.stem] = process
    return alive


def runs(process: psutil.Process) -> bool:
    """Whether a process does anything yet; a dead one whose parent has not looked holds no file and no port."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def end_recorded(directory: Path) -> list[str]:
    """Kills every process written down in `directory`, waits for its end and forgets it; returns the names of those that still ran."""
    alive = recorded(directory)
    for process in alive.values():
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    deadline_s = time.monotonic() + END_TIMEOUT_S
    while any(map(runs, alive.values())) and time.monotonic() < deadline_s:
        time.sleep(POLL_S)
    for path in directory.glob("*.pid"):
        path.unlink(missing_ok=True)
    return sorted(alive)


def end(process: subprocess.Popen[bytes], patience_s: float) -> int:
    """Asks a child to end, kills it when it has not after `patience_s`; its exit code (negative: the signal that ended it)."""
    if process.poll() is None:
        process.terminate()
    try:
        return process.wait(patience_s)
    except subprocess.TimeoutExpired:
        process.kill()
        return process.wait(END_TIMEOUT_S)


def own_pid() -> int:
    """The pid of this process."""
    return os.getpid()
