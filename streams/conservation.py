"""Law 7: every offset has exactly one fate, every posting lies in exactly one row. Both sums are exact at every durable point."""

from __future__ import annotations

from streams.state import PartitionState


def residual(state: PartitionState) -> int:
    """Offsets without exactly one fate; 0, or something is wrong."""
    return state.counters.residual


def postings_residual(state: PartitionState) -> int:
    """Postings counted but in no live or retired row; 0, or something is wrong. Walks all rows: for audits, not for the hot path."""
    return state.counters.postings - state.rows.events() - state.all_retired().events
