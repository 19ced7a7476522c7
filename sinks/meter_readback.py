"""What a meter holds, concluded from a customer's usage by UTC hours or days: of doubtful events after 23 hours, and of accepted ones as proof. Pure.

A 200 for a meter event says that it was received; whether it counts shows only here (H29). In an hour of a pre-aggregated meter lies one cell, so
its value is what the provider holds; where a meter adds up, an hour's usage is a sum of our windows, and sinks/readback.py says which may be in it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import combinations, product
from math import prod
from typing import Final

import msgspec

from sinks.calls import readable_at_ms
from sinks.cell_state import CellState
from sinks.meter_events import confirmed, stands_after, taken_back
from sinks.outcomes import Outcome, Unknown
from sinks.readback import MOST_COMBINATIONS, OUTCOMES, Doubt, Summary, conclude
from topics.quantity import format_scaled, parse_total
from topics.receipt import CellReceipt

CONFIRM_AFTER_MS: Final = 10 * 60_000
"""How long after its acceptance an event is looked for: Stripe counts events asynchronously, mostly within a minute, and names no time."""
MISSING_AFTER_MS: Final = 2 * 3_600_000
"""When an event of a sum that is still not there counts as lost. To send it again while it is only slow would bill it twice."""
MOST_SUBSETS: Final = 6
"""Of more unconfirmed events of one cell only none, one, or all are thought missing."""

Verdict = Outcome | CellReceipt
_Waiting = tuple[CellState, CellReceipt]


def verdicts(cells: Iterable[CellState], summaries: Iterable[Summary], now_ms: int) -> Iterator[tuple[CellState, Verdict]]:
    """For the cells of a lane within the range that was read: the answer of an open intent, or the record of what was accepted. Others: nothing."""
    totals = {summary.start_s: summary.total for summary in summaries}
    inside: dict[int, list[CellState]] = {}
    for cell in cells:
        inside.setdefault(cell.place.bucket[0], []).append(cell)
    for start_s, together in inside.items():
        if any(_moves(cell, now_ms) for cell in together):
            continue
        total = totals.get(start_s, 0)
        yield from _doubtful(together, total) if any(cell.open_intent for cell in together) else _accepted(together, total, now_ms)


def _moves(cell: CellState, now_ms: int) -> bool:
    """True while what stands may change under the reader's eyes."""
    intent = cell.open_intent
    return cell.writing or cell.pending is not None or (intent is not None and now_ms < readable_at_ms(intent))


def _doubtful(cells: list[CellState], total: int) -> Iterator[tuple[CellState, Verdict]]:
    """Open intents without an answer for a day."""
    if cells[0].place.adds_up and len({cell.place.period_start_s for cell in cells}) == 1:
        yield from _likeliest(cells, total)
        return
    doubts = [Doubt(cell.place.name, tuple(_options(cell)), None if cell.open_intent is None else _units(cell.open_intent)) for cell in cells]
    found = conclude(total, 0, doubts)
    for cell in cells:
        landed = found.get(cell.place.name)
        if landed == "either" and cell.place.adds_up:
            # A sum takes an event a second time: nothing is sent that may stand.
            yield cell, Unknown(reason="ambiguous", sentence=OUTCOMES["either"].sentence, may_stand=True)
        elif landed is not None:
            yield cell, OUTCOMES[landed]


def _likeliest(cells: list[CellState], total: int) -> Iterator[tuple[CellState, Verdict]]:
    """Where an hour of one period adds up, any explanation of its total will do: what is sent after it makes the hour right, and only that is billed.

    Taken is one in which as much as possible stands of what was accepted.
    """
    options = [tuple(_options(cell)) for cell in cells]
    found: list[tuple[int, ...]] = []
    if prod(map(len, options)) <= MOST_COMBINATIONS:
        found = [choice for choice in product(*options) if sum(choice) == total]
    closed = [_standing(cell) if cell.open_intent is None else None for cell in cells]
    best = min(found, key=lambda choice: sum(stands not in {None, value} for stands, value in zip(closed, choice, strict=True)), default=None)
    for at, cell in enumerate(cells):
        if cell.open_intent is None:
            continue
        if best is None:
            yield cell, OUTCOMES["unexplained"]
        else:
            yield cell, OUTCOMES["landed" if best[at] == _units(cell.open_intent) else "not_landed"]


def _accepted(cells: list[CellState], total: int, now_ms: int) -> Iterator[tuple[CellState, Verdict]]:
    """Accepted events: all there, some of them surely missing, or nothing that can be said yet."""
    waiting = [(cell, cell.receipt) for cell in cells if cell.receipt is not None and cell.receipt.unconfirmed]
    if not waiting or any(cell.receipt is not None and cell.receipt.maybe for cell in cells):
        return
    if total == sum(map(_standing, cells)):
        for cell, receipt in waiting:
            yield cell, confirmed(receipt, now_ms)
        return
    cell, receipt = waiting[0]
    if cell.place.adds_up:
        yield from _missing(cells, waiting, total, now_ms)
    elif len(cells) == 1 and _newest_ms(receipt) + CONFIRM_AFTER_MS <= now_ms:
        yield cell, _replaced(receipt, total, now_ms)


def _missing(cells: list[CellState], waiting: list[_Waiting], total: int, now_ms: int) -> Iterator[tuple[CellState, Verdict]]:
    """Cells of which every explanation of the total lacks the same events."""
    if any(_newest_ms(receipt) + MISSING_AFTER_MS > now_ms for _, receipt in waiting):
        return
    without = [_without(cell) for cell in cells]
    if prod(map(len, without)) > MOST_COMBINATIONS:
        return
    found = [choice for choice in product(*without) if sum(value for value in choice) == total]
    for at, cell in enumerate(cells):
        values = {choice[at] for choice in found}
        # Of two events of one size it does not matter which is missing: what stands without either is the same.
        keys = without[at][values.pop()] if len(values) == 1 else frozenset()
        if keys and cell.receipt is not None:
            yield cell, taken_back(cell.receipt, keys, now_ms, "not_held", "accepted, and not in the meter's usage when it was read back")


def _replaced(receipt: CellReceipt, total: int, now_ms: int) -> CellReceipt:
    """The hour or day holds something else than what was accepted last; what it holds is known now."""
    keys = frozenset(sent.idempotency_key for sent in receipt.unconfirmed)
    said = f"accepted, but the meter's hour or day holds {format_scaled(total)}"
    back = taken_back(receipt, keys, now_ms, "not_held", said)
    if back.standing is None:
        return back
    return msgspec.structs.replace(back, standing=msgspec.structs.replace(back.standing, units=format_scaled(total)))


def _options(cell: CellState) -> set[int]:
    """What may stand in a cell, × 10¹²: what is known to, without any of the unconfirmed, what attempts without an end may have left."""
    receipt = cell.receipt
    if receipt is None:
        return {0}
    options = set(_without(cell))
    if cell.place.adds_up:
        return options | {_units(receipt)} if receipt.maybe or cell.open_intent is not None else options
    options |= set(map(parse_total, receipt.maybe))
    return options if cell.open_intent is None else options | {_units(cell.open_intent)}


def _without(cell: CellState) -> dict[int, frozenset[str]]:
    """What stands in a cell without some of its unconfirmed events, × 10¹²: the keys of those that are missing, as few as may be."""
    sent = () if cell.receipt is None else cell.receipt.unconfirmed
    sizes = range(len(sent) + 1) if len(sent) <= MOST_SUBSETS else (0, 1, len(sent))
    found: dict[int, frozenset[str]] = {}
    for size in sizes:
        for gone in combinations(sent, size):
            value = _standing(cell) - sum(parse_total(each.units) for each in gone)
            found.setdefault(value, frozenset(each.idempotency_key for each in gone))
    return found


def _standing(cell: CellState) -> int:
    return 0 if cell.receipt is None or cell.receipt.standing is None else parse_total(cell.receipt.standing.units)


def _units(intent: CellReceipt) -> int:
    return parse_total(stands_after(intent))


def _newest_ms(receipt: CellReceipt) -> int:
    return max(sent.at_ms for sent in receipt.unconfirmed)
