"""After 23 hours without an answer: what stands at the provider, concluded from the item's total of the period. Pure.

Stripe shows no single usage record, only the sum of an item's cells per billing period (usage_record_summaries). What is certain is subtracted;
what is left must be a sum of uncertain cells, each at its old or at its new units. Nothing is guessed (C7, I5): a total that no combination
explains is held for a person.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import product
from typing import Final, Literal, NamedTuple

from sinks.cell_state import CellState
from sinks.outcomes import Confirmed, Outcome, RetryAfter, Unknown

MOST_UNCERTAIN: Final = 16
"""2¹⁶ combinations take a tenth of a second; a lane opens no more intents than this."""

Landed = Literal["landed", "not_landed", "either", "unexplained"]
OUTCOMES: Final[dict[Landed, Outcome]] = {
    "landed": Confirmed(sentence="read back: the period's total contains these units"),
    "not_landed": RetryAfter(reason="not_landed", sentence="read back: the period's total does not contain these units", spent=True),
    "either": RetryAfter(reason="ambiguous", sentence="read back: our own cells explain the period's total in several ways", spent=True),
    "unexplained": Unknown(reason="unexplained", sentence="no answer for 23 hours, and no combination of our cells explains the item's total"),
}


class Summary(NamedTuple):
    """An item's total of one billing period; the period's seconds are (start, end]."""

    start_s: int
    end_s: int
    total: int


class Doubt(NamedTuple):
    """An uncertain cell: it holds `old` units or `new` ones."""

    name: str
    old: int
    new: int


def summary_of(summaries: Iterable[Summary], timestamp_s: int) -> Summary | None:
    """The period that holds a cell's second."""
    return next((summary for summary in summaries if summary.start_s < timestamp_s <= summary.end_s), None)


def conclude(total: int, certain: int, doubts: Sequence[Doubt]) -> dict[str, Landed]:
    """For each uncertain cell whether its new units stand, given the period's `total` and the sum of the `certain` cells.

    `either`: several combinations explain the total, with this cell in some of them. All of them are ours, so a `set` under a new key puts it right.
    """
    if len(doubts) > MOST_UNCERTAIN:
        return {doubt.name: "unexplained" for doubt in doubts}
    wanted = total - certain
    found = [choice for choice in product((False, True), repeat=len(doubts)) if _sum(doubts, choice) == wanted]
    if not found:
        return {doubt.name: "unexplained" for doubt in doubts}
    return {doubt.name: _verdict({choice[index] for choice in found}) for index, doubt in enumerate(doubts)}


def _sum(doubts: Sequence[Doubt], choice: Sequence[bool]) -> int:
    return sum(doubt.new if landed else doubt.old for doubt, landed in zip(doubts, choice, strict=True))


def _verdict(seen: set[bool]) -> Landed:
    if len(seen) == 2:
        return "either"
    return "landed" if True in seen else "not_landed"


def verdicts_of(cell: CellState, in_lane: Iterable[CellState], summaries: Iterable[Summary]) -> dict[str, Outcome]:
    """What a read-back says of each uncertain cell in the period of `cell`, by cell name; `in_lane` are all cells of the item."""
    summary = summary_of(summaries, cell.place.timestamp_s)
    if summary is None:
        return {cell.place.name: OUTCOMES["unexplained"]}
    doubts, certain, blind = [], 0, False
    for other in in_lane:
        receipt = other.receipt
        if receipt is None or summary_of([summary], other.place.timestamp_s) is None:
            continue
        old = 0 if receipt.standing is None else int(receipt.standing.units)
        if not _uncertain(other):
            certain += old
        elif receipt.idempotency_key:
            doubts.append(Doubt(other.place.name, old, int(receipt.units)))
        else:
            # A newer total replaced the one that was asked for: what may have landed is not in the receipt any more.
            blind = True
    if blind:
        return {doubt.name: OUTCOMES["unexplained"] for doubt in doubts}
    return {name: OUTCOMES[landed] for name, landed in conclude(summary.total, certain, doubts).items()}


def _uncertain(cell: CellState) -> bool:
    receipt = cell.receipt
    if receipt is None:
        return False
    return receipt.state in {"intent", "failed", "unknown"} or (receipt.state == "refused" and receipt.outcome in {"conflict", "retry_after"})
