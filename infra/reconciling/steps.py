"""What a repair consists of, as plain values: each step is carried out by itself, may be carried out twice, and does nothing where it is stale.

No step calls a provider or changes a sum: a step is a record in the log, which the meter and the report take like any other, or rows of the
archive taken from the log again.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, NamedTuple

from infra.amending.drafts import Draft
from infra.control import ControlEvent, restate_event
from infra.reconciling.drift import Coordinate, Drift
from topics.quantity import format_scaled
from topics.restating import RestateRecord
from topics.windows import Window

WHO: Final = "tidemark reconcile --repair"


class Restate(NamedTuple):
    """The report is told what stands of a cell, and sets it again, or adjusts it where it is final."""

    customer: str
    record: RestateRecord

    def event(self) -> ControlEvent:
        """The record for the log."""
        return restate_event(self.customer, self.record)


class Amend(NamedTuple):
    """An amendment: a copy is voided, an event accepted as it is, a window emitted anew."""

    draft: Draft

    def event(self) -> ControlEvent:
        """The record for the log."""
        return self.draft.event()


class RestoreEvents(NamedTuple):
    """A window's raw rows are taken from usage.events again."""

    window: Window


class RestoreRecords(NamedTuple):
    """Raw rows of whichever records lie at these offsets are taken from usage.events again."""

    partition: int
    generation: int
    offsets: tuple[int, ...]


class RestoreWindow(NamedTuple):
    """A window's revisions are taken from usage.windows again; where it has none any more, `otherwise` emits the window anew."""

    window: Window
    otherwise: Amend | None = None


Step = Restate | Amend | RestoreEvents | RestoreRecords | RestoreWindow
"""A step."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """How a drift is put right: `steps` are done by `--apply`; without any, `by_hand` is what a person runs instead (or afterwards).

    `units` is by how much the later stage changes by it (× 10¹²), `amount` the same in the currency's smallest unit (None: not known).
    """

    drift: Drift
    steps: tuple[Step, ...] = ()
    sentence: str
    by_hand: str = ""
    units: int = 0
    amount: int | None = None

    def document(self) -> dict[str, object]:
        """For a program."""
        return {
            "kind": self.drift.kind,
            "customer": self.drift.customer,
            "meter": self.drift.meter or None,
            "cells": list(self.drift.cells),
            "steps": [type(step).__name__ for step in self.steps],
            "sentence": self.sentence,
            "by_hand": self.by_hand or None,
            "units": format_scaled(self.units),
            "amount": self.amount,
            "currency": self.drift.currency or None,
        }


def coordinate_name(at: Coordinate) -> str:
    """partition:offset, as people type it."""
    return f"{at.partition}:{at.offset}"
