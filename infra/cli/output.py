"""What verbs print: tables and sentences for people, JSON for programs; plain text without colour or bars where stdout is a pipe."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console

WIDE = 10_000
"""Columns of a pipe: a line that is cut or folded there is a line that no program can read."""


def console(*, stderr: bool = False) -> Console:
    """A console that colours only a terminal, and never breaks lines in a pipe."""
    from rich.console import Console

    stream = sys.stderr if stderr else sys.stdout
    width = None if stream.isatty() else WIDE
    return Console(file=stream, width=width, soft_wrap=not stream.isatty(), highlight=False)


def say(text: str) -> None:
    """A sentence on stdout."""
    print(text)


def note(text: str) -> None:
    """A sentence beside the result: on stderr, so that stdout stays what was asked for."""
    print(text, file=sys.stderr)


def say_error(text: str) -> None:
    """A fault, in one sentence; more lines (a configuration's faults, the end of a log) stand indented below."""
    print("tidemark: " + "\n  ".join(text.splitlines() or [""]), file=sys.stderr)


def print_json(value: Any) -> None:
    """One JSON value on stdout; numbers beyond 2⁵³ and decimals are strings already."""
    print(json.dumps(value, ensure_ascii=False, default=str))


def table(columns: Sequence[str], rows: Sequence[Sequence[object]], *, title: str | None = None, right: Sequence[str] = ()) -> None:
    """A table: with lines on a terminal, aligned text in a pipe. `right` names the columns of numbers."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    out = console()
    made = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD if out.is_terminal else None, pad_edge=False)
    for name in columns:
        made.add_column(name, justify="right" if name in right else "left", no_wrap=not out.is_terminal, overflow="fold")
    for row in rows:
        made.add_row(*(Text("" if cell is None else str(cell)) for cell in row))
    out.print(made)


def fields(values: Mapping[str, object]) -> None:
    """Names and values below each other."""
    width = max((len(name) for name in values), default=0)
    for name, value in values.items():
        print(f"{name.ljust(width)}  {value}")


@contextmanager
def status_line(text: str, *, quiet: bool = False) -> Iterator[Any]:
    """A line that changes while one waits, on a terminal's stderr; elsewhere nothing. Yields a function that changes it."""
    out = console(stderr=True)
    if quiet or not out.is_terminal:
        yield lambda _text: None
        return
    with out.status(text) as status:
        yield status.update


@contextmanager
def progress_bar(text: str, total: int | None, *, quiet: bool = False) -> Iterator[Any]:
    """A bar on a terminal's stderr; elsewhere nothing. Yields a function that takes steps."""
    out = console(stderr=True)
    if quiet or not out.is_terminal:
        yield lambda _steps: None
        return
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    with Progress(TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn(), console=out, transient=True) as bar:
        task = bar.add_task(text, total=total)
        yield lambda steps: bar.update(task, advance=steps)
