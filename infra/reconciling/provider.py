"""Why a provider's totals are not what our receipts say: lost, doubled, older, in another period, or a number that is none of ours. Pure.

First what two totals say together (a cell's units that one lacks and the other has too many), then each total by itself.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import product

from infra.reconciling.books import Books, CellBook
from infra.reconciling.drift import Drift, Kind, Stage
from infra.reconciling.money import money, price_of
from infra.reconciling.pots import Pot
from infra.reconciling.search import Candidate, explain, one_of
from infra.reconciling.standing import stands
from topics.instants import format_s
from topics.quantity import ONE, format_scaled
from topics.windows import Window, parse_window_key

_WHAT = {
    "lost_report": "our receipts say that cell {cell} holds {now}, and the provider does not hold it",
    "double_report": "the provider holds the {now} units of cell {cell} twice",
    "stale_retry": "the provider holds an older revision of cell {cell}: {held} where {now} were delivered last",
}
_ADVICE = {
    "lost_report": "--repair sets the cell again; `set` does no harm where it stood after all",
    "double_report": "--repair takes the second copy off; find out who reports to the item beside Tidemark",
    "stale_retry": "--repair sets the cell's newest units again",
}


def explained(books: Books, pots: Sequence[Pot]) -> list[Drift]:
    """One drift for each cause that the totals show."""
    left = {at: pot for at, pot in enumerate(pots) if pot.difference}
    found: list[Drift] = []
    while (moved := _moved(left)) is not None:
        at, to, cell, rest = moved
        found.append(_wrong_period(books, left[at], left[to], cell))
        for pot, difference in ((left.pop(at), rest[0]), (left.pop(to), rest[1])):
            single = one_of(difference, pot.candidates())
            if difference and single is not None:
                found.append(_drift(books, pot, single, ()))
    for pot in left.values():
        found += _alone(books, pot, pots)
    return found


def _moved(left: dict[int, Pot]) -> tuple[int, int, CellBook, tuple[int, int]] | None:
    """A cell that one pot lacks and another has too many, and what is left of both differences: nothing, or what one change explains."""
    lacking = [(at, pot) for at, pot in left.items() if pot.difference < 0]
    having = [(at, pot) for at, pot in left.items() if pot.difference > 0]
    second: tuple[int, int, CellBook, tuple[int, int]] | None = None
    for (at, short), (to, over) in product(lacking, having):
        asked: set[tuple[int, int]] = set()  # of many equal cells the first answers for all
        for cell in short.cells if short.stage == over.stage else ():
            units = stands(cell)
            rest = (short.difference + units, over.difference - units)
            if units and rest == (0, 0):
                return at, to, cell, rest
            if units and second is None and 0 in rest and rest not in asked and _is_single(short, over, rest):
                second = at, to, cell, rest
            asked.add(rest)
    return second


def _is_single(short: Pot, over: Pot, rest: tuple[int, int]) -> bool:
    """True where what is left is one change, and neither total would be explained by one change without this cell."""
    if one_of(short.difference, short.candidates()) is not None and one_of(over.difference, over.candidates()) is not None:
        return False
    return one_of(rest[0], short.candidates()) is not None if rest[0] else one_of(rest[1], over.candidates()) is not None


def _alone(books: Books, pot: Pot, pots: Sequence[Pot]) -> Iterator[Drift]:
    """The fewest changes that explain one total; else a cell of another total that is held here too; else somebody edited it."""
    if 0 < abs(pot.difference) < ONE:
        yield _parts(books, pot)
        return
    candidates = pot.candidates()
    for difference in pot.differences:
        why = explain(difference, candidates)
        if why is not None:
            for change in why.changes:
                yield _drift(books, pot, change, [each for each in why.others if each.kind == change.kind])
            return
    twice = Candidate("double_report", "", pot.difference)
    for other in pots:
        for cell in other.cells if other is not pot and other.stage == pot.stage else ():
            if stands(cell) == pot.difference:
                yield _drift(books, replace(pot, cells=(*pot.cells, cell)), twice._replace(cell=cell.newest.cell), ())
                return
    yield edited(books, pot, pot.difference)


def _parts(books: Books, pot: Pot) -> Drift:
    """Less than a unit: no report is as small, but what was cut off or carried wrongly is."""
    held, ours = format_scaled(pot.observed), format_scaled(pot.expected)
    return replace(
        edited(books, pot, pot.difference),
        kind="rounding",
        sentence=f"the provider holds {held} of item {pot.item} from {format_s(pot.start_s)}, and our reports come to {ours}: part of a unit is lost",
        advice="--repair sets the cell again; look at whether something between us rounds",
    )


def edited(books: Books, pot: Pot, difference: int) -> Drift:
    """A number that none of our reports explains."""
    amount, currency = money(books, price_of(books, pot.item, pot.cells), pot.expected, difference)
    where = f"line {pot.line} bills" if pot.stage == "line" else "the provider holds"
    return Drift(
        kind="provider_edit",
        customer=books.customer,
        meter=books.meter,
        window=_window(pot.cells[0]) if len(pot.cells) == 1 else None,
        cells=(pot.cells[0].newest.cell,) if len(pot.cells) == 1 else (),
        # Without what adjustments carried into the total.
        holds=format_scaled(stands(pot.cells[0]) + pot.difference) if len(pot.cells) == 1 and pot.stage == "provider" else "",
        item=pot.item,
        period=(pot.start_s, pot.end_s),
        invoice=pot.invoice,
        line=pot.line,
        numbers={"delivered": format_scaled(pot.expected), pot.stage: format_scaled(pot.observed)},
        difference_scaled=difference,
        amount=amount,
        currency=currency,
        sentence=f"{where} {format_scaled(pot.observed)} of item {pot.item} from {format_s(pot.start_s)} to {format_s(pot.end_s)}, where our reports "
        f"come to {format_scaled(pot.expected)}; no report of ours, and no few of them together, explain the difference",
        advice="somebody changed it by hand or by another program: ask them, then --repair sets our cells of the period again"
        if pot.stage == "provider"
        else "an invoice is final: correct it by a credit note or an invoice item, and say so to the customer",
        repair="report" if pot.stage == "provider" else "settle",
        candidates=tuple(cell.newest.cell for cell in pot.cells) if len(pot.cells) > 1 else (),
    )


def _drift(books: Books, pot: Pot, change: Candidate, others: Sequence[Candidate]) -> Drift:
    cell = pot.cell(change.cell)
    if cell is None:
        raise ValueError(f"cell {change.cell} is not in its own pot")
    now = stands(cell)
    amount, currency = money(books, price_of(books, pot.item, (cell,)), pot.expected, change.delta)
    held = format_scaled(now + change.delta)
    kind: Kind = change.kind
    names = tuple(dict.fromkeys(each.cell for each in others if each.cell != change.cell))
    said = _WHAT[kind].format(cell=change.cell, now=format_scaled(now), held=held)
    where = f"line {pot.line} of invoice {pot.invoice}: " if pot.stage == "line" else ""
    return Drift(
        kind=kind,
        customer=books.customer,
        meter=books.meter,
        window=_window(cell),
        cells=(change.cell,),
        item=pot.item,
        period=(pot.start_s, pot.end_s),
        second=cell.newest.timestamp_s if kind != "double_report" else None,
        holds=held if kind != "double_report" else "",
        invoice=pot.invoice,
        line=pot.line,
        numbers=numbers_of(books, cell) | {"delivered": format_scaled(now), pot.stage: held},
        difference_scaled=change.delta,
        amount=amount,
        currency=currency,
        sentence=where + said + (f" ({len(names)} other cells would explain it too)" if names else ""),
        advice=_ADVICE[kind] if pot.stage == "provider" else "an invoice is final: correct it by a credit note or an invoice item",
        repair="settle" if pot.stage == "line" else "clear" if kind == "double_report" else "report",
        candidates=names,
    )


def _wrong_period(books: Books, short: Pot, over: Pot, cell: CellBook) -> Drift:
    units = stands(cell)
    price = price_of(books, short.item, (cell,))
    less, currency = money(books, price, short.expected, -units)
    more, _ = money(books, price, over.expected, units)
    return Drift(
        kind="wrong_period",
        customer=books.customer,
        meter=books.meter,
        window=_window(cell),
        cells=(cell.newest.cell,),
        item=short.item,
        period=(short.start_s, short.end_s),
        holds="0",
        invoice=over.invoice,
        line=over.line,
        numbers=numbers_of(books, cell) | {"delivered": format_scaled(units), short.stage: "0"},
        difference_scaled=-units,
        amount=None if less is None or more is None else less + more,
        currency=currency,
        sentence=f"the {format_scaled(units)} units of cell {cell.newest.cell} stand in the period from {format_s(over.start_s)} to "
        f"{format_s(over.end_s)}{f' of item {over.item}' if over.item != short.item else ''}, and belong to the one from {format_s(short.start_s)}",
        advice="--repair sets the cell where it belongs, and takes it off where it stands" if short.stage == "provider" else "an invoice is final: "
        "correct both by credit notes or invoice items",
        repair="report" if short.stage == "provider" else "settle",
        candidates=(f"{over.item}|{over.start_s}|{over.end_s}",),
    )


def _window(cell: CellBook) -> Window | None:
    """The cell's window; the first where it sums several."""
    parts = cell.newest.windows
    return parse_window_key(parts[0].window) if parts else None


def numbers_of(books: Books, cell: CellBook) -> dict[Stage, str]:
    """What the earlier stages say of the cell's windows together."""
    windows = {parse_window_key(part.window) for part in cell.newest.windows}
    of_it = [book for book in books.windows if book.window in windows]
    if not of_it or len(of_it) < len(windows):
        return {}
    counted = sum(book.counted.scaled for book in of_it if book.counted is not None)
    emitted = [book.revisions[-1] for book in of_it if book.revisions]
    found: dict[Stage, str] = {"counted": format_scaled(counted)}
    if len(emitted) == len(of_it):
        found["emitted"] = format_scaled(sum(each.total.scaled for each in emitted))
        if all(each.recount is not None for each in emitted):
            found["raw"] = format_scaled(sum(each.recount.scaled for each in emitted if each.recount is not None))
    return found
