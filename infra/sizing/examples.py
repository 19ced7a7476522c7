"""The table of examples in infra/docs/sizing.md, computed: `python -m infra.sizing.examples` prints it anew after a constant was corrected."""

from __future__ import annotations

import sys
from typing import Final

from infra.sizing.figure import shown
from infra.sizing.load import stated
from infra.sizing.rule import size

EXAMPLES: Final[dict[str, dict[str, str]]] = {
    "1 k/s": {"events_per_s": "1k", "customers": "1k", "dedup_s": "1d", "partitions": "12"},
    "10 k/s": {"events_per_s": "10k", "customers": "10k", "dedup_s": "6h", "partitions": "24"},
    "100 k/s": {"events_per_s": "100k", "customers": "50k", "dedup_s": "1h", "partitions": "48", "calls_per_s": "1000"},
    "1 M/s": {"events_per_s": "1M", "customers": "200k", "dedup_s": "10m", "partitions": "192", "calls_per_s": "1000"},
}
"""Load by name; windows of one hour, a horizon of 30 days, events of 240 bytes, the rest as `stated` assumes."""

_LOAD: Final = (("customers", "customers"), ("dedup", "dedup_s"), ("partitions", "partitions"), ("calls a second allowed", "calls_per_s"))
_ROWS: Final = (
    ("meter cores", "meter_cores"),
    ("meter workers of 8 GB", "meter_workers"),
    ("memory of each", "meter_memory_per_worker"),
    ("of all: ids", "ids_memory"),
    ("of all: ids in local files", "ids_file"),
    ("of all: windows kept", "kept_windows_memory"),
    ("archive workers", "archive_workers"),
    ("report workers", "report_workers"),
    ("ClickHouse cores", "clickhouse_cores"),
    ("partitions suggested", "partitions_suggested"),
    ("usage.events, 7 days", "events_topic_kept"),
    ("usage.state, steady", "state_topic_kept"),
    ("Kafka, 3 replicas", "kafka_disk"),
    ("raw events a day in ClickHouse", "clickhouse_raw_per_day"),
    ("calls a second wanted", "calls"),
    ("the calls of one window take", "window_drain"),
    ("a worker that ends is replaced in", "recovery"),
)


def markdown() -> list[str]:
    """The table's lines."""
    sized = {name: size(stated(given, {}, "").load) for name, given in EXAMPLES.items()}
    lines = ["| | " + " | ".join(EXAMPLES) + " |", "|---|" + "---:|" * len(EXAMPLES)]
    for title, name in _LOAD:
        lines.append(f"| *{title}* | " + " | ".join(given.get(name, "80") for given in EXAMPLES.values()) + " |")
    for title, key in _ROWS:
        units = {figure.key: figure.unit for figure in next(iter(sized.values())).figures}
        unit = units[key] if units[key] in {"B", "B/day", "s"} else ""
        lines.append(f"| {title} | " + " | ".join(shown(sizing.of(key), unit) for sizing in sized.values()) + " |")
    return lines


if __name__ == "__main__":
    sys.stdout.write("\n".join(markdown()) + "\n")
