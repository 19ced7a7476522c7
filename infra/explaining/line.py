"""`tidemark explain --invoice-line`: an invoice line from Stripe, the windows behind it in ClickHouse, and where the two disagree."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from infra.reading import clickhouse
from infra.stripe_catalog import access
from topics.errors import TidemarkError
from topics.receipt import CellReceipt

if TYPE_CHECKING:
    from infra.settings import Settings
    from sinks.clickhouse.line import LineWindows
    from sinks.clickhouse.span import Reader
    from sinks.stripe.invoice_line import InvoiceLine, Pages
    from sinks.stripe.line_money import LineMoney

LISTED = 50
"""Events of a kind (duplicates, late, refused) that are read to be shown; their numbers are always whole."""


class Explained(NamedTuple):
    """A line, what is behind it, where they disagree, its money, and (units, adjustment, second) of what was used in an earlier period."""

    line: InvoiceLine
    windows: LineWindows
    faults: list[str]
    carried: tuple[tuple[int, str, int], ...] = ()
    money: LineMoney | None = None

    @property
    def notes(self) -> list[str]:
        """What is under way, and what is not recomputed."""
        return [*self.windows.span.notes, *(self.money.named if self.money is not None else ())]


def explained_line(settings: Settings, name: str, *, limit: int = LISTED) -> Explained:
    """The line and what is behind it. Raises TidemarkError where there is no such line, or it bills nobody of ours."""
    from sinks.stripe.invoice_line import find

    archive = clickhouse(settings)
    try:
        with access(settings) as stripe:
            return taken_apart(settings, archive, stripe.old, find(stripe.old, name), limit=limit)
    finally:
        archive.close()


def taken_apart(settings: Settings, archive: Reader, stripe: Pages, line: InvoiceLine, *, limit: int = LISTED) -> Explained:
    """The same of a line that was read already."""
    from sinks.clickhouse.line import line_windows, owners

    found = owners(archive, line.item)
    if len(found) != 1:
        whose = "nobody is" if not found else f"{len(found)} customers and meters are"
        raise TidemarkError(f"{whose} bound to item {line.item} of line {line.id}; `tidemark bindings` lists who is billed where")
    windows = line_windows(archive, *found[0], line.item, line.start_s, line.end_s, limit=limit)
    return compared(settings, stripe, line, windows)


def compared(settings: Settings, stripe: Pages, line: InvoiceLine, windows: LineWindows) -> Explained:
    """The line held against its windows, in units and in money."""
    from infra.explaining.pricing import money_of

    carried = () if max(windows.units, 0) == line.units else _carried(settings, line)
    money = money_of(stripe, line, windows)
    faults = windows.faults(line.units - sum(units for units, _, _ in carried)) + windows.span.whole_faults + money.faults
    return Explained(line, windows, faults, carried, money)


def _carried(settings: Settings, line: InvoiceLine) -> tuple[tuple[int, str, int], ...]:
    """What adjustments of earlier periods stand on the line, from `usage.receipts`: no window of the line's own period says it."""
    import asyncio

    from infra.newest import newest_receipts

    newest = asyncio.run(newest_receipts(settings.kafka.bootstrap)).values()
    said = [one.adjustment for one in newest if isinstance(one, CellReceipt) and one.item == line.item and one.adjustment is not None]
    return tuple((int(part.units), each.id, part.second) for each in said for part in each.carried if line.start_s <= part.second < line.end_s)
