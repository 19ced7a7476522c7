"""Guards of law 16: when a cell is final, and what becomes of what comes then."""

from __future__ import annotations

from typing import Final

from tests.hazards.mutation import Mutation, without

CELL, FINALITY, ADJUSTMENTS, REMEDIES = "sinks.cell_state", "sinks.finality", "sinks.adjustments", "sinks.remedies"

FINAL: Final[tuple[Mutation, ...]] = (
    without(
        "final-cells-are-sent", "16", "nothing is sent for a cell that is final",
        f"{CELL}:CellState._fresh", "if self.final is not None:", "if False:", "H28",
    ),
    without(
        "invoices-end-nothing", "16", "a final invoice makes its cells final",
        f"{FINALITY}:Invoices.judge", "if invoice is not None and invoice.status in FINAL:", "if False:", "H28",
    ),
    without(
        "periods-never-end", "16", "a period's end ends the acceptance of usage records",
        f"{FINALITY}:by_time", "if now_ms < ends_at_s * 1000 or", "if True or", "H28",
    ),
    without(
        "settled-twice", "16", "a settlement acts on what the operator saw, and once",
        f"{ADJUSTMENTS}:adjusted", "if settlement.said.settled == settled:", "if True:", "H28",
    ),
    without(
        "settlements-forgotten", "16", "what was settled stays settled when an adjustment grows",
        f"{ADJUSTMENTS}:adjusted", "units = minus(minus(fresh.units, standing), settled)", "units = minus(fresh.units, standing)", "H28",
    ),
    without(
        "forgets-what-stands-beside", "16", "an adjustment keeps in sight what may stand",
        f"{ADJUSTMENTS}:adjusted", "maybe = told.settled, told.settled_to, told.how, fresh.maybe",
        "maybe = told.settled, told.settled_to, told.how, ()", "H28",
    ),
    without(
        "bills-what-it-finds", "16", "what carries a bill's mark is settled, and not made again",
        f"{REMEDIES}:Remedies.looked_up", "elif found:", "elif False:", "H28 elsewhere",
    ),
    without(
        "bills-side-by-side", "16", "of an item's period one bill is under way at a time",
        f"{REMEDIES}:Remedies._plan", "if self._doing.setdefault(line, cell.key) != cell.key:", "if False:", "H28 elsewhere",
    ),
    without(
        "bills-each-from-nothing", "16", "what units cost depends on what their period holds already",
        f"{REMEDIES}:Remedies._priced", "billed_by_line(together)[line]", "Fraction(0)", "H28 elsewhere",
    ),
    without(
        "carried-onto-a-window", "16", "units that are carried into a period are reported at no window's second",
        "sinks.carrying:carry_of", "range(min(window.end_s - 1, now_s), first_s - 1, -1)", "(window.start_s,)", "H28 elsewhere",
    ),
    without(
        "settled-while-billed", "16", "what operators say of units that are being billed waits for the answer",
        f"{ADJUSTMENTS}:is_being_billed", "return adjustment.remedy is not None and not adjustment.remedy.refused", "return False",
        "H28 elsewhere",
    ),
    without(
        "plan-changes-end-nothing", "H32, 16", "another price makes what was used before it final",
        f"{FINALITY}:change_of", "return changed_at_s", "pass", "H32",
    ),
)  # fmt: skip
