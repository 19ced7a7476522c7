"""Which cell each window of a partition is in, or why it has none: placed once, and parked whole until a definition gives it one. Pure."""

from __future__ import annotations

from collections.abc import Container, Iterable

from sinks.carrying import Carry, NotYet, TakeBack, carry_of, take_back_of
from sinks.cell_state import CellState, LaneKey
from sinks.cells import Place, Unplaced, cell_of
from sinks.finality import Finality, Invoices, change_of
from sinks.gate import Stand
from sinks.gate_stands import NOT_COUNTED, Owners, is_counted, stands_in
from sinks.ledger import Ledger
from sinks.parked import Parked
from sinks.remedies import Remedies
from sinks.restated import applies
from sinks.schedule import Schedule
from sinks.tally import Tally
from sinks.unbilled import unbilled
from topics.adjustments import Settlement
from topics.bindings import ItemVersion, Release
from topics.clocks import ClockVersion
from topics.closed import Closed
from topics.definitions import Definition, Definitions
from topics.receipt import CellReceipt, WindowPart, cell_key, parked_key
from topics.restating import Restatement, RestateRecord
from topics.windows import Window


class Placing:
    """The cells and parked windows of one partition; `Deliveries` drives them."""

    def __init__(self, account: str, schedule: Schedule) -> None:
        self.account = account
        self.tally = Tally()
        self._schedule = schedule
        self._definitions = Definitions()
        self._ledger = Ledger()
        self._invoices = Invoices(account)
        self._owners = Owners()
        self._of_customer: dict[str, list[CellState]] = {}
        self._cells: dict[bytes, CellState] = {}
        self._cell_of: dict[str, CellState] = {}
        self._in_lane: dict[LaneKey, list[CellState]] = {}
        self.remedies = Remedies(schedule, lambda lane: self._in_lane.get(lane, ()), self._carry_of)
        """How adjustments are billed elsewhere; the shell makes its calls beside those of `next_calls`."""
        self._parked: dict[bytes, Parked] = {}
        self._parked_of: dict[tuple[str, str], dict[bytes, Parked]] = {}

    # ── what the invoice gate asks (sinks/gate_stands.py) ──────────────────────────────────────────────────────────────

    @property
    def closed(self) -> Closed | None:
        """The meter's newest word on how far it has closed everything."""
        return self._owners.closed

    @property
    def invoices(self) -> Invoices:
        """What the log says of invoices."""
        return self._invoices

    def owner_of(self, item: str) -> tuple[str, str] | None:
        """(customer, meter) whom a subscription item bills, now or once; None where it is none of this partition's."""
        return self._owners.of.get(item)

    def clock_subscriptions(self) -> set[str]:
        """Subscriptions of customers who live by a test clock."""
        items = (versions[-1].item for versions in self._definitions.items.values())
        return {item.subscription for item in items if item is not None and item.clock and item.subscription}

    def now_of(self, customer: str, now_ms: int) -> int:
        """What time it is for the customer, in milliseconds: its test clock's, or `now_ms`."""
        clock = self._definitions.clock_of(customer)
        return now_ms if clock is None else clock.now_s * 1000

    def stands(self, item: str, start_s: int, end_s: int, counted_ms: int) -> list[Stand]:
        """Where all usage of an item in `[start_s, end_s)` stands; `counted_ms`: up to when all totals are known here."""
        owner = self._owners.of.get(item)
        if owner is None:
            return []
        counted = is_counted(self._definitions, self._owners, *owner, end_s, counted_ms)
        found = stands_in(self._of_customer.get(owner[0], ()), self._parked_of.get(owner, {}), item, start_s, end_s)
        return found if counted else [NOT_COUNTED, *found]

    def _in_force(self, definition: Definition) -> None:
        """What says by which item and which time a customer is billed, and how far its usage is counted."""
        if isinstance(definition, Closed):
            self._owners.said(definition)
            return
        self._definitions.apply(definition)
        if isinstance(definition, ItemVersion) and definition.item is not None and definition.item.account == self.account:
            self._owners.of[definition.item.item] = (definition.customer, definition.meter)
        elif isinstance(definition, ClockVersion):
            self._owners.clock(definition.customer)

    # ── cells and windows ──────────────────────────────────────────────────────────────────────────────────────────────

    def _know(self, cell: CellState) -> None:
        if cell.place.fractions == "ledger":
            cell.shares = self._ledger.others
        self._cells[cell.key] = cell
        self._in_lane.setdefault(cell.place.lane, []).append(cell)
        self._of_customer.setdefault(cell.place.customer, []).append(cell)

    def _judge(self, cell: CellState, now_ms: int) -> None:
        """Law 16: whether the cell is final by now."""
        place = cell.place
        cell.final = self._invoices.judge(place, cell.closed_at_ms, self._time_at(place, now_ms), cell.final)
        if cell.final is None and self._change_of(place, now_ms) is not None:
            cell.final = Finality("plan_changed")

    def _time_at(self, place: Place, now_ms: int) -> int:
        """What time it is where the cell is billed: our own, or the last word of its test clock (0: it has said nothing yet)."""
        if not place.clock:
            return now_ms
        clock = self._definitions.clocks.get(place.customer)
        return clock.now_s * 1000 if clock is not None and clock.clock == place.clock else 0

    def _place(self, window: Window) -> CellState | Unplaced:
        """The cell the window belongs to by what is in force now, made if it is not there."""
        item = self._definitions.item_at(window.customer, window.meter, window.start_s)
        place = cell_of(window, item, self.account)
        if isinstance(place, Unplaced):
            return place
        cell = self._cells.get(cell_key(place.provider, place.account, place.name))
        if cell is None and place.target is None and self.remedies.holds_second(place.item, place.timestamp_s):
            return Unplaced("cell_taken", f"cell {place.name} holds units of an adjustment; report this to Tidemark, and settle it by hand")
        if cell is None:
            cell = CellState(place)
            self._know(cell)
        elif cell.place.owner != place.owner:
            return Unplaced("cell_taken", f"cell {place.name} already belongs to {cell.place.owner}; two sources on one item cannot be told apart")
        return cell

    def _look_again(self, customer: str) -> None:
        """The customer has another item or another time: adjustments that wait for a later period may have one."""
        self.remedies.look_at(self._of_customer.get(customer, ()))

    def _carry_of(self, receipt: CellReceipt, now_ms: int, used: Container[int]) -> Carry | TakeBack | NotYet | None:
        """Where whole units of a final cell are reported in a later period, or taken back there, by what is in force now."""
        now_s = self.now_of(receipt.customer, now_ms) // 1000
        units = 0 if receipt.adjustment is None else int(receipt.adjustment.units)
        return take_back_of(self._definitions, receipt, now_s, -units) if units < 0 else carry_of(self._definitions, receipt, now_s, used)

    def _first(self, window: Window, part: WindowPart, closed_at_ms: int | None, now_ms: int) -> None:
        where = self._place(window)
        if isinstance(where, Unplaced):
            self._park(Parked(window, part, where, closed_at_ms))
        else:
            self._want(where, part, closed_at_ms, now_ms)

    def _want(self, cell: CellState, part: WindowPart, closed_at_ms: int | None, now_ms: int) -> None:
        """The cell is to hold this total of the window, unless it holds a later one."""
        known = cell.wanted.get(part.window)
        if known is None or part.revision > known.revision:
            cell.wanted[part.window] = part
            self._cell_of[part.window] = cell
            cell.closed_at_ms = max((at for at in (closed_at_ms, cell.closed_at_ms) if at is not None), default=None)
            self._judge(cell, now_ms)
        self.tally.cell(cell)
        self._schedule.cell(cell, now_ms)

    def _finalise(self, customers: Iterable[str], now_ms: int) -> None:
        """Invoices or plans of these customers have moved on: what is wanted of cells that are final by them is not sent any more."""
        for cells in (self._of_customer.get(customer, ()) for customer in customers):
            changed = [cell for cell in cells if self._judged_anew(cell, now_ms)]
            nowhere = unbilled(cells, self._invoices.final_of, lambda place: self._change_of(place, now_ms))
            for cell in nowhere:
                cell.is_unbilled = True
            for cell in (*changed, *nowhere):
                self.tally.cell(cell)
                self._schedule.cell(cell, now_ms)

    def _judged_anew(self, cell: CellState, now_ms: int) -> bool:
        """True where what is known of the cell's finality has changed."""
        known = cell.final
        self._judge(cell, now_ms)
        return cell.final != known

    def _change_of(self, place: Place, now_ms: int) -> int | None:
        return change_of(place, self._definitions.items.get((place.customer, place.meter), ()), now_ms)

    def _settled(self, settlement: Settlement, now_ms: int) -> None:
        """An operator's word on an adjustment; it acts once, by its offset."""
        cell = self._cells.get(settlement.said.target.encode())
        if cell is not None:
            cell.settlements.append(settlement)
            self._schedule.cell(cell, now_ms)

    def _park(self, parked: Parked) -> None:
        self._parked[parked_key(parked.key)] = parked
        self._parked_of.setdefault((parked.window.customer, parked.window.meter), {})[parked_key(parked.key)] = parked
        self._count(parked)
        self._schedule.record(parked)

    def _place_again(self, parked: Parked, now_ms: int) -> None:
        """Give the window its cell if there is one by now; the cell's next record and the end of the parked one are one transaction."""
        where = self._place(parked.window)
        if isinstance(where, Unplaced):
            parked.why = where
            self._count(parked)
            self._schedule.record(parked)
            return
        key = parked_key(parked.key)
        del self._parked[key], self._parked_of[parked.window.customer, parked.window.meter][key]
        self.tally.window(parked.tally, None)
        if parked.receipt is not None:
            where.binds[parked.key] = parked.bound(where.place.name, now_ms)
        self._want(where, parked.part, parked.closed_at_ms, now_ms)

    def _release(self, release: Release, now_ms: int) -> None:
        """An operator's word counts once: receipts keep the offset of the last one seen."""
        cell, parked = self._cells.get(release.target.encode()), self._parked.get(release.target.encode())
        if cell is not None:
            cell.release = max(cell.release, release.offset)
            self.remedies.look(cell)
            self.tally.cell(cell)
            self._schedule.cell(cell, now_ms)
        elif parked is not None:
            parked.release = max(parked.release, release.offset)
            self._place_again(parked, now_ms)

    def _restate(self, restatement: Restatement, now_ms: int) -> None:
        """What an operator found a cell to hold: its next record begins from that. A cell of no window of ours is made for it, to hold 0."""
        said = restatement.said
        cell = self._cells.get(said.target.encode()) or self._stray(restatement.customer, said)
        if cell is None or cell.restated is not None or cell.writing or cell.pending is not None or cell.remedied is not None:
            return
        if cell.place.customer != restatement.customer or not applies(said, cell.receipt, cell.place.target):
            return
        cell.restated = said
        self._judge(cell, now_ms)
        self.tally.cell(cell)
        self._schedule.cell(cell, now_ms)

    def _stray(self, customer: str, said: RestateRecord) -> CellState | None:
        """A cell without a receipt, if it is the one that the restatement means; its windows, if there ever are any, find it by its key."""
        if said.start_s is None:
            return None
        window = Window(customer, said.meter, said.start_s, said.start_s + 1)
        place = cell_of(window, self._definitions.item_at(customer, said.meter, said.start_s), self.account)
        if isinstance(place, Unplaced) or cell_key(place.provider, place.account, place.name) != said.target.encode():
            return None
        found = self._place(window)
        return found if isinstance(found, CellState) else None

    def _count(self, parked: Parked) -> None:
        state = parked.state
        self.tally.window(parked.tally, state)
        parked.tally = state
