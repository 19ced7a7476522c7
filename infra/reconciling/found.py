"""What came of a run over all books: drifts, coverage, periods, and what could not be checked. Pure."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Final

from infra.reconciling.coverage import Coverage, PeriodRow
from infra.reconciling.drift import KINDS, Drift

MOST_KEPT: Final = 10_000
"""Drifts and periods that a run keeps whole; all are counted."""

CHECKED: Final = ("meters", "windows", "revisions", "cells", "totals", "lines")
"""What was compared, counted: nothing beyond these numbers is claimed."""


@dataclass
class Found:
    """What came of a run. `money` adds up the known amounts by currency, `worth` the same without signs."""

    drifts: list[Drift] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    money: Counter[str] = field(default_factory=Counter)
    worth: Counter[str] = field(default_factory=Counter)
    coverage: Coverage = field(default_factory=Coverage)
    periods: list[PeriodRow] = field(default_factory=list)
    checked: Counter[str] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)

    @property
    def is_clean(self) -> bool:
        """True where nothing was found."""
        return not self.counts

    def summary(self) -> str:
        """In a few words: `clean`, or how many of which kind."""
        return ", ".join(f"{self.counts[kind]} {kind}" for kind in KINDS if self.counts[kind]) or "clean"

    def take(self, drift: Drift) -> None:
        """One more."""
        self.counts[drift.kind] += 1
        if drift.amount is not None:
            self.money[drift.currency] += drift.amount
            self.worth[drift.currency] += abs(drift.amount)
        if len(self.drifts) < MOST_KEPT:
            self.drifts.append(drift)

    def document(self) -> dict[str, Any]:
        """For a program."""
        return {
            "clean": self.is_clean,
            "counts": {kind: self.counts[kind] for kind in KINDS},
            "money": dict(self.money),
            "drifts": [drift.document() for drift in self.drifts],
            "coverage": self.coverage.document(),
            "periods": [row.document() for row in self.periods],
            "checked": {name: self.checked[name] for name in CHECKED},
            "unchecked": list(self.problems),
        }
