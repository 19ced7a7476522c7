"""One supervisor a directory: a lock that the kernel drops with its holder, so that no crash leaves one behind."""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Iterator
from typing import TextIO

from infra.embedded.layout import Layout
from topics.errors import UsageError


class AlreadyRunning(UsageError):
    """Another supervisor has the directory."""


WAIT_S = 1.0
"""A look at the lock (`holder`) takes it for microseconds; a supervisor that starts in that moment tries again for this long."""

STEP_S = 0.01


@contextlib.contextmanager
def hold(layout: Layout) -> Iterator[None]:
    """Holds the directory for this process; AlreadyRunning where another has it."""
    layout.run.mkdir(parents=True, exist_ok=True)
    with layout.lock.open("a+", encoding="ascii") as file:
        deadline_s = time.monotonic() + WAIT_S
        while not _try(file, fcntl.LOCK_EX):
            if time.monotonic() > deadline_s:
                raise AlreadyRunning(
                    f"the stack in {layout.root} is already running: see it with `tidemark status --dir {layout.root}`, "
                    f"or end it with `tidemark down --dir {layout.root}`"
                )
            time.sleep(STEP_S)
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        try:
            yield
        finally:
            file.truncate(0)


def holder(layout: Layout) -> int | None:
    """The pid of the supervisor that has the directory, or None where none has."""
    text = _look(layout)
    while text == "":
        # Held, but its pid is not written yet (or no longer): in a moment it is one or the other.
        time.sleep(STEP_S)
        text = _look(layout)
    return int(text) if text else None


def _look(layout: Layout) -> str | None:
    """What is written in the lock file while somebody holds it, None where nobody does."""
    try:
        with layout.lock.open("r", encoding="ascii") as file:
            return None if _try(file, fcntl.LOCK_SH) else file.read()
    except (FileNotFoundError, NotADirectoryError):
        return None


def _try(file: TextIO, kind: int) -> bool:
    """Whether the lock could be had at once."""
    try:
        fcntl.flock(file, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
