"""`tidemark explain CUSTOMER [METER] --period T | --from T --to T`: all windows of a stretch of time, billed or not, meter by meter."""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction
from typing import TYPE_CHECKING

from infra.explaining.line import LISTED, compared
from infra.explaining.pricing import price_of
from infra.reading import clickhouse
from infra.stripe_catalog import access
from topics.bindings import Item
from topics.definitions import Definitions, decode_definition
from topics.errors import ConfigurationFault, TidemarkError, UsageError
from topics.instants import format_s
from topics.quantity import ONE
from topics.windows import Window

if TYPE_CHECKING:
    from infra.settings import Settings
    from sinks.clickhouse.line import LineWindows
    from sinks.clickhouse.span import Reader
    from sinks.stripe.access import Eras
    from sinks.stripe.invoice_line import InvoiceLine, Pages
    from sinks.stripe.line_money import LineMoney


@dataclass
class MeterPeriod:
    """One meter of it. `line` is the invoice line that bills it, where there is one; `money` what its units come to, billed or so far."""

    windows: LineWindows
    line: InvoiceLine | None = None
    money: LineMoney | None = None
    faults: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


@dataclass
class Period:
    """A customer's period, or any other stretch of time."""

    customer: str
    from_s: int
    to_s: int
    meters: list[MeterPeriod]

    @property
    def faults(self) -> list[str]:
        """What contradicts, by meter."""
        return [f"{each.windows.meter}: {fault}" for each in self.meters for fault in each.faults]

    @property
    def notes(self) -> list[str]:
        """What is under way or not recomputed, by meter."""
        return [f"{each.windows.meter}: {note}" for each in self.meters for note in each.notes]


def explained_period(
    settings: Settings, customer: str, meter: str | None, *, at_s: int | None = None, span_s: tuple[int, int] | None = None, limit: int = LISTED
) -> Period:
    """The period that holds an instant (each meter's own), or `[from, to)`; of one meter or of all that were used in it.

    Raises TidemarkError where nothing was used, UsageError where no binding says what the period is.
    """
    archive = clickhouse(settings)
    try:
        held = bindings_of(archive, customer)
        meters = [meter] if meter is not None else _meters(archive, held, customer, at_s, span_s)
        found = [_meter(archive, held, customer, each, at_s, span_s, limit) for each in meters]
        found = [each for each in found if each.windows.span.windows or each.windows.earlier]
        if not found:
            when = f"in [{format_s(span_s[0])}, {format_s(span_s[1])})" if span_s else f"in the period at {format_s(at_s or 0)}"
            raise TidemarkError(f"nothing of {customer!r}" + (f" and meter {meter!r}" if meter else "") + f" was counted {when}")
        _price(settings, held, found)
    finally:
        archive.close()
    from_s, to_s = min(each.windows.start_s for each in found), max(each.windows.end_s for each in found)
    return Period(customer, from_s, to_s, found)


def bindings_of(archive: Reader, customer: str) -> Definitions:
    """Who bills the customer and since when, as the log said it."""
    from sinks.clickhouse.span import query

    held = Definitions()
    for (body,) in archive.rows(query("customer_bindings"), {"customer": customer}):
        held.apply(decode_definition(body, f"definition_log of {customer!r}"))
    return held


def period_of(held: Definitions, customer: str, meter: str, instant_s: int) -> tuple[Item, int, int]:
    """The item and its billing period at an instant. Raises UsageError where no binding says it."""
    from sinks.cells import Unplaced, cell_of

    item = held.item_at(customer, meter, instant_s)
    place = cell_of(Window(customer, meter, instant_s, instant_s + 1), item, "default" if item is None else item.account)
    if item is None or isinstance(place, Unplaced):
        why = "nothing bills it then" if item is None else place.sentence if isinstance(place, Unplaced) else ""
        raise UsageError(f"{customer!r} has no billing period for meter {meter!r} at {format_s(instant_s)} ({why}); say --from and --to instead")
    return item, place.period_start_s, place.period_end_s


def _meters(archive: Reader, held: Definitions, customer: str, at_s: int | None, span_s: tuple[int, int] | None) -> list[str]:
    """All meters of the customer that were used then."""
    from sinks.clickhouse.span import query, shown

    if span_s is not None:
        asked = {"customer": customer, "from_s": span_s[0], "to_s": span_s[1]}
        return sorted(shown(row[0]) for row in archive.rows(query("customer_windows"), asked))
    bound = sorted(meter for meter in held.bound.get(customer, ()) if held.item_at(customer, meter, at_s or 0) is not None)
    if not bound:
        raise UsageError(f"nothing bills {customer!r} at {format_s(at_s or 0)}, so it has no period then; say --from and --to instead")
    return bound


def _meter(
    archive: Reader, held: Definitions, customer: str, meter: str, at_s: int | None, span_s: tuple[int, int] | None, limit: int
) -> MeterPeriod:
    from sinks.clickhouse.line import line_windows

    item, from_s, to_s = _bounds(held, customer, meter, at_s, span_s)
    windows = line_windows(archive, customer, meter, item, from_s, to_s, limit=limit)
    waiting = len(windows.open)
    notes = windows.span.notes + ([f"{waiting} windows are counted and not delivered as they stand now"] if waiting else [])
    return MeterPeriod(windows=windows, faults=windows.span.faults, notes=notes)


def _bounds(held: Definitions, customer: str, meter: str, at_s: int | None, span_s: tuple[int, int] | None) -> tuple[str, int, int]:
    """The item and its period; a stretch of time that is no period has no item, and so no price: tiers are of whole periods."""
    if span_s is None:
        item, from_s, to_s = period_of(held, customer, meter, at_s or 0)
        return item.item, from_s, to_s
    try:
        item, from_s, to_s = period_of(held, customer, meter, span_s[0])
    except UsageError:
        return "", *span_s
    return (item.item if (from_s, to_s) == span_s else ""), *span_s


def _price(settings: Settings, held: Definitions, found: list[MeterPeriod]) -> None:
    """The invoice line of each meter's period, or what its units come to so far; without Stripe a note."""
    try:
        with access(settings) as stripe:
            for each in found:
                _priced(settings, stripe, held, each)
    except (TidemarkError, ConfigurationFault) as error:
        for each in found:
            each.notes.append(f"no money is shown: {error}")


def _priced(settings: Settings, stripe: Eras, held: Definitions, each: MeterPeriod) -> None:
    from sinks.stripe.line_money import LineMoney
    from sinks.stripe.working import working

    windows = each.windows
    versions = held.items.get((windows.customer, windows.meter), [])
    item = next((version.item for version in reversed(versions) if version.item is not None and version.item.item == windows.item), None)
    if item is None:
        each.notes.append("no money is shown: this is no billing period of one item")
        return
    line = line_of_period(stripe.old, item, windows.start_s, windows.end_s)
    if line is not None:
        explained = compared(settings, stripe.old, line, windows)
        each.line, each.money, each.faults = line, explained.money, explained.faults
        each.notes += explained.money.named if explained.money is not None else ()
        return
    price = price_of(stripe.old, item.price)
    found = None if price is None else working(price, max(Fraction(windows.units_scaled, ONE), Fraction(0)))
    if found is not None:
        each.money = LineMoney(found, "not_compared", ("no invoice has a line for this period yet: this is what was delivered so far",))


def line_of_period(access: Pages, item: Item, from_s: int, to_s: int) -> InvoiceLine | None:
    """The line of an invoice that bills just this item and period; None where there is none (yet)."""
    from sinks.stripe.invoice_line import lines_of, whole

    if not item.subscription:
        return None
    for invoice in access.pages("/v1/invoices", subscription=item.subscription):
        for line in whole(lines_of(access, invoice)):
            if (line.item, line.start_s, line.end_s) == (item.item, from_s, to_s):
                return line
    return None
