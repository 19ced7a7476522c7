"""Handles of the engine: a fresh one for whatever may change it, prepared ones again for what only reads."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from infra.embedded.engine import request as requests
from infra.embedded.engine import sql
from infra.embedded.engine.request import Request

Frame = tuple[str | None, int, tuple[tuple[str, str], ...]]
"""What a handle was told before its statement: database, `readonly`, settings."""

KEPT = 8
"""Idle handles that are kept, of all frames together: as many as the archive and a few people ask at once. One costs some tens of kB."""


class Lease:
    """A handle that one request has."""

    def __init__(self, handle: Any) -> None:
        self.handle = handle
        self.is_answered = False
        """Whether the answer came whole; only then is the handle as it was."""

    def answered(self) -> None:
        """Say that it did."""
        self.is_answered = True


class Handles:
    """Gives out handles that are told a request's database and settings; what one request says never reaches another.

    Making a handle and telling it takes 0.6 ms, as much as a small query: a handle whose statement could change nothing of it (it reads) is
    kept, and given only to a request of exactly the same frame. A statement that failed, or whose answer was not read to its end, ends its handle.
    """

    def __init__(self, connect: Callable[[], Any]) -> None:
        self._connect = connect
        self._idle: dict[Frame, list[Any]] = {}
        """No frame without a handle, else a client that states other settings each time leaves one of each; the frame asked for last comes last."""
        self._lock = threading.Lock()

    @contextmanager
    def of(self, request: Request) -> Iterator[Lease]:
        """A handle for this request, until its answer was read."""
        frame: Frame = (request.database, request.readonly, tuple(sorted(request.settings.items())))
        is_reading = request.insert is None and sql.is_streamed(request.statement)
        lease = Lease((self._take(frame) if is_reading else None) or self._made(request))
        try:
            yield lease
        finally:
            if not (is_reading and lease.is_answered and self._keep(frame, lease.handle)):
                lease.handle.close()

    def close(self) -> None:
        """Ends the idle ones."""
        with self._lock:
            idle = [handle for handles in self._idle.values() for handle in handles]
            self._idle.clear()
        for handle in idle:
            handle.close()

    def _take(self, frame: Frame) -> Any:
        with self._lock:
            kept = self._idle.pop(frame, None)
            if not kept:
                return None
            handle = kept.pop()
            if kept:
                self._idle[frame] = kept
            return handle

    def _keep(self, frame: Frame, handle: Any) -> bool:
        """Keeps a handle; where there are enough already, the one that nobody asked for longest ends."""
        with self._lock:
            kept = self._idle.pop(frame, [])
            self._idle[frame] = [*kept, handle]
            if sum(map(len, self._idle.values())) <= KEPT:
                return True
            oldest = next(iter(self._idle))
            gone = self._idle[oldest].pop(0)
            if not self._idle[oldest]:
                del self._idle[oldest]
        if gone is handle:
            return False
        gone.close()
        return True

    def _made(self, request: Request) -> Any:
        """A fresh handle, told database and settings; `readonly` last, for it forbids the rest."""
        handle = self._connect()
        try:
            if request.database:
                handle.query(f"USE `{request.database.replace('`', '``')}`", "TabSeparated")
            for statement in (requests.set_statement(request.settings), f"SET readonly = {request.readonly}" if request.readonly else None):
                if statement:
                    handle.query(statement, "TabSeparated")
        except BaseException:
            handle.close()
            raise
        return handle
