"""`tidemark explain CUSTOMER METER START`: a window as the archive knows it (`sinks/clickhouse/explain.py`)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from infra.reading import clickhouse, instant
from topics.errors import TidemarkError
from topics.instants import US_PER_S

if TYPE_CHECKING:
    from infra.settings import Settings
    from sinks.clickhouse.explain import Explanation


def explained_window(settings: Settings, customer: str, meter: str, start: str) -> Explanation:
    """The window that holds the instant. Raises TidemarkError where there is no such window."""
    from sinks.clickhouse.explain import explain

    archive = clickhouse(settings)
    try:
        found = explain(archive, customer, meter, instant(start, "START") // US_PER_S)
    finally:
        archive.close()
    if found is None:
        sentence = f"the archive knows of no window of {customer!r} and meter {meter!r} at {start}"
        raise TidemarkError(f"{sentence}; `tidemark windows --customer {customer}` lists those there are")
    return found
