"""Claims: what each source says that a window adds up to, through one event. Pure.

A revision (generation, through_offset) names exactly one total (law 3), so every total that stands anywhere (a row of the table, a record of
usage.windows, a row of ClickHouse) is a claim about one offset of the log, and the recount settles it in passing: when it has counted that
offset, the window's running total is what the claim must say.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final, NamedTuple

from infra.auditing.findings import Finding, Findings
from topics.quantity import format_scaled
from topics.windows import Window

TABLE: Final = "the table (usage.state)"
TOPIC: Final = "usage.windows"
ARCHIVE: Final = "ClickHouse (window_revisions)"
LATEST: Final = "ClickHouse (window_totals)"
LOG: Final = "the log (usage.events)"


class Revision(NamedTuple):
    """The name of one total."""

    window: Window
    generation: int
    through_offset: int

    @property
    def order(self) -> tuple[int, int]:
        """(generation, through_offset): the greater one is the later total."""
        return (self.generation, self.through_offset)


class Total(NamedTuple):
    """What a revision holds: `scaled` × 10⁻¹² units, the content hash as 64 hex digits."""

    scaled: int
    events: int
    first_offset: int
    hash: str

    def said(self) -> str:
        """For a person; the hash shortened to what tells two apart."""
        return f"{format_scaled(self.scaled)} from {self.events} events since offset {self.first_offset}, hash {self.hash[:12]}…"


class Claim(NamedTuple):
    """One source's word about one revision. `log_offset`: where it stands on usage.windows, −1 where it does not stand there."""

    source: str
    revision: Revision
    total: Total
    log_offset: int = -1


CAUSES: Final = {
    TABLE: "usage.state was changed or lost by other hands, or the program that counted has a defect: keep the topics and do not bill from it",
    TOPIC: "a record was written to usage.windows by something else than the meter, and may have been delivered: compare with "
    "`tidemark explain`, and see who may write to the topic",
    ARCHIVE: "rows of ClickHouse's window_log were changed by other hands, or hold a record of usage.windows that the meter did not write",
    LATEST: "rows of ClickHouse's window_log were changed by other hands, or hold a record of usage.windows that the meter did not write",
}
"""The probable cause where a source says something else than the log."""


class Claims:
    """All claims of one partition, by revision."""

    def __init__(self) -> None:
        self.open: dict[Revision, list[Claim]] = {}
        self.names: dict[str, set[Revision]] = {TABLE: set(), TOPIC: set(), ARCHIVE: set(), LATEST: set()}
        self.settled = 0

    def add(self, claims: Iterable[Claim], findings: Findings, partition: int) -> None:
        """Take a source's claims; a source that says two totals for one revision is a finding whatever the log says."""
        for claim in claims:
            held = self.open.setdefault(claim.revision, [])
            for other in held:
                if other.source == claim.source and other.total != claim.total:
                    findings.add(_two_totals(partition, other, claim))
            self.names[claim.source].add(claim.revision)
            if not any(other.source == claim.source and other.total == claim.total for other in held):
                held.append(claim)

    def settle(self, revision: Revision, total: Callable[[], Total], findings: Findings, partition: int) -> None:
        """The log has counted the revision's event: every claim about it must say this total."""
        for claim in self.open.pop(revision, ()):
            self.settled += 1
            _check(claim, total(), findings, partition)

    def among_themselves(self, findings: Findings, partition: int) -> None:
        """Where the log cannot be counted again: the sources at least must say the same of each revision."""
        for claims in self.open.values():
            for other in claims[1:]:
                if other.total != claims[0].total and other.source != claims[0].source:
                    findings.add(_two_totals(partition, claims[0], other))

    def left(self, point: tuple[int, int], findings: Findings, partition: int) -> int:
        """After the whole log: revisions that no event made. Returns how many lie at or beyond the point (generation, next_offset)."""
        newer = 0
        for revision, claims in sorted(self.open.items(), key=lambda entry: (entry[0].order, entry[0].window)):
            if revision.order >= point:
                newer += len(claims)
                continue
            for claim in claims:
                self.settled += 1
                findings.add(
                    Finding(
                        kind="revision",
                        partition=partition,
                        window=revision.window,
                        offset=revision.through_offset,
                        what=f"revision {revision.generation}.{revision.through_offset}",
                        one=claim.source,
                        one_says=claim.total.said(),
                        other=LOG,
                        other_says="no counted event of this window at that offset",
                        cause=CAUSES[claim.source],
                    )
                )
        return newer


def _check(claim: Claim, total: Total, findings: Findings, partition: int) -> None:
    if claim.total != total:
        findings.add(_differing(partition, claim, total))


def _differing(partition: int, claim: Claim, total: Total) -> Finding:
    revision = claim.revision
    return Finding(
        kind="row" if claim.source == TABLE else "revision",
        partition=partition,
        window=revision.window,
        offset=revision.through_offset,
        what=f"revision {revision.generation}.{revision.through_offset}",
        one=claim.source,
        one_says=claim.total.said(),
        other=LOG,
        other_says=total.said(),
        cause=CAUSES[claim.source],
    )


def _two_totals(partition: int, one: Claim, other: Claim) -> Finding:
    revision = one.revision
    return Finding(
        kind="uniqueness",
        partition=partition,
        window=revision.window,
        offset=revision.through_offset,
        what=f"revision {revision.generation}.{revision.through_offset} names two totals",
        one=_where(one),
        one_says=one.total.said(),
        other=_where(other) if _where(other) != _where(one) else f"{_where(other)} again",
        other_says=other.total.said(),
        cause="a revision names exactly one total for ever: one of the two was not written by the meter; what the log adds up to is said beside",
    )


def _where(claim: Claim) -> str:
    return f"{claim.source} at {claim.log_offset}" if claim.log_offset >= 0 else claim.source

