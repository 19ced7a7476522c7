"""Files of usage as numbered lines: plain, `.gz`, or standard input (spooled to disk where it must be read twice)."""

from __future__ import annotations

import gzip
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from topics.errors import UsageError

STDIN = "-"


@contextmanager
def rereadable(name: str, *, twice: bool) -> Iterator[str | Path]:
    """A name that can be opened as often as needed; the copy of standard input is gone afterwards."""
    if name != STDIN:
        yield Path(name)
    elif not twice:
        yield STDIN
    else:
        with tempfile.NamedTemporaryFile(prefix="tidemark-stdin-") as copy:
            shutil.copyfileobj(sys.stdin.buffer, copy)
            copy.flush()
            yield Path(copy.name)


def size_bytes(name: str | Path) -> int | None:
    """Size of a plain file, for a progress bar; None where lines do not add up to it (standard input, .gz)."""
    if not isinstance(name, Path) or name.suffix == ".gz":
        return None
    try:
        return name.stat().st_size
    except OSError:
        return None


def numbered_lines(name: str | Path, advance: Callable[[int], None] = lambda _: None) -> Iterator[tuple[int, bytes]]:
    """Lines without their ends (LF or CRLF), from 1; `advance` is told the bytes read. Raises UsageError where the file cannot be read."""
    try:
        with _opened(name) as file:
            for number, line in enumerate(file, start=1):
                advance(len(line))
                yield number, line.rstrip(b"\r\n")
    except FileNotFoundError:
        raise UsageError(f"there is no file {name}") from None
    except (OSError, EOFError) as error:
        raise UsageError(f"{name} cannot be read: {error}") from None


@contextmanager
def _opened(name: str | Path) -> Iterator[IO[bytes]]:
    if name == STDIN:
        yield sys.stdin.buffer
        return
    path = Path(name)
    with gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb") as file:
        yield file  # type: ignore[misc]  # GzipFile reads lines as a file does
