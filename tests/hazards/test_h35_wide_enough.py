"""H35: a revision kept as 32 bits overflows after four thousand million offsets."""

from __future__ import annotations

import random

from sinks.clickhouse.record_rows import window_row
from sinks.clickhouse.tables import WINDOW, columns_of
from tests.core.report_world import total_of
from tests.hazards.archive import database
from tests.hazards.fold import clean
from topics.codec import encode

WIDE = {"UInt64"}


def seeded(seed: int) -> list[str]:
    """Every column that holds an offset or a revision is 64 bits wide, and a total beyond 2³² comes back as the newest."""
    rng, clickhouse, faults = random.Random(seed), database(), list[str]()
    for row in clickhouse.read("SELECT table, name, type FROM system.columns WHERE database = currentDatabase()"):
        holds_offset = row["name"].endswith("_offset") or row["name"] in {"revision", "next_offset"}
        if holds_offset and row["type"] not in WIDE:
            faults.append(f"{row['table']}.{row['name']} is {row['type']}")
    low, high = 2**32 - 1 - rng.randrange(1000), 2**32 + rng.randrange(1000)
    rows = [(*window_row(encode(total_of("acme", 0, offset * 10**12, offset)), (), ""), 0, offset) for offset in (high, low)]
    clickhouse.insert(WINDOW, columns_of(rows, WINDOW))
    found = clickhouse.read("SELECT through_offset AS o, revisions AS n FROM window_totals")
    return faults if found == [{"o": high, "n": 2}] else [*faults, f"the newest revision of {low} and {high} is {found}"]


def test_h35_offsets_and_revisions_are_64_bits_wide() -> None:
    """Wherever an offset or a revision is kept it has 64 bits, and a revision beyond 2³² is greater than one before."""
    assert not clean(seeded, 1)
