"""Guards of what an operator says of a cell: when it acts, and what is kept of it (laws 13 and 16)."""

from __future__ import annotations

from typing import Final

from tests.hazards.mutation import Mutation, without

CELL: Final = "sinks.cell_state:CellState"

RESTATED: Final[tuple[Mutation, ...]] = (
    without(
        "restated-from-an-old-sight", "13", "what was found acts only on the receipt that was seen",
        "sinks.restated:applies", "if (said.revision, said.attempt) != (last.revision, last.attempt) or last.state", "if last.state", "H40",
    ),
    without(
        "restated-and-left", "13", "a cell of which something else was found is set again, though its total is delivered",
        f"{CELL}._due", "if self.restated is not None or (self.receipt", "if (self.receipt", "H40",
    ),
    without(
        "beside-is-forgotten", "13", "what stands beside a cell is left out of all its later reports too",
        f"{CELL}._fresh", 'else "0" if last is None else last.beside', 'else "0"', "H40",
    ),
    without(
        "beside-is-reported-too", "13", "a report says the cell's units less those that stand beside it",
        "sinks.restated:sent_units", "left = minus(units, beside)", "left = units", "H40",
    ),
    without(
        "restated-but-not-believed", "16", "an adjustment is what is wanted less what was found to stand",
        f"{CELL}._stands", "if self.restated is not None:", "if False:", "H40",
    ),
)  # fmt: skip
