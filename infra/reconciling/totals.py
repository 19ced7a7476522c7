"""The provider's totals against our cells: an item's billing periods, a meter's hours or days, the lines of final invoices. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fractions import Fraction

from infra.reconciling.books import Books, LineSaid
from infra.reconciling.drift import Drift
from infra.reconciling.pots import Pot, Shelf, owner_of
from infra.reconciling.provider import explained
from infra.reconciling.unbilled import BILLED, in_nowhere, nowhere
from sinks.cells import BUCKET_S
from sinks.stripe.working import working
from topics.instants import format_s
from topics.quantity import ONE, format_scaled
from topics.receipt import MeterTarget


def in_totals(books: Books) -> list[Drift]:
    """What the provider's totals show, and final invoices beyond it; and each line's amount against its units."""
    shelf = Shelf(books)
    unbilled = nowhere(books)
    held = [pot for pot in (*_periods(shelf), *_buckets(shelf)) if not any(each.has(pot) for each in unbilled)]
    billed = [pot for pot in _lines(shelf) if not _is_clamped(books, pot) and not _is_told(pot, held)]
    amounts = (_amount(books, line) for line in books.lines)
    return [*in_nowhere(shelf, unbilled), *explained(books, held), *explained(books, billed), *(drift for drift in amounts if drift is not None)]


def _is_told(line: Pot, held: Sequence[Pot]) -> bool:
    """True where a line bills just what the provider's own totals hold, whatever is wrong with them."""
    told = line.expected + sum(pot.difference for pot in held if pot.item == line.item and line.start_s <= pot.start_s < line.end_s)
    return line.observed in _shown(told)


def _shown(units: int) -> set[int]:
    """What a line may show of units: no less than 0, and of a meter, where it shows whole units only, without the rest (`quantity_decimal`)."""
    return {units, max(0, units), max(0, units // ONE * ONE)}


def _periods(shelf: Shelf) -> list[Pot]:
    """Summaries of periods in which our items were billed; what was before that another program reported. Of the period in which we began its
    usage may be part of the total: then only what is missing is ours."""
    books = shelf.books
    since_s = _billed_from(books)
    ours = [each for each in books.summaries or () if each.item in since_s and each.end_s > since_s[each.item]]
    read = [each for each in ours if _is_read(books, each.start_s, each.end_s)]
    pots = [shelf.pot("provider", each.item, (each.start_s, each.end_s), each.units * ONE, each.invoice) for each in read]
    return [pot for pot in pots if pot.start_s >= since_s[pot.item] or pot.difference < 0]


def _is_read(books: Books, start_s: int, end_s: int) -> bool:
    """True where all cells of the span are in the books."""
    return books.from_s <= start_s and end_s <= books.to_s


def _billed_from(books: Books) -> dict[str, int]:
    """From when each item of usage records bills the customer by us."""
    found: dict[str, int] = {}
    for version in books.versions:
        item = version.item
        if item is not None and item.mode == "usage_records":
            found[item.item] = min(found.get(item.item, item.billable_from_s), item.billable_from_s)
    for cell in books.cells:
        if cell.newest.meter_target is None:
            found[cell.newest.item] = min(found.get(cell.newest.item, cell.newest.period_start_s), cell.newest.period_start_s)
    return found


def _buckets(shelf: Shelf) -> list[Pot]:
    """A meter's UTC hours or days that hold cells of ours, or anything at all."""
    books = shelf.books
    if books.buckets is None:
        return []
    targets: dict[tuple[str, str], tuple[MeterTarget, str]] = {}
    starts: dict[tuple[str, str], set[int]] = {}
    for cell in sorted(books.cells, key=lambda cell: (cell.newest.timestamp_s, cell.newest.cell)):
        target = cell.newest.meter_target
        if target is not None and owner_of(target) not in books.unread:
            targets[owner_of(target)] = (target, cell.newest.item)
            length_s = _length_s(target)
            starts.setdefault(owner_of(target), set()).add(cell.newest.timestamp_s // length_s * length_s)
    since_s = min((version.item.billable_from_s for version in books.versions if version.item is not None), default=-(2**62))
    found: list[Pot] = []
    for owner, (target, item) in targets.items():
        said = {each.start_s: each.scaled for each in books.buckets if each.event_name == owner[0] and each.customer in {"", owner[1]}}
        for start_s in sorted(starts[owner] | said.keys()):
            span = (start_s, start_s + _length_s(target))
            is_ours = start_s in starts[owner] or (start_s >= since_s and _reported_to(books, start_s) in {None, owner})
            if _is_read(books, *span) and is_ours:
                found.append(shelf.bucket(target, item, span, said.get(start_s, 0)))
    return found


def _reported_to(books: Books, instant_s: int) -> tuple[str, str] | None:
    """The provider's (meter, customer) in force at an instant; None where that was none."""
    items = [version.item for version in books.versions if version.item is not None and version.valid_from_s <= instant_s]
    return (items[-1].event_name, items[-1].stripe_customer) if items and items[-1].mode == "meters" else None


def _length_s(target: MeterTarget) -> int:
    return BUCKET_S["day" if target.aggregation == "day" else "hour"]


def _lines(shelf: Shelf) -> list[Pot]:
    """Lines of one item and period together, whatever their prices; not those that say just what the provider's summary says."""
    books = shelf.books
    summaries = {(each.item, each.start_s, each.end_s): each.units * ONE for each in books.summaries or ()}
    together: dict[tuple[str, str, int, int], list[LineSaid]] = {}
    for line in books.lines:
        if line.status in BILLED and _is_read(books, line.start_s, line.end_s):
            together.setdefault((line.invoice, line.item, line.start_s, line.end_s), []).append(line)
    found = []
    for (invoice, item, start_s, end_s), lines in together.items():
        observed = sum(line.scaled for line in lines)
        if summaries.get((item, start_s, end_s)) != observed:
            found.append(shelf.pot("line", item, (start_s, end_s), observed, invoice, lines[0].line))
    return found


def _is_clamped(books: Books, pot: Pot) -> bool:
    """True where a meter's line bills what our reports come to, as a line shows it."""
    is_meter = any(cell.newest.meter_target is not None for cell in pot.cells)
    return is_meter and any(pot.observed in _shown(each) for each in pot.possible or ())


def _amount(books: Books, line: LineSaid) -> Drift | None:
    """A line whose amount is not what its units cost by its price, by the rules of `sinks/stripe/line_money.py`: usage of a trial is free, and
    whether a first tier's flat amount is billed without usage is Stripe's word."""
    price = books.prices.get(line.price)
    if price is None or price.currency != line.currency or line.status not in BILLED:
        return None
    found = working(price, Fraction(max(0, line.scaled), ONE), line.parts)
    if found is None or found.amount == line.amount or (line.amount == 0 and (line.is_trial or not line.scaled)):
        return None
    cost = found.amount
    units = format_scaled(line.scaled)
    return Drift(
        kind="rounding",
        customer=books.customer,
        meter=books.meter,
        item=line.item,
        period=(line.start_s, line.end_s),
        invoice=line.invoice,
        line=line.line,
        numbers={"line": units},
        amount=line.amount - cost,
        currency=line.currency,
        sentence=f"line {line.line} of invoice {line.invoice} bills {line.amount} (smallest units of {line.currency}) for {units} units from "
        f"{format_s(line.start_s)}, which cost {cost} by price {line.price}",
        advice="an invoice is final: credit or bill the difference; look at whether the price was changed after it",
        repair="review",
    )


def whole_lines(lines: Iterable[LineSaid]) -> tuple[LineSaid, ...]:
    """Lines of one price's tiers as one: each tier is a line of its own on an invoice."""
    found: dict[tuple[str, str, str, int, int], LineSaid] = {}
    for line in lines:
        key = (line.invoice, line.item, line.price, line.start_s, line.end_s)
        held = found.get(key)
        found[key] = line if held is None else _together(held, line)
    return tuple(found.values())


def _together(held: LineSaid, line: LineSaid) -> LineSaid:
    return held._replace(scaled=held.scaled + line.scaled, amount=held.amount + line.amount, parts=held.parts + line.parts)
