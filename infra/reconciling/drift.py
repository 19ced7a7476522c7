"""What `tidemark reconcile` finds: a drift is a difference between two stages that nothing on its way explains, with its one cause. Pure.

The kinds are stable names: they stand in JSON, in metrics and in scripts.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final, Literal, NamedTuple, get_args

from topics.instants import format_s
from topics.quantity import format_scaled
from topics.windows import Window

Kind = Literal[
    "lost_report",  # our receipts say delivered, the provider does not hold it; or an emitted revision that is due has no receipt
    "double_report",  # the provider holds one cell's units twice
    "late_after_finality",  # counted usage beyond what was delivered, in a cell that is final: its adjustment is open or missing
    "raw_event",  # the raw events in ClickHouse do not give the total and hash of an emitted revision, or some of them are not there
    "wrong_period",  # a cell's units stand in, or are billed by, another billing period than the one the window's start belongs to
    "rounding",  # units are not quantity × scale, or a line's amount is not what its units cost
    "provider_edit",  # the provider holds a number that no report of ours explains
    "missing_window",  # counted events whose window was due long ago and is not among the emitted ones
    "old_duplicate",  # one event counted twice, its copies further apart than `dedup` promises
    "conflicting_body",  # two events with one id and different content
    "stale_retry",  # the provider holds an older revision of a cell than the newest that was delivered
]
KINDS: Final[tuple[Kind, ...]] = get_args(Kind)

Stage = Literal["raw", "counted", "emitted", "delivered", "provider", "line"]
STAGES: Final[tuple[Stage, ...]] = get_args(Stage)
"""In the order in which a number passes them: `raw` is what the archived raw events up to the newest revision give, `counted` what all counted
ones give, `emitted` the newest revision, `delivered` what the receipts say stands, `provider` what it says, `line` what an invoice bills."""

Repair = Literal["report", "clear", "settle", "emit", "restore", "amend", "review"]
"""How it is put right, by `--repair`:

- `report`: the cell's units are set again at the provider;
- `clear`: what stands at another second or item is set to 0;
- `settle`: the period takes nothing any more: an adjustment carries the difference;
- `emit`: the window is emitted (again), and delivered by itself;
- `restore`: the archive's rows are taken from the log again;
- `amend`: an event is voided or set by an amendment in the log;
- `review`: nothing that a program may decide: a person must.
"""


class Coordinate(NamedTuple):
    """Where an event lies on `usage.events`."""

    partition: int
    generation: int
    offset: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Drift:
    """One difference and its cause.

    `numbers` says what each stage holds, as exact decimal strings: quantities up to `emitted`, units of the provider from `delivered` on.
    `difference_scaled` is how much too much (+) or too little (−) the later stage holds, × 10¹²: in units of the provider where a cell is
    named, else in the meter's quantity. `amount` is the same in money, in the currency's smallest unit (None: the price is not known).
    `cells` are the cells it is about, `candidates` further explanations that the numbers allow as well. `events` are the events it is about,
    oldest first. `period` is the billing period `[start_s, end_s)` of the cell or line. `second` is where at the provider it stands (None: no
    second is known), `holds` what the cell, or that second, holds at the provider now (a decimal string; "" where only a total is known).
    `lacks` is how many events a window's recount is short of.
    """

    kind: Kind
    customer: str
    meter: str = ""
    window: Window | None = None
    events: tuple[Coordinate, ...] = ()
    cells: tuple[str, ...] = ()
    item: str = ""
    period: tuple[int, int] | None = None
    second: int | None = None
    holds: str = ""
    invoice: str = ""
    line: str = ""
    numbers: dict[Stage, str] = field(default_factory=dict)
    difference_scaled: int = 0
    amount: int | None = None
    currency: str = ""
    sentence: str = ""
    advice: str = ""
    repair: Repair = "review"
    candidates: tuple[str, ...] = ()
    lacks: int = 0

    @property
    def is_repairable(self) -> bool:
        """False where a person has to decide first."""
        return self.repair != "review"

    def document(self) -> dict[str, Any]:
        """For a program; quantities as decimal strings, times as RFC 3339."""
        window, period = self.window, self.period
        return {
            "kind": self.kind,
            "customer": self.customer,
            "meter": self.meter or None,
            "start": format_s(window.start_s) if window else None,
            "end": format_s(window.end_s) if window else None,
            "events": [event._asdict() for event in self.events],
            "cells": list(self.cells),
            "item": self.item or None,
            "period_start": format_s(period[0]) if period else None,
            "period_end": format_s(period[1]) if period else None,
            "second": format_s(self.second) if self.second is not None else None,
            "invoice": self.invoice or None,
            "line": self.line or None,
            "numbers": {stage: self.numbers[stage] for stage in STAGES if stage in self.numbers},
            "difference": format_scaled(self.difference_scaled),
            "amount": self.amount,
            "currency": self.currency or None,
            "sentence": self.sentence,
            "advice": self.advice,
            "repair": self.repair,
            "repairable": self.is_repairable,
            "candidates": list(self.candidates),
            "missing_events": self.lacks,
        }
