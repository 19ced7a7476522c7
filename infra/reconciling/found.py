"""What came of a run over all books: drifts, coverage, periods, and what could not be checked. Pure."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Final

from infra.reconciling.coverage import Coverage, PeriodRow
from infra.reconciling.drift import KINDS, Drift

MOST_KEPT: Final = 10_000
"""Drifts and periods that a run keeps whole; all are counted."""

UNCHECKED: Final = 4
"""The exit code where nothing was found, and something could not be looked at: neither clean nor a drift."""
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

    @property
    def is_complete(self) -> bool:
        """True where everything that was asked for could be looked at."""
        return not self.problems

    @property
    def exit_code(self) -> int:
        """0: every number is the same; 1: a drift was found; 4: none was, and not everything could be looked at."""
        return 1 if self.counts else UNCHECKED if self.problems else 0

    def summary(self) -> str:
        """In a few words: `clean`, or how many of which kind; and how much could not be looked at."""
        said = ", ".join(f"{self.counts[kind]} {kind}" for kind in KINDS if self.counts[kind]) or "clean"
        return f"{said}, {len(self.problems)} not checked" if self.problems else said

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
            "complete": self.is_complete,
            "counts": {kind: self.counts[kind] for kind in KINDS},
            "money": dict(self.money),
            "drifts": [drift.document() for drift in self.drifts],
            "coverage": self.coverage.document(),
            "periods": [row.document() for row in self.periods],
            "checked": {name: self.checked[name] for name in CHECKED},
            "unchecked": list(self.problems),
        }
