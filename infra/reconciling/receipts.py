"""What the receipts themselves say: revisions that nobody took, what came too late, cells in a foreign period, lost fractions. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction

from infra.reconciling.books import Books, CellBook, WindowBook
from infra.reconciling.drift import Drift
from infra.reconciling.money import money, price_of
from infra.reconciling.pots import held_revisions
from infra.reconciling.provider import numbers_of
from infra.reconciling.standing import ACCEPTED, stands
from infra.reconciling.windows import stages
from sinks.adjustments import is_being_billed, is_open
from topics.instants import format_s
from topics.invoices import FINAL
from topics.quantity import ONE, format_scaled, parse_total
from topics.receipt import CellReceipt
from topics.windows import Window, parse_window_key

WAITS_MS = 3 * 86_400_000
"""How long an adjustment that is billed by itself (a policy other than `hold`) may wait for its invoice or its next period: a draft is final after
73 hours at most, and the end of a period is waited for that is near. Then a person should look."""


def in_receipts(books: Books) -> Iterator[Drift]:
    """`lost_report` without a receipt, `late_after_finality`, `wrong_period` and `rounding` of our own books."""
    cell_of = {parse_window_key(part.window): cell for cell in books.cells for part in cell.newest.windows}
    held = held_revisions(books)
    for book in books.windows:
        if book.must_have_receipt and book.revisions and book.revisions[-1].revision > held.get(book.window, (-1, -1)):
            yield _untaken(books, book, cell_of.get(book.window))
    for cell in books.cells:
        if cell.is_moving:
            continue
        if _is_late(books, cell.newest):
            yield _late(books, cell)
        wrong = next((window for part in cell.newest.windows if _is_outside(books, cell.newest, window := parse_window_key(part.window))), None)
        if wrong is not None:
            yield _elsewhere(books, cell, wrong)
    yield from _rounded(books)


def _untaken(books: Books, book: WindowBook, cell: CellBook | None) -> Drift:
    """An emitted revision that no receipt knows, though the report has passed it."""
    newest = book.revisions[-1]
    before = 0 if cell is None else sum(parse_total(part.quantity) for part in cell.newest.windows if parse_window_key(part.window) == book.window)
    is_final = cell is not None and _is_final(books, cell.newest)
    scale = parse_total(cell.newest.scale) if cell is not None else ONE
    difference = (before - newest.total.scaled) * scale // ONE
    price = price_of(books, "" if cell is None else cell.newest.item, () if cell is None else (cell,))
    amount, currency = money(books, price, 0 if cell is None else stands(cell), -difference)
    return Drift(
        kind="late_after_finality" if is_final else "lost_report",
        customer=books.customer,
        meter=books.meter,
        window=book.window,
        cells=() if cell is None else (cell.newest.cell,),
        item="" if cell is None else cell.newest.item,
        period=None if cell is None else (cell.newest.period_start_s, cell.newest.period_end_s),
        numbers=stages(book) | {"delivered": format_scaled(0 if cell is None else stands(cell))},
        difference_scaled=difference,
        amount=None if amount is None else -amount,
        currency=currency,
        sentence=f"window {format_s(book.window.start_s)}: revision {newest.revision[1]} ({format_scaled(newest.total.scaled)}) was "
        + ("emitted after its cell was final, and no adjustment lists it" if is_final else "emitted and due, and no receipt knows it"),
        advice="--repair emits the window again, and the report takes it from there",
        repair="emit",
    )


def _is_final(books: Books, receipt: CellReceipt) -> bool:
    """True where an adjustment or a final invoice says that the cell takes no more."""
    if receipt.adjustment is not None:
        return True
    of_it = [said for said in books.invoices if said.provider == receipt.provider and (not said.items or receipt.item in said.items)]
    return any(said.status in FINAL and said.period_start_s <= receipt.timestamp_s < said.period_end_s for said in of_it)


def _is_late(books: Books, receipt: CellReceipt) -> bool:
    """An open adjustment that nothing bills by itself: it is held, or was refused, or has waited too long."""
    said = receipt.adjustment
    if said is None or not is_open(receipt):
        return False
    if said.policy == "hold" or (said.remedy is not None and said.remedy.refused):
        return True
    # The report wrote down since when by its own clock; a test clock may be months ahead of it.
    now_ms = books.now_ms if books.wall_ms is None else books.wall_ms
    return not is_being_billed(said) and now_ms - said.since_ms > WAITS_MS


def _late(books: Books, cell: CellBook) -> Drift:
    receipt = cell.newest
    said = receipt.adjustment
    if said is None:
        raise ValueError(f"cell {receipt.cell} has no adjustment")
    missing = parse_total(said.units)
    amount, currency = money(books, price_of(books, receipt.item, (cell,)), stands(cell), missing)
    refused = "" if said.remedy is None or not said.remedy.refused else f"; refused: {said.remedy.refused}"
    why = f"{said.cause}, invoice {said.invoice}" if said.invoice else said.cause
    return Drift(
        kind="late_after_finality",
        customer=books.customer,
        meter=books.meter,
        window=parse_window_key(receipt.windows[0].window) if receipt.windows else None,
        cells=(receipt.cell,),
        item=receipt.item,
        period=(receipt.period_start_s, receipt.period_end_s),
        second=receipt.timestamp_s,
        holds=format_scaled(stands(cell)),
        invoice=said.invoice,
        numbers=numbers_of(books, cell) | {"delivered": format_scaled(stands(cell))},
        difference_scaled=-missing,
        amount=None if amount is None else -amount,
        currency=currency,
        sentence=f"cell {receipt.cell} is final ({why}); {receipt.units or '?'} units are counted, {said.standing} stand, {said.settled} were "
        f"settled: {said.units} are billed nowhere{refused}",
        advice=f"bill it or waive it, then `tidemark adjustments settle {said.id}`; or choose a policy (`late`) that bills by itself",
        repair="settle",
    )


def _is_outside(books: Books, receipt: CellReceipt, window: Window) -> bool:
    """True where a window does not belong to the period of its cell. One that lies across the instant from which its item is billed does; and one
    that was whole before an edge was learned belongs where it starts (law 8)."""
    if not receipt.period_start_s <= receipt.timestamp_s <= receipt.period_end_s:
        return True
    if receipt.period_start_s <= window.start_s < receipt.period_end_s:
        return False
    begins = {version.item.billable_from_s for version in books.versions if version.item is not None}
    is_across = window.start_s < receipt.period_start_s < window.end_s
    target = receipt.meter_target
    return not (is_across and (not begins or receipt.period_start_s in begins or target is not None))


def _elsewhere(books: Books, cell: CellBook, window: Window) -> Drift:
    receipt = cell.newest
    return Drift(
        kind="wrong_period",
        customer=books.customer,
        meter=books.meter,
        window=window,
        cells=(receipt.cell,),
        item=receipt.item,
        period=(receipt.period_start_s, receipt.period_end_s),
        second=receipt.timestamp_s,
        holds=format_scaled(stands(cell)),
        numbers=numbers_of(books, cell) | {"delivered": format_scaled(stands(cell))},
        difference_scaled=stands(cell),
        sentence=f"window {format_s(window.start_s)} was reported at {format_s(receipt.timestamp_s)}, in the period from "
        f"{format_s(receipt.period_start_s)} to {format_s(receipt.period_end_s)}, to which it does not belong",
        advice="correct the binding (period, anchor) and settle the difference by hand",
        repair="review",
    )


def _rounded(books: Books) -> Iterator[Drift]:
    """Units that are not quantity × scale; in a ledger the period's whole part, else each cell by itself (law 17)."""
    ledgers: dict[tuple[str, int], list[CellBook]] = {}
    for cell in books.cells:
        if cell.newest.fractions == "ledger":
            ledgers.setdefault((cell.newest.item, cell.newest.period_start_s), []).append(cell)
        elif not cell.is_moving and (difference := _off(cell.newest)):
            yield _fraction(books, (cell,), difference)
    for cells in ledgers.values():
        if not all(_is_at_rest(cell) for cell in cells) or not _is_read(books, cells):
            continue
        exact = sum(_claim(cell.newest)[0] for cell in cells)
        units = sum(_claim(cell.newest)[1] for cell in cells)
        if units != exact // (ONE * ONE) * ONE and units:
            yield _fraction(books, tuple(cells), units - exact // (ONE * ONE) * ONE)


def _is_at_rest(cell: CellBook) -> bool:
    return not cell.is_moving and cell.newest.state in {*ACCEPTED, "adjustment"} and not cell.newest.maybe


def _is_read(books: Books, cells: list[CellBook]) -> bool:
    return books.from_s <= cells[0].newest.period_start_s and max(cell.newest.period_end_s for cell in cells) <= books.to_s


def _claim(receipt: CellReceipt) -> tuple[int, int]:
    """(exact × 10²⁴, units × 10¹²) that a cell has of its period's ledger, as sinks/ledger.py counts them."""
    if receipt.state == "adjustment":
        return parse_total(receipt.quantity) * parse_total(receipt.scale), parse_total(receipt.units)
    standing = receipt.standing
    return (0, 0) if standing is None else (parse_total(standing.quantity) * parse_total(receipt.scale), parse_total(standing.units))


def _off(receipt: CellReceipt) -> int:
    """By how much less than a unit what stands differs from its quantity × scale; a whole unit or more is another cause's."""
    exact, units = _claim(receipt)
    if receipt.state not in ACCEPTED or not 0 < abs(Fraction(units) - Fraction(exact, ONE)) < ONE:
        return 0
    return units - exact // ONE


def _fraction(books: Books, cells: tuple[CellBook, ...], difference: int) -> Drift:
    first = cells[0].newest
    exact, units = sum(_claim(cell.newest)[0] for cell in cells), sum(_claim(cell.newest)[1] for cell in cells)
    amount, currency = money(books, price_of(books, first.item, cells), units - difference, difference)
    one = len(cells) == 1
    where = f"cell {first.cell}" if one else f"item {first.item} in the period from {format_s(first.period_start_s)}"
    return Drift(
        kind="rounding",
        customer=books.customer,
        meter=books.meter,
        window=parse_window_key(first.windows[0].window) if one and first.windows else None,
        cells=tuple(cell.newest.cell for cell in cells) if one else (max(cells, key=lambda cell: (stands(cell), cell.newest.cell)).newest.cell,),
        item=first.item,
        period=(first.period_start_s, first.period_end_s),
        second=first.timestamp_s if one else None,
        holds=format_scaled(units) if one else "",
        numbers={"emitted": format_scaled(exact // ONE), "delivered": format_scaled(units)},
        difference_scaled=difference,
        amount=amount,
        currency=currency,
        sentence=f"{where}: {format_scaled(units)} units stand, and quantity × scale is {format_scaled(exact // ONE)}: a part of a unit was lost "
        "or carried wrongly",
        advice="--repair sets the cell's units again, from the exact quantities of the whole period",
        repair="report",
    )
