"""Four independent counts of the same usage, per customer and meter, and the drift between them: sent, counted, Stripe, ClickHouse.

Each is read where it lies: what was sent from the generator's own dictionaries, what was counted from `usage.windows`, what Stripe holds from
its usage record summaries, what ClickHouse holds from the raw events.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, NamedTuple

from infra.kafka_io import reader
from infra.reading import ask
from topics.catalog import WINDOWS
from topics.quantity import ONE, format_scaled, parse_total
from topics.window_total import WindowTotal, decode_window_total
from topics.windows import Window

if TYPE_CHECKING:
    from infra.settings import Settings

Units = Mapping[tuple[str, str], int]
"""(customer, meter) → quantity × 10¹²."""
SUMMARY_LANES = 32
"""Summaries asked at the same time: fills the sandbox's 1,000 calls a second at 5 ms each, and no more."""

RAW = """
SELECT customer, meter, sum(quantity) AS quantity, count() AS events FROM usage_events
WHERE verdict = 'counted' GROUP BY customer, meter
"""
NOT_COUNTED = "SELECT verdict, reason, uniqExact(kafka_partition, kafka_offset) AS events FROM usage_events WHERE verdict != 'counted' GROUP BY ALL"


class Line(NamedTuple):
    """One customer and meter: four totals in units as decimal strings, events sent, and whether all are the same number."""

    customer: str
    meter: str
    events: int
    sent: int
    counted: int
    stripe: int
    raw: int

    @property
    def drift(self) -> int:
        """The widest difference between any two of the four, × 10¹²; 0 or something is wrong."""
        four = (self.sent, self.counted, self.stripe, self.raw)
        return max(four) - min(four)


def lines(sent: Units, events: Mapping[tuple[str, str], int], counted: Units, stripe: Units, raw: Units) -> list[Line]:
    """One line for everything that appears anywhere: usage that nobody sent is drift too."""
    found = sorted({*sent, *counted, *stripe, *raw})
    return [Line(*at, events.get(at, 0), sent.get(at, 0), counted.get(at, 0), stripe.get(at, 0), raw.get(at, 0)) for at in found]


def latest(totals: Iterable[WindowTotal]) -> dict[Window, WindowTotal]:
    """The newest revision of every window."""
    newest: dict[Window, WindowTotal] = {}
    for total in totals:
        held = newest.get(total.window)
        if held is None or total.revision > held.revision:
            newest[total.window] = total
    return newest


async def counted_units(bootstrap: str, partitions: int) -> tuple[Units, int]:
    """What the meter emitted, and how many windows that is."""
    parts = await asyncio.gather(*(_totals(bootstrap, partition) for partition in range(partitions)))
    newest = latest(total for part in parts for total in part)
    units: Counter[tuple[str, str]] = Counter()
    for window, total in newest.items():
        units[window.customer, window.meter] += total.scaled
    return units, len(newest)


async def _totals(bootstrap: str, partition: int) -> list[WindowTotal]:
    where = f"{WINDOWS}-{partition}"
    return [decode_window_total(record.value, where) async for record in reader(bootstrap, WINDOWS, partition, 0)]


def raw_units(settings: Settings) -> Units:
    """What the raw events in ClickHouse sum up to."""
    return {(row["customer"], row["meter"]): parse_total(str(row["quantity"])) for row in ask(settings, RAW)}


def not_counted(settings: Settings) -> dict[str, int]:
    """Events that were not counted, by verdict and reason."""
    found = ask(settings, NOT_COUNTED)
    return {row["verdict"] + (f" ({row['reason']})" if row["reason"] else ""): int(row["events"]) for row in found}


def shown(scaled: int) -> str:
    """Units with thousands separated, for a table."""
    whole, _, fraction = format_scaled(scaled).partition(".")
    return f"{int(whole):,}" + (f".{fraction}" if fraction else "")


def units_of(counts: Mapping[tuple[str, str], int]) -> Units:
    """Whole units × 10¹²."""
    return {at: units * ONE for at, units in counts.items()}
