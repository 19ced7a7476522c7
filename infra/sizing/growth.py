"""How topics and tables grow: bytes a day, and where it ends. Pure."""

from __future__ import annotations

from typing import Final

from infra.sizing import constants as c
from infra.sizing.figure import Figure
from infra.sizing.load import Load
from infra.sizing.state import State

DAY_S: Final = 86_400


def topics(load: Load, state: State) -> list[Figure]:
    """The topics that grow; bytes of one replica, and at last of all of them."""
    retained_days = load.retention_s / DAY_S
    per_day = {
        "events": load.mean_events_per_s * DAY_S * (load.event_bytes + c.KEY_BYTES + c.RECORD_BYTES),
        "windows": state.revisions_per_s * DAY_S * c.WINDOW_RECORD_BYTES,
        "receipts": state.revisions_per_s * DAY_S * c.RECEIPTS_A_DELIVERY * c.RECEIPT_RECORD_BYTES,
        "verdicts": load.mean_events_per_s * (load.duplicates + load.rejected) * DAY_S * c.VERDICT_RECORD_BYTES
        + _flushes_per_s(load) * DAY_S * c.MARK_RECORD_BYTES,
        "rejected": load.mean_events_per_s * load.rejected * DAY_S * (load.event_bytes + c.KEY_BYTES + c.REJECTED_EXTRA_BYTES),
        "state": state.counted_per_s * DAY_S * c.PACKED_ID_BYTES * c.ID_WRITES
        + state.mean_rows_written_per_s * DAY_S * c.PACKED_ROW_BYTES
        + _flushes_per_s(load) * DAY_S * c.COUNTERS_BYTES,
    }
    cells_kept = state.cells / load.window_s * DAY_S * c.CELL_DAYS
    kept = {
        "events": per_day["events"] * retained_days,
        "windows": per_day["windows"] * c.OTHER_TOPICS_DAYS,
        "receipts": cells_kept * c.RECEIPT_RECORD_BYTES * (1 + c.DIRTY_SHARE),
        "verdicts": per_day["verdicts"] * c.OTHER_TOPICS_DAYS,
        "rejected": per_day["rejected"] * c.OTHER_TOPICS_DAYS,
        "state": state.changelog_bytes(load),
    }
    rules = {
        "events": ("--mean-events-per-s × (--event-bytes + KEY_BYTES + RECORD_BYTES)", "× --retention"),
        "windows": ("revisions × WINDOW_RECORD_BYTES", f"× {c.OTHER_TOPICS_DAYS} days"),
        "receipts": ("revisions × RECEIPTS_A_DELIVERY × RECEIPT_RECORD_BYTES", "one record a cell for CELL_DAYS, compacted"),
        "verdicts": ("not counted × VERDICT_RECORD_BYTES + marks", f"× {c.OTHER_TOPICS_DAYS} days"),
        "rejected": ("rejected × (--event-bytes + REJECTED_EXTRA_BYTES)", f"× {c.OTHER_TOPICS_DAYS} days"),
        "state": ("ids × PACKED_ID_BYTES × ID_WRITES + rows written × PACKED_ROW_BYTES + counters", "live rows × ROW_COPIES + ids + spare"),
    }
    figures = []
    for name, (growth, end) in rules.items():
        figures.append(Figure(f"{name}_topic_per_day", per_day[name], "B/day", growth))
        figures.append(Figure(f"{name}_topic_kept", kept[name], "B", end))
    figures.append(Figure("kafka_disk", sum(kept.values()) * load.replication, "B", f"all topics × --replication {load.replication}, at steady size"))
    return figures


def _flushes_per_s(load: Load) -> float:
    """A partition is flushed once a turn where it has events at all."""
    return min(load.partitions / c.TURN_S, load.mean_events_per_s)


def raw_row_bytes(event_bytes: int) -> float:
    """A row of `raw_events` for events of this length."""
    return c.RAW_ROW_BYTES + c.RAW_SHARE_OF_MORE * max(0, event_bytes - c.RAW_ROW_AT_BYTES)


def clickhouse(load: Load, state: State) -> list[Figure]:
    """The archive's tables; one copy, which a replicated table has as often as it has replicas."""
    row_bytes = raw_row_bytes(load.event_bytes)
    raw = load.mean_events_per_s * DAY_S * row_bytes
    verdicts = load.mean_events_per_s * (load.duplicates + load.rejected) * c.VERDICT_ROW_BYTES
    others = (verdicts + state.revisions_per_s * (c.WINDOW_ROW_BYTES + c.RECEIPTS_A_DELIVERY * c.RECEIPT_ROW_BYTES)) * DAY_S
    return [
        Figure("clickhouse_raw_per_day", raw, "B/day", f"--mean-events-per-s × {row_bytes:.0f} B (RAW_ROW_BYTES, RAW_SHARE_OF_MORE)"),
        Figure("clickhouse_raw_kept", raw * load.raw_days, "B", f"× --raw-days {load.raw_days:g}"),
        Figure("clickhouse_books_per_day", others, "B/day", "revisions × (WINDOW_ROW_BYTES + 2 × RECEIPT_ROW_BYTES) + verdicts"),
        Figure("clickhouse_books_per_year", others * 365, "B", "× 365; kept as long as the books"),
    ]
