"""The engine itself. Every request has a handle (`handles.py`) of which settings, USE and readonly of another are never seen."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from infra.embedded.engine import sql
from infra.embedded.engine.handles import Handles
from infra.embedded.engine.request import Request
from topics.errors import TidemarkError

STREAMABLE = frozenset({"Native", "TabSeparated", "TSV", "CSV", "RowBinary", "JSONEachRow"})
"""Formats without a head or foot: the engine's blocks, one after the other, are a valid answer. Others are answered whole."""
ENDLESS = frozenset({"RowBinary"})
"""Of those, the ones whose end cannot be told from a break: answered whole where a client waits for the end. Drivers say that they do with nearly
every query; of the others a broken answer says so itself, and holding 150 MB of rows whole took 870 MB where block by block it takes 220."""

KEEP_FREE_BYTES = 64 * 1024 * 1024
"""An INSERT is refused where less would be free. chDB 4.4 looks at no answer of write(2): what it writes to a full disk becomes a part of empty
files that it has said yes to, and a merge likewise, so the disk must never be quite full. Merges of our sizes need a few MiB at a time."""


def shortage(data_bytes: int, free_bytes: int) -> str | None:
    """Why an INSERT of so many bytes is refused, as the engine itself says it; None where there is room. A part is rarely larger than its data."""
    needed = KEEP_FREE_BYTES + 2 * data_bytes
    return None if free_bytes >= needed else f"{full_text('the disk is nearly full')}: {free_bytes} bytes are free, {needed} are needed"


def full_text(why: str) -> str:
    """The engine's sentence for a full disk."""
    return f"Code: 243. DB::Exception: Cannot reserve space for the inserted data, {why}. (NOT_ENOUGH_SPACE)"


def write_all(file: Any, data: bytes) -> None:
    """Writes to an unbuffered file; a disk that takes no more is the engine's own error, so that a client knows to try later."""
    left = memoryview(data)
    try:
        while left:
            left = left[file.write(left) :]
    except OSError as error:
        raise RuntimeError(full_text(error.strerror or "it cannot be written")) from error


class EngineBusy(TidemarkError):
    """The engine's directory is open in another process, or cannot be opened at all."""


@dataclass
class Answer:
    """What a statement gave: `format_name` is None where there is no result set; `pieces` is read once, and is one where `is_whole`."""

    format_name: str | None
    summary: dict[str, str]
    pieces: Iterator[bytes]
    is_whole: bool = False

    @property
    def summary_json(self) -> str:
        """The text of the header X-ClickHouse-Summary."""
        return json.dumps(self.summary)


class Engine:
    """One chDB engine over one directory. One per process; open it after the last fork (a forked engine hangs)."""

    def __init__(self, directory: Path) -> None:
        """Opens the directory; EngineBusy where that fails, for example because another process has it open."""
        # The engine takes the machine's zone for its own; a server of ours is always UTC.
        os.environ["TZ"] = "UTC"
        import chdb

        try:
            directory.mkdir(parents=True, exist_ok=True)
            # The engine has such a lock too, but cannot say who it is that holds it.
            self._lock = (directory / "tidemark.lock").open("w", encoding="ascii")
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise EngineBusy(f"the ClickHouse engine cannot open {directory}: another process has it open") from error
        except OSError as error:
            raise EngineBusy(f"the ClickHouse engine cannot open {directory}: {error.strerror}") from error
        connect = chdb.connect
        path = str(directory)
        self._handles = Handles(lambda: connect(path))
        self._incoming = (directory / "incoming").resolve()
        """Data of inserts under way; what is left there is of a process that was killed."""
        shutil.rmtree(self._incoming, ignore_errors=True)
        self._incoming.mkdir()
        try:
            # Held open: the engine lives as long as its first handle, and a request's handle then costs 0.1 ms.
            self._first = connect(path)
        except RuntimeError as error:
            raise EngineBusy(f"the ClickHouse engine cannot open {directory}: {str(error).splitlines()[0]}") from error
        self.version = self._first.query("SELECT version()", "TabSeparated").bytes().decode().strip()

    def close(self) -> None:
        """Ends the engine; call it when no request is running."""
        self._handles.close()
        self._first.close()

    @contextmanager
    def execute(self, request: Request, data: Iterator[bytes]) -> Iterator[Answer]:
        """Runs one request; its handle lives until the answer was read. The engine's errors are raised as RuntimeError.

        An INSERT whose data ends in an error is cancelled: nothing of what was not yet a part on disk becomes visible.
        """
        with self._handles.of(request) as lease:
            handle = lease.handle
            if request.insert is not None:
                yield self._insert(handle, request, data)
            elif request.format_name in STREAMABLE - (ENDLESS if request.is_whole else set()) and sql.is_streamed(request.statement):
                stream = handle.send_query(request.statement.decode(), request.format_name, params=dict(request.parameters))
                try:
                    yield Answer(request.format_name, {}, _primed(stream, lease.answered))
                finally:
                    stream.close()
            else:
                result = handle.query(request.statement.decode(), request.format_name, params=dict(request.parameters))
                lease.answered()
                format_name = request.format_name if request.returns_rows else None
                yield Answer(format_name, _summary(result), iter([result.bytes()]) if format_name else iter(()), is_whole=True)

    def _insert(self, handle: Any, request: Request, data: Iterator[bytes]) -> Answer:
        """Runs an INSERT over a file of its data, in constant memory.

        Not the engine's streaming insert: that one answers with all rows written although the table refused them (too many partitions,
        a constraint, a full disk), and a client would take it for done.
        """
        parsed = request.insert or sql.Insert(b"", "", 0)
        with tempfile.NamedTemporaryFile(dir=self._incoming, buffering=0) as file:
            write_all(file, request.data_start)
            for piece in data:
                write_all(file, piece)
            refused = shortage(file.tell(), shutil.disk_usage(self._incoming).free)
            if refused is not None:
                raise RuntimeError(refused)
            where = file.name.replace("\\", "\\\\").replace("'", "\\'")
            statement = f"{request.statement.decode()} FROM INFILE '{where}' COMPRESSION 'none' FORMAT {parsed.format_name}"
            done = handle.query(statement, "TabSeparated")
        return Answer(None, _summary(done), iter(()))


def _primed(stream: Any, read: Callable[[], None]) -> Iterator[bytes]:
    """The bytes of a streaming result; its first block is fetched now, so that most errors come before the answer has begun. `read`: all is read."""
    first = next(stream, None)

    def pieces() -> Iterator[bytes]:
        if first is not None:
            yield first.bytes()
            for block in stream:
                yield block.bytes()
        read()

    return pieces()


def _summary(result: Any) -> dict[str, str]:
    """What the engine counted for a statement that was answered whole."""
    return {
        "read_rows": str(result.rows_read()),
        "read_bytes": str(result.bytes_read()),
        "written_rows": str(result.rows_written()),
        "written_bytes": str(result.bytes_written()),
        "elapsed_ns": str(int(result.elapsed() * 1e9)),
    }
