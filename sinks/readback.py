"""After 23 hours without an answer: what stands at the provider, concluded from the item's total of the period. Pure.

Stripe shows no single usage record, only the sum of an item's cells per billing period (usage_record_summaries). What is certain is subtracted;
what is left must be a sum of uncertain cells, each at one of the units it may hold. Nothing is guessed (C7, I5): a total that no combination
explains is held for a person.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import product
from math import prod
from typing import Final, Literal, NamedTuple

from sinks.cell_state import CellState
from sinks.outcomes import Confirmed, Outcome, RetryAfter, Unknown

MOST_COMBINATIONS: Final = 1 << 17
"""They take a fifth of a second. A lane opens 16 intents at most: 2¹⁶, where none of them had a saved failure before."""

Landed = Literal["landed", "not_landed", "either", "unexplained"]
OUTCOMES: Final[dict[Landed, Outcome]] = {
    "landed": Confirmed(sentence="read back: the period's total contains these units"),
    "not_landed": RetryAfter(reason="not_landed", sentence="read back: the period's total does not contain these units", spent=True),
    "either": RetryAfter(
        reason="ambiguous", sentence="read back: our own cells explain the period's total in several ways", spent=True, may_stand=True
    ),
    "unexplained": Unknown(
        reason="unexplained", sentence="no answer for 23 hours, and no combination of our cells explains the item's total", may_stand=True
    ),
}


class Summary(NamedTuple):
    """An item's total of one billing period; the period's seconds are (start, end].

    Of a meter: a customer's usage in one UTC hour or day, [start, end), in 10⁻¹² units.
    """

    start_s: int
    end_s: int
    total: int


class Doubt(NamedTuple):
    """A cell that holds one of `options`; `new` are the units of its open intent (None: it has none)."""

    name: str
    options: tuple[int, ...]
    new: int | None


def summary_of(summaries: Iterable[Summary], timestamp_s: int) -> Summary | None:
    """The period that holds a cell's second."""
    return next((summary for summary in summaries if summary.start_s < timestamp_s <= summary.end_s), None)


def conclude(total: int, certain: int, doubts: Sequence[Doubt]) -> dict[str, Landed]:
    """For each open intent whether its units stand, given the period's `total` and the sum of the `certain` cells.

    `either`: several combinations explain the total, with this cell in some of them. All of them are ours, so a `set` under a new key puts it right.
    """
    if prod(len(doubt.options) for doubt in doubts) > MOST_COMBINATIONS:
        return {doubt.name: "unexplained" for doubt in doubts if doubt.new is not None}
    found = [choice for choice in product(*(doubt.options for doubt in doubts)) if certain + sum(choice) == total]
    return {doubt.name: _landed({choice[at] for choice in found}, doubt.new) for at, doubt in enumerate(doubts) if doubt.new is not None}


def _landed(seen: set[int], new: int) -> Landed:
    if not seen:
        return "unexplained"
    if new not in seen:
        return "not_landed"
    return "landed" if len(seen) == 1 else "either"


def verdicts_of(cell: CellState, in_lane: Iterable[CellState], summaries: Iterable[Summary]) -> dict[str, Outcome]:
    """What a read-back says of each open intent in the period of `cell`, by cell name; `in_lane` are all cells of the item."""
    summary = summary_of(summaries, cell.place.timestamp_s)
    if summary is None:
        return {cell.place.name: OUTCOMES["unexplained"]}
    in_lane = list(in_lane)
    inside = [other for other in in_lane if summary.start_s < other.place.timestamp_s <= summary.end_s]
    doubts, certain = [], 0
    carried = [doubt for other in in_lane for doubt in _carried(other, summary)]
    for doubt in [*map(_doubt, inside), *carried]:
        if len(doubt.options) == 1 and doubt.new is None:
            certain += doubt.options[0]
        else:
            doubts.append(doubt)
    return {name: OUTCOMES[landed] for name, landed in conclude(summary.total, certain, doubts).items()}


def _doubt(cell: CellState) -> Doubt:
    """What may stand in a cell: what is known to, what spent attempts may have left, what the open intent asks for."""
    receipt, intent = cell.receipt, cell.open_intent
    if receipt is None:
        return Doubt(cell.place.name, (0,), None)
    options = {0 if receipt.standing is None else int(receipt.standing.units), *map(int, receipt.maybe)}
    if intent is None:
        return Doubt(cell.place.name, tuple(options), None)
    return Doubt(cell.place.name, tuple(options | {int(intent.units)}), int(intent.units))


def _carried(cell: CellState, summary: Summary) -> list[Doubt]:
    """What an adjustment of the cell holds at seconds of the summary's period: what was answered for, and what is on its way (law 16)."""
    said = None if cell.receipt is None else cell.receipt.adjustment
    if said is None:
        return []
    found = [Doubt("", (int(part.units),), None) for part in said.carried if summary.start_s < part.second <= summary.end_s]
    remedy = said.remedy
    if remedy is not None and remedy.kind == "usage_record" and summary.start_s < remedy.second <= summary.end_s:
        found.append(Doubt("", (0, int(remedy.units)), None))
    return found
