"""What was recomputed for a page, and from what. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from infra.explaining.markup import Child, Markup, table, tag

if TYPE_CHECKING:
    from sinks.clickhouse.explanation import Conservation
    from sinks.clickhouse.span_windows import Span, SpanWindow


def proof(span: Span, windows: Sequence[SpanWindow]) -> Markup:
    """Totals and hashes, every record's fate, and the partition's conservation."""
    revisions = [revision for window in windows for revision in window.revisions]
    equal = sum(revision.is_proved for revision in revisions)
    said: list[Child] = [
        tag(
            "p",
            f"{equal:,} of {len(revisions):,} revisions of {len(windows):,} windows have exactly the quantity, the number of events and the content "
            "hash that the raw events give up to their offset. The archive's engine computed this from the events alone; nothing was taken from the "
            "counter that billed them.",
        ),
        tag(
            "p",
            "The content hash of a window is the sum, modulo 2²⁵⁶, of a SHA-256 of each counted event: customer, meter, source, id, time and exact "
            "quantity. It does not depend on order, and no event is lost, doubled or changed without changing it.",
        ),
        _fates(span),
        *[_partition(kept) for kept in span.conservation],
    ]
    return tag("section", tag("h2", "The proof"), said)


def _fates(span: Span) -> Markup:
    rows: list[list[Child]] = [[verdict, f"{records:,}", f"{of_meter:,}"] for verdict, (records, of_meter) in sorted(span.fates.items())]
    together = sum(records for records, _ in span.fates.values())
    columns = [("became", False), ("records", True), ("of this meter", True)]
    caption = "Every record of this customer in this time has exactly one fate"
    return table(caption, columns, rows, foot=["together", f"{together:,}", f"{sum(of_meter for _, of_meter in span.fates.values()):,}"])


def _partition(kept: Conservation) -> Markup:
    names = ("counted", "duplicate", "rejected", "too_late", "rerouted", "control", "skipped")
    rows: list[list[Child]] = [[name.replace("_", " "), f"{getattr(kept, name):,}"] for name in names]
    caption = f"Partition {kept.partition} of the log, offsets {kept.base:,} to {kept.next_offset - 1:,}: each offset has exactly one fate"
    span = kept.next_offset - kept.base
    return table(caption, [("fate", False), ("offsets", True)], rows, foot=[f"of {span:,}, without a fate", f"{kept.residual:,}"])
