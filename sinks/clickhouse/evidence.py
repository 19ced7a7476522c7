"""The events behind a span as lines that anybody can hash again: each with its own bytes, in the order of the log, page by page.

The lines are the engine's JSON, unchanged: nothing of this program stands between the archive and the file (infra/docs/explaining.md has the form).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final, Protocol

from sinks.clickhouse.span import LONGEST_WINDOW_S, query

PAGE: Final = 50_000
"""Events read at once: some 30 MB with their bytes, a second of the engine's time."""


class LineReader(Protocol):
    """Asks ClickHouse; `client.ClickHouse` is one."""

    def rows(self, sql: str, parameters: Mapping[str, Any] | None = None) -> list[tuple[Any, ...]]:
        """Rows of a query."""
        ...

    def lines(self, sql: str, parameters: Mapping[str, Any] | None = None) -> list[bytes]:
        """Rows of a query as JSON."""
        ...


def events(reader: LineReader, customer: str, meter: str, from_s: int, to_s: int, *, size: int = PAGE) -> Iterator[bytes]:
    """One JSON object for each counted event of the windows that start in `[from_s, to_s)`, by (generation, offset)."""
    asked = {"customer": customer, "meter": meter, "from_s": from_s, "to_s": to_s, "until_s": to_s + LONGEST_WINDOW_S}
    begin = (0, 0)
    for generation, offset in reader.rows(query("evidence_pages"), asked | {"size": size}):
        end = (generation, offset + 1)
        page = {"generation_from": begin[0], "offset_from": begin[1], "generation_to": end[0], "offset_to": end[1]}
        yield from reader.lines(query("evidence_events"), asked | page)
        begin = end
