"""An audit as JSON and for a person: what was compared, what differs, and what was not checked. Pure but for printing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from infra.auditing.compare import FATES
from infra.auditing.findings import IDS, Finding, PartitionAudit
from infra.cli.output import console, say, table


def is_clean(audits: Sequence[PartitionAudit]) -> bool:
    """Whether nothing was found at all."""
    return not any(audit.findings.counts for audit in audits)


def findings_of(audits: Sequence[PartitionAudit], *, ids: bool) -> list[Finding]:
    """The findings that were kept: about numbers, or about what producers sent."""
    return [finding for audit in audits for finding in audit.findings.kept if (finding.kind in IDS) == ids]


def document(audits: Sequence[PartitionAudit]) -> dict[str, Any]:
    """The whole audit as one JSON value."""
    return {
        "clean": is_clean(audits),
        "partitions": [
            {
                "partition": audit.partition,
                "generation": audit.generation,
                "base": audit.base,
                "next_offset": audit.next_offset,
                "log_begin": audit.log_begin,
                "archived_to": audit.archived_to,
                "residual": audit.residual,
                "recounted": audit.recounted,
                "table": audit.table,
                "checked": asdict(audit.checked),
                "found": dict(audit.findings.counts),
            }
            for audit in audits
        ],
        "differences": [finding.document() for finding in findings_of(audits, ids=False)],
        "ids": [finding.document() for finding in findings_of(audits, ids=True)],
        "unchecked": [sentence for audit in audits for sentence in audit.unchecked],
    }


def show(audits: Sequence[PartitionAudit], limit: int) -> None:
    """For a person."""
    columns = ("partition", "offsets", "windows", "revisions", "ClickHouse rows", *FATES, "residual", "found")
    rows: list[list[object]] = []
    for audit in audits:
        checked, point = audit.checked, f"{audit.base}…{audit.next_offset}"
        fates = [audit.table.get(name, "") for name in FATES]
        found = sum(audit.findings.counts.values())
        rows.append([audit.partition, point, checked.windows, checked.revisions, checked.raw_rows, *fates, audit.residual, found])
    table(columns, rows, right=columns)
    for ids in (False, True):
        _show_findings(audits, limit, ids=ids)
    unchecked = [sentence for audit in audits for sentence in audit.unchecked]
    if unchecked:
        say("")
        say("not checked:")
    for sentence in unchecked:
        say(f"  {sentence}")
    say("")
    out = console()
    if not is_clean(audits):
        out.print(f"[red]{sum(sum(audit.findings.counts.values()) for audit in audits)} findings[/red]")
    elif not any(audit.checked.windows for audit in audits):
        out.print("nothing was counted yet, so there is nothing to compare")
    else:
        numbers = sum(audit.checked.log_records for audit in audits), sum(audit.checked.windows for audit in audits)
        beside = " of what could be checked" if unchecked else ""
        out.print(f"[green]clean{beside}: {numbers[0]} records and {numbers[1]} windows counted again, and every number is the same[/green]")


def _show_findings(audits: Sequence[PartitionAudit], limit: int, *, ids: bool) -> None:
    found = findings_of(audits, ids=ids)
    if not found:
        return
    count = sum(number for audit in audits for kind, number in audit.findings.counts.items() if (kind in IDS) == ids)
    say("")
    say("what producers sent (every number agrees):" if ids else "differences:")
    for finding in found[:limit]:
        console().print(f"  {finding.kind}:", finding.sentence(), markup=False, style=None if ids else "red")
    if count > limit:
        say(f"  … {count - min(limit, len(found))} more; --limit shows more of them, --json the first thousand of each kind and partition")
