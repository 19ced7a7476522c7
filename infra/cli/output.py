"""What verbs print: tables and sentences for people, JSON for programs; plain text without colour or bars where stdout is a pipe."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

WIDE = 10_000
"""Columns of a pipe: a line that is cut or folded there is a line that no program can read."""


_HIDDEN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
"""Controls of a terminal (colours, cursor, title), and what turns the order of what is read: all but the ends of lines and tabs."""


def shown(text: str) -> str:
    """Text as it can do no harm: ids, sources and reasons are written by others, and a terminal would obey what is hidden in them."""
    return _HIDDEN.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def console(*, stderr: bool = False) -> Console:
    """A console that colours only a terminal, and never breaks lines in a pipe."""
    from rich.console import Console

    class Careful(Console):
        def render_str(self, text: str, **options: Any) -> Text:  # every str that is printed, cells of tables too
            return super().render_str(shown(text), **options)

    stream = sys.stderr if stderr else sys.stdout
    width = None if stream.isatty() else WIDE
    return Careful(file=stream, width=width, soft_wrap=not stream.isatty(), highlight=False)


def say(text: str) -> None:
    """A sentence on stdout."""
    print(shown(text))


def note(text: str) -> None:
    """A sentence beside the result: on stderr, so that stdout stays what was asked for."""
    print(shown(text), file=sys.stderr)


def say_error(text: str) -> None:
    """A fault, in one sentence; more lines (a configuration's faults, the end of a log) stand indented below."""
    print(shown("tidemark: " + "\n  ".join(text.splitlines() or [""])), file=sys.stderr)


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
        made.add_row(*(Text("" if cell is None else _cell(cell)) for cell in row))
    out.print(made)


def _cell(value: object) -> str:
    """On one line, so that no value can look like a row of its own."""
    return shown(str(value)).replace("\n", "\\n").replace("\t", "\\t")


def fields(values: Mapping[str, object]) -> None:
    """Names and values below each other."""
    width = max((len(name) for name in values), default=0)
    for name, value in values.items():
        print(shown(f"{name.ljust(width)}  {value}"))


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
