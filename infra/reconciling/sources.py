"""Reads the books of every customer, in an order in which what arrives meanwhile can never look like a drift.

1. How far the meter has closed and the report has taken everything (Kafka, where it answers): what is due is due by then.
2. A page of customers: where each cell's record stood, and then what the provider says.
3. The ends of `usage.windows` and `usage.receipts`, and waiting until the archive has followed up to there: every report that the provider can
   have known was written as an intent before it was sent (law 13), so now the archive knows it too.
4. The archive's receipts, windows and events. A cell whose record moved between 2 and 4 is marked, and may be either.

Without Kafka (months later, or after its loss) there is nothing to wait for; then only partitions that have been silent for hours are judged as due.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Final

from infra.reconciling.archive import EARLIEST_S, LATEST_S, Archive, Archived, CountedRow, EmittedRow, Receipts, Span
from infra.reconciling.asking import Answers, Asked, Asking, Metered
from infra.reconciling.books import Books, CellBook, Copies, Revision, WindowBook
from infra.reconciling.drift import Coordinate
from infra.reconciling.following import Following, Reach, wait
from infra.reconciling.gaps import Lacking
from infra.reconciling.pots import owner_of
from infra.reconciling.suspects import Stretch, Suspects
from sinks.stripe.objects import Price
from topics.bindings import Item, ItemVersion
from topics.catalog import WINDOWS
from topics.clocks import ClockVersion
from topics.closed import Closed
from topics.definitions import Definitions
from topics.invoices import InvoiceRecord
from topics.positions import log_of, offset_of
from topics.receipt import CellReceipt
from topics.windows import Window

PAGE: Final = 50
"""Customers whose books are in memory together, and for whom the archive is waited for once."""
SILENT_MS: Final = 6 * 3_600_000
"""Without Kafka: so long must a partition have been silent before what is not there counts as missing."""

MOST_LOOKED: Final = 20
"""Broken windows whose events are looked for in one run: an archive that is broken in a thousand is broken for one reason."""
CLOCK_MS: Final = 60_000
"""After a test clock's word, and whatever came with it, the meter closes what is due by it within seconds."""


@dataclass(frozen=True, kw_only=True)
class Order:
    """What is to be reconciled: one customer or all (""), one meter or all, windows from `from_s` to `to_s`. `copies`: look for copies of ids too."""

    customer: str = ""
    meter: str = ""
    from_s: int = EARLIEST_S
    to_s: int = LATEST_S
    copies: bool = True


@dataclass
class Said:
    """What the run could not do, in sentences."""

    problems: list[str] = field(default_factory=list)


class Sources:
    """One archive, one account (None: it is not asked), and Kafka where it answers."""

    def __init__(
        self, archive: Archive, asking: Asking | None, now_ms: int, following: Following | None = None, suspects: Suspects | None = None
    ) -> None:
        self._archive = archive
        self._asking = asking
        self._now_ms = now_ms
        self._following = following
        self._suspects = suspects
        self._looked = 0
        self.said = Said()

    def books(self, order: Order) -> Iterator[Books]:
        """Every customer's meters. Raises Unreachable where the archive does not answer; what Stripe refuses of a customer is listed in `said`."""
        reach = None if self._following is None else self._following.reach()
        newest_ms = self._archive.newest_ms()
        if self._following is not None and reach is None and (moving := self._moving(newest_ms)):
            self.said.problems.append(f"Kafka does not answer: in partitions {moving}, which had records of late, nothing counts as missing")
        owners = self._archive.owners(order.customer, order.meter)
        names = iter(owners)
        while page := list(islice(names, PAGE)):
            yield from _Page(self, order, reach, newest_ms).books({name: owners[name] for name in page})

    def _moving(self, newest_ms: Mapping[int, int]) -> str:
        """Partitions that have not been silent for long enough; "" where all have."""
        return ", ".join(str(partition) for partition, at_ms in sorted(newest_ms.items()) if self._now_ms - at_ms < SILENT_MS)

    def lacking(self) -> list[Lacking]:
        """Partitions of which records are missing. Raises Unreachable."""
        return self._archive.lacking()

    def suspects(self, rows: Sequence[EmittedRow], customer: str) -> tuple[Coordinate, ...]:
        """The events that broke a window, looked for where its newest revision does not follow."""
        newest = rows[-1] if rows else None
        is_whole = newest is None or newest.emitted.recount is None or newest.emitted.recount == newest.emitted.total
        if self._suspects is None or newest is None or is_whole or self._looked >= MOST_LOOKED:
            return ()
        self._looked += 1
        generation, through = newest.emitted.revision
        return self._suspects.of(Stretch(customer, newest.partition, generation, min(newest.first_offset, through), through))


class _Page:
    """A page of customers."""

    def __init__(self, sources: Sources, order: Order, reach: Mapping[int, Reach] | None, newest_ms: Mapping[int, int]) -> None:
        self._sources = sources
        self._archive = sources._archive
        self._order = order
        self._reach = reach
        self._newest_ms = newest_ms
        self._archived: dict[int, Archived] = {}
        self._places: Mapping[str, Mapping[int, int]] = {}
        self._behind: set[int] = set()

    def books(self, owners: Mapping[str, Sequence[str]]) -> Iterator[Books]:
        """See the module: 2, 3, 4."""
        definitions = Definitions()
        for definition in self._archive.definitions(list(owners)):
            definitions.apply(definition)
        customers = {name: _Customer(name, definitions, self._order, self._sources._now_ms) for name in owners}
        seen = {name: self._archive.seen(name) for name in owners}
        asking = self._sources._asking
        answers = {name: asking.ask(customers[name].asked(meters)) for name, meters in owners.items()} if asking else {}
        self._follow()
        self._archived, self._places = self._archive.reach()
        for name, meters in owners.items():
            yield from self._of(customers[name], meters, seen[name], answers.get(name))

    def _follow(self) -> None:
        following = self._sources._following
        if following is not None and self._reach is not None:
            self._behind = wait(following.ends(), lambda: self._archive.reach()[1])

    def _of(self, customer: _Customer, meters: Sequence[str], seen: Mapping[str, int], answers: Answers | None) -> Iterator[Books]:
        span = customer.span
        receipts = self._archive.receipts(customer.name, span, {item.item: item for meter in meters for item in customer.items(meter)})
        counted = self._archive.counted(customer.name, span)
        sizes = ((window.start_s, row.total.events) for window, row in counted.items())
        revisions = self._archive.revisions(customer.name, span, self._archived, sizes)
        problems = self._sources.said.problems
        copies = list(self._archive.copies(customer.name, self._order.from_s, problems)) if self._order.copies else []
        for problem in answers.problems if answers else ():
            self._sources.said.problems.append(f"customer {customer.name!r}: {problem}")
        partitions = {row.partition for rows in revisions.values() for row in rows} | {row.partition for row in counted.values()}
        if late := partitions & self._behind:
            text = f"customer {customer.name!r}: the archive has not followed partition {min(late)}: the provider's totals are not compared"
            self._sources.said.problems.append(text)
            answers = None
        for meter in meters:
            windows = [self._window(customer, window, counted, revisions, receipts) for window in _windows(meter, counted, revisions, receipts)]
            mine = [(name, history) for name, history in receipts.cells.items() if history[-1].meter == meter]
            cells = [_cell(history, moved=receipts.at[name] != seen.get(name)) for name, history in mine]
            yield self._assembled(customer, meter, windows, cells, answers, copies)

    def _assembled(
        self, customer: _Customer, meter: str, windows: list[WindowBook], cells: list[CellBook], answers: Answers | None, copies: list[Copies]
    ) -> Books:
        versions = tuple(customer.definitions.items.get((customer.name, meter), ()))
        items = {version.item.item for version in versions if version.item is not None} | {cell.newest.item for cell in cells}
        events = {owner_of(cell.newest.meter_target) for cell in cells if cell.newest.meter_target is not None}
        events |= {(version.item.event_name, version.item.stripe_customer) for version in versions if version.item and version.item.event_name}
        lines = () if answers is None else tuple(line for line in answers.lines if line.item in items)
        summaries = None if answers is None else tuple(each for item in sorted(items) for each in answers.summaries.get(item, ()))
        buckets = None if answers is None else tuple(each for owner in sorted(events) for each in answers.buckets.get(owner, ()))
        names = {cell.newest.price for cell in cells} | {line.price for line in lines}
        names |= {version.item.price for version in versions if version.item is not None}
        mine = tuple(each for each in copies if _owner(each) == meter)
        return Books(
            customer=customer.name,
            meter=meter,
            now_ms=customer.now_ms,
            from_s=customer.span[0] if customer.span[0] > EARLIEST_S else -(2**62),
            to_s=customer.span[1] if customer.span[1] < LATEST_S else 2**62,
            windows=tuple(windows),
            cells=tuple(cells),
            summaries=summaries,
            buckets=buckets,
            lines=lines,
            read=() if answers is None else answers.read,
            gone=frozenset() if answers is None else answers.gone,
            invoices=tuple(customer.invoices),
            versions=versions,
            prices=self._prices(names),
            copies=mine,
            wall_ms=self._sources._now_ms,
            unread=frozenset(events if answers is None else events - answers.buckets.keys()),
        )

    def _prices(self, names: Iterable[str]) -> dict[str, Price]:
        asking = self._sources._asking
        found = {name: asking.price(name) for name in sorted(names) if name} if asking is not None else {}
        return {name: price for name, price in found.items() if price is not None}

    def _is_taken(self, row: EmittedRow, reach: Reach) -> bool:
        """True where the report has passed the revision on the log that there is now; of a log that was lost nothing is said."""
        now = self._places.get(WINDOWS, {}).get(row.partition, 0)
        return log_of(row.log_offset) == log_of(now) and offset_of(row.log_offset) < reach.taken

    def _window(
        self,
        customer: _Customer,
        window: Window,
        counted: Mapping[Window, CountedRow],
        revisions: Mapping[Window, Sequence[EmittedRow]],
        receipts: Receipts,
    ) -> WindowBook:
        row, rows = counted.get(window), revisions.get(window, ())
        partition = row.partition if row is not None else rows[0].partition if rows else -1
        is_silent = self._sources._now_ms - self._newest_ms.get(partition, self._sources._now_ms) >= SILENT_MS
        reach = None if self._reach is None else self._reach.get(partition)
        if self._reach is None:
            emitted, taken = is_silent and customer.is_over(window, SILENT_MS), is_silent
        else:
            closed = None if reach is None or partition in self._behind else reach.closed
            quiet_ms = 0 if closed is None else closed.until_ms - self._newest_ms.get(partition, closed.until_ms)
            emitted = closed is not None and row is not None and customer.is_closed(window, closed, row.newest, quiet_ms)
            taken = bool(rows) and reach is not None and partition not in self._behind and self._is_taken(rows[-1], reach)
        return WindowBook(
            window=window,
            counted=None if row is None else row.total,
            newest_event=(0, -1) if row is None else row.newest,
            revisions=tuple(each.emitted for each in rows),
            parked=receipts.parked.get(window),
            must_be_emitted=emitted,
            must_have_receipt=taken,
            suspects=self._sources.suspects(rows, customer.name),
        )


class _Customer:
    """What is in force for one customer, and what time it is there."""

    def __init__(self, name: str, definitions: Definitions, order: Order, now_ms: int) -> None:
        """`definitions`: those of the whole page."""
        self.name = name
        self.definitions = definitions
        self.invoices: list[InvoiceRecord] = [invoice.said for invoice in definitions.invoices.values() if invoice.customer == name]
        self.clock: ClockVersion | None = definitions.clock_of(name)
        self.now_ms = now_ms if self.clock is None else self.clock.now_s * 1000
        self.span: Span = self._whole_periods(order)

    def items(self, meter: str) -> list[Item]:
        """Every item that bills or billed the meter."""
        versions: Sequence[ItemVersion] = self.definitions.items.get((self.name, meter), ())
        return [version.item for version in versions if version.item is not None]

    def _whole_periods(self, order: Order) -> Span:
        """The order's span, widened to the edges of billing periods: a provider's total is of a whole one."""
        items = [version.item for (name, _), versions in self.definitions.items.items() if name == self.name for version in versions if version.item]
        from_s, to_s = order.from_s, order.to_s
        if from_s > EARLIEST_S:
            from_s = min([from_s, *(item.period_at(from_s).start_s for item in items)])
        if to_s < LATEST_S:
            to_s = max([to_s, *(item.period_at(to_s - 1).end_s for item in items)])
        return from_s, to_s

    def asked(self, meters: Sequence[str]) -> Asked:
        """What the provider is asked of these meters."""
        items = [item for meter in meters for item in self.items(meter) if item.provider == "stripe"]
        records = {item.item: None for item in items if item.mode == "usage_records"}
        metered: dict[tuple[str, str], Metered] = {}
        for item in items:
            if item.mode == "meters":
                since_s = max(item.billable_from_s, self.span[0])
                until_s = min(self.now_ms // 1000, self.span[1], self.now_ms // 1000 if item.ends_at_s is None else item.ends_at_s)
                held = metered.get((item.event_name, item.stripe_customer))
                since_s, until_s = (since_s, until_s) if held is None else (min(since_s, held.start_s), max(until_s, held.end_s))
                asked = Metered(item.event_name, item.stripe_customer, item.aggregation, since_s, max(until_s, since_s))
                metered[item.event_name, item.stripe_customer] = asked
        invoices = [said.invoice for said in self.invoices if said.period_start_s < self.span[1] and said.period_end_s > self.span[0]]
        return Asked(tuple(records), tuple(metered.values()), tuple(invoices))

    def is_over(self, window: Window, margin_ms: int) -> bool:
        """True where the window was due so long ago, by the customer's time."""
        return self.now_ms >= window.end_s * 1000 + self._grace_ms(window.meter) + margin_ms

    def is_closed(self, window: Window, closed: Closed, newest: Revision, quiet_ms: int) -> bool:
        """True where the meter's word says that everything of the window up to its newest event was emitted. `quiet_ms`: how long before the word
        the partition's newest record came."""
        if (closed.generation, closed.offset) <= newest:
            return False
        if self.clock is not None:
            # The word says nothing of test clocks. Two words after the clock's own its second is closed; words come every second or two.
            return quiet_ms >= CLOCK_MS and self.is_over(window, 0)
        return closed.until_ms >= window.end_s * 1000 + self._grace_ms(window.meter)

    def _grace_ms(self, meter: str) -> int:
        return max((version.meter.grace_ms for version in self.definitions.meters.get(meter, ())), default=0)


def _cell(history: Sequence[CellReceipt], *, moved: bool) -> CellBook:
    return CellBook(history=tuple(history), is_moving=moved or history[-1].state == "intent")


def _windows(meter: str, counted: Mapping[Window, object], revisions: Mapping[Window, object], receipts: Receipts) -> list[Window]:
    """All windows of a meter that any stage knows, in order."""
    return sorted(window for window in {*counted, *revisions, *receipts.parked} if window.meter == meter)


def _owner(copies: Copies) -> str:
    """The meter whose books name the copies: the first that one of them was counted for."""
    return next((posting[0] for copy in copies.copies for posting in copy.postings), "")

