"""Fills an archive of a wanted size with SQL alone: raw events in the density of 10⁸ a month, then what follows from them."""

from __future__ import annotations

import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from importlib import resources
from itertools import pairwise
from typing import Any

from sinks.clickhouse.client import ClickHouse
from sinks.clickhouse.tables import MARK, PROGRESS
from tests.benchmarks.archive.events import BEGIN_MS

PARTITIONS = 16
MONTH_ROWS, MONTH_MS = 100_000_000, 30 * 86_400_000
"""10⁸ events in 30 days, 39 a second: fewer rows are fewer days, never sparser windows."""
CUSTOMERS = 10_000
PARTS = 16
"""Windows are made for so many groups of customers, each with about as many events, so that memory stays small."""
PATIENCE_S = 7200
DRAWN_ROWS = 1_000_000
"""Rows of one INSERT: bounds the engine's memory, and is seen as progress."""


def fill(clickhouse: ClickHouse, rows: int, say: Callable[[str], None]) -> None:
    """Everything, in the order the worker writes it."""
    for first in range(0, rows, DRAWN_ROWS):
        last = min(first + DRAWN_ROWS, rows)
        run(clickhouse, "fill_raw", partitions=PARTITIONS, begin_ms=BEGIN_MS, rows=MONTH_ROWS, span_ms=MONTH_MS, first=first, last=last)
        say(f"{last:,} raw events")
    run(clickhouse, "fill_verdicts", partitions=PARTITIONS)
    below = rows // PARTITIONS + 1
    clickhouse.insert(MARK, [list(column) for column in zip(*[(p, 0, below, 0, 0, 0, 0, 0, 0, 0, 0, 0) for p in range(PARTITIONS)], strict=True)])
    progress = [(b"usage.events", p, 0, below) for p in range(PARTITIONS)]
    clickhouse.insert(PROGRESS, [list(column) for column in zip(*progress, strict=True)])
    say("verdicts, marks and progress")
    edges = [f"cus_{int(CUSTOMERS * (part / PARTS) ** 3):08d}" for part in range(PARTS)] + ["cus_a"]
    for low, high in pairwise(edges):
        run(clickhouse, "fill_windows", low=low, high=high)
    say("windows")
    run(clickhouse, "fill_receipts")
    say("deliveries")


def run(clickhouse: ClickHouse, name: str, **parameters: Any) -> None:
    """One of the .sql files beside this one."""
    command(clickhouse, (resources.files("tests.benchmarks.archive") / f"{name}.sql").read_text(), parameters)


def command(clickhouse: ClickHouse, sql: str, parameters: dict[str, Any]) -> None:
    """A statement that may take longer than the product's own client waits; in large blocks, so that few parts are left to merge."""
    settings = {"max_insert_threads": 1, "min_insert_block_size_rows": DRAWN_ROWS, "min_insert_block_size_bytes": 0, "max_block_size": 65_536}
    asked = settings | {"database": clickhouse.address.database} | {f"param_{name}": str(value) for name, value in parameters.items()}
    where = f"{clickhouse.address.url}/?{urllib.parse.urlencode(asked)}"
    request = urllib.request.Request(where, data=sql.encode(), headers={"Content-Type": "text/plain"})
    try:
        with urllib.request.urlopen(request, timeout=PATIENCE_S) as answer:
            answer.read()
    except urllib.error.HTTPError as error:
        raise RuntimeError(error.read().decode(errors="replace")) from error
