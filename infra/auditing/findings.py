"""What an audit finds: each difference with its place, both numbers and a probable cause; and what could not be checked. Pure."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from topics.instants import format_s
from topics.windows import Window

Kind = Literal[
    "residual",  # offsets without exactly one fate, or postings in no row
    "state",  # the changelog cannot be recovered
    "counters",  # the table's counters are not those of the log
    "row",  # a row of the table is missing, too many or different
    "revision",  # a revision of a window is not what its events add up to
    "uniqueness",  # one revision names two totals
    "record",  # a record on a topic of ours that the product cannot have written
    "raw",  # ClickHouse's copy of the log is not the log
    "verdict",  # ClickHouse's verdicts are not those of the log
    "view",  # what ClickHouse's views add up to is not what the log adds up to
    "definition",  # what is in force is not what the control records of the log say
    "rerouted",  # an event was sent to its home and is not there
    "twice",  # an event was counted twice, its copies further apart than `dedup` promises (A5)
    "conflict",  # two events with one id and different bodies; the first one was counted (A6)
]
IDS: Final = frozenset({"twice", "conflict"})
"""Findings about what producers sent: every number agrees, and a person should look all the same."""

KEPT_A_KIND: Final = 1000
"""Findings of one kind and partition that are kept whole; the rest is counted: a table that is wrong in a million rows is wrong for one reason."""


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One difference. `one` and `other` are sources, each with what it says; `cause` is the probable one, in words."""

    kind: Kind
    partition: int
    what: str
    one: str
    one_says: str
    other: str
    other_says: str
    cause: str
    offset: int | None = None
    window: Window | None = None
    customer: str = ""

    @property
    def of_customer(self) -> str:
        """Whom it concerns; empty where a whole partition."""
        return self.window.customer if self.window is not None else self.customer

    def place(self) -> str:
        """Partition, offset, customer, meter and window, as far as they are known."""
        parts = [f"partition {self.partition}"]
        if self.offset is not None:
            parts.append(f"offset {self.offset}")
        if self.of_customer:
            parts.append(f"customer {self.of_customer}")
        if self.window is not None:
            parts += [f"meter {self.window.meter}", f"{format_s(self.window.start_s)} … {format_s(self.window.end_s)}"]
        return ", ".join(parts)

    def sentence(self) -> str:
        """For a person, in one line."""
        return f"{self.place()}: {self.what}: {self.one} says {self.one_says}, {self.other} says {self.other_says}. {self.cause}"

    def document(self) -> dict[str, Any]:
        """For a program."""
        window = self.window
        return {
            "kind": self.kind,
            "partition": self.partition,
            "offset": self.offset,
            "customer": self.of_customer or None,
            "meter": window.meter if window else None,
            "start": format_s(window.start_s) if window else None,
            "end": format_s(window.end_s) if window else None,
            "what": self.what,
            "numbers": {self.one: self.one_says, self.other: self.other_says},
            "cause": self.cause,
        }


@dataclass
class Findings:
    """All findings of one partition, and how many there were of each kind."""

    kept: list[Finding] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    customer: str | None = None
    """Only findings that concern this customer, or the whole partition, are taken."""

    def add(self, finding: Finding) -> None:
        """Take one."""
        if self.customer is not None and finding.of_customer not in {"", self.customer}:
            return
        self.counts[finding.kind] += 1
        if self.counts[finding.kind] <= KEPT_A_KIND:
            self.kept.append(finding)


@dataclass
class Checked:
    """How much was compared with something else: nothing beyond these numbers is claimed."""

    log_records: int = 0
    """Records of the partition's log that were judged and counted again."""
    copy_records: int = 0
    """Those of them that were read from ClickHouse's copy, because the log does not have them any more."""
    windows: int = 0
    """Windows that were added up again."""
    rows: int = 0
    """Rows of the table that were held against them."""
    revisions: int = 0
    """Revisions on usage.windows and in ClickHouse that were held against the events they name."""
    newer_revisions: int = 0
    """Revisions beyond the point of the audit: there, and not judged."""
    raw_rows: int = 0
    """Rows of ClickHouse's copy that were held against the log, byte for byte."""
    verdicts: int = 0
    """Verdicts in ClickHouse that were held against those of the recount."""
    view_windows: int = 0
    """Windows as ClickHouse's views add them up."""
    definitions: int = 0
    """Versions in force that were held against the control records of the log."""
    rerouted: int = 0
    """Re-routed events whose copy was found at their home."""


@dataclass
class PartitionAudit:
    """What came of one partition: the point it was audited at, the numbers of log and table side by side, and what was found."""

    partition: int
    generation: int = 0
    base: int = 0
    next_offset: int = 0
    log_begin: int = 0
    archived_to: int | None = None
    """ClickHouse was compared up to here; None: not at all."""
    residual: int = 0
    recounted: dict[str, int] = field(default_factory=dict)
    table: dict[str, int] = field(default_factory=dict)
    checked: Checked = field(default_factory=Checked)
    findings: Findings = field(default_factory=Findings)
    unchecked: list[str] = field(default_factory=list)

    def cannot(self, sentence: str) -> None:
        """Say what was not checked, and why."""
        self.unchecked.append(f"partition {self.partition}: {sentence}")
