"""Eleven kinds of drift, planted in a seeded account by doing what would have done it in life.

What must be found is computed here, not by the product.

    planter = Planter(world, kinds_of(seed))
    planter.before()      # what comes into the log and to Stripe while the fortnight goes on
    world.live()
    planter.after()       # what is done to Stripe's and the archive's state in the end
    planter.expected      # what `reconcile` must say, no more and no less
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

import msgspec

from infra.reconciling.drift import KINDS, Drift, Kind
from tests.drift.ledgers import Meter, Report
from tests.drift.plan import DAY_S, EDGE_S, HOUR_S, SORT_OF, START_S, UNTIL_S, Used
from tests.drift.unbilling import Unbilled
from tests.drift.world import World
from tests.simulation.year.shop import LEGACY, MODERN
from topics.catalog import RECEIPTS
from topics.codec import encode
from topics.quantity import ONE, format_scaled, parse_total
from topics.receipt import CellReceipt, decode_receipt, receipt_key
from topics.windows import Window, parse_window_key

BEFORE_EDGE_S: Final = EDGE_S - 1200
"""When the first period's reports are tampered with: all of them are delivered, and its invoices are not made yet."""
AT_PROVIDER: Final[tuple[Kind, ...]] = ("provider_edit", "wrong_period", "stale_retry", "lost_report", "double_report", "rounding")
"""In the order in which they are planted: the pickiest first."""
MOST_IN_A_POT: Final = 2
"""Changes of one total of the provider's: a total is one number, and more than two or three of them are told apart by nobody."""


class Expected(NamedTuple):
    """What must be found. `subject` is the cell, the item and period, the window, or the event that it is about."""

    kind: Kind
    customer: str
    meter: str
    subject: str


def kinds_of(seed: int) -> list[Kind]:
    """What a seed plants: most kinds in most seeds, all of them in every fifth, some of them twice."""
    chance = random.Random(seed * 7 + 3)
    chosen = [kind for kind in KINDS if seed % 5 == 0 or chance.random() < 0.75]
    return chosen + [kind for kind in chosen if chance.random() < 0.3]


def subject_of(drift: Drift) -> str:
    """The same of what was found."""
    if drift.kind in {"old_duplicate", "conflicting_body"}:
        last = drift.events[-1]
        return f"{last.partition}/{last.offset}"
    if drift.kind in {"raw_event", "missing_window"}:
        return window_name(drift.window) if drift.window is not None else f"events {drift.events}"
    if drift.kind == "provider_edit":
        return f"{drift.item}|{drift.period[0] if drift.period else None}"
    return "+".join(drift.cells)


def window_name(window: Window) -> str:
    """A window of a customer's meter."""
    return f"{window.start_s}..{window.end_s}"


class Planter:
    """Plants in one world."""

    def __init__(self, world: World, kinds: Sequence[Kind]) -> None:
        self.world = world
        self.kinds = list(kinds)
        self.chance = random.Random(world.plan.seed * 3 + 2)
        self.expected: list[Expected] = []
        self.unplanted: list[Kind] = []
        """For which there was no place left."""
        self.taken: set[tuple[str, str, int]] = set()
        """(customer, meter, window start) that something was planted in: nothing else is."""
        self._pots: Counter[tuple[str, int]] = Counter()
        self._closed_pots: set[tuple[str, int]] = set()

    # ── while the fortnight goes on ─────────────────────────────────────────────────────────────────────────────
    def before(self) -> None:
        """What comes into the log, and what happens at Stripe before the first period's invoices are made."""
        for kind in self.kinds:
            if kind in {"old_duplicate", "conflicting_body"}:
                self._copy_of_an_event(kind)
            elif kind == "late_after_finality":
                self._late()
        chosen = [kind for kind in AT_PROVIDER for each in self.kinds if each == kind]
        early = [kind for kind in chosen if kind == "wrong_period" or self.chance.random() < 0.4]
        self._later = list((Counter(chosen) - Counter(early)).elements())
        self._later.sort(key=AT_PROVIDER.index)
        self.world.deeds.append((BEFORE_EDGE_S, lambda: self._at_provider(early, START_S)))
        unbilled = random.Random(self.world.plan.seed * 11 + 5)
        if "provider_edit" in self.kinds and unbilled.random() < 0.6:
            Unbilled(self.world, unbilled, self._take_whole).plant()

    def after(self) -> None:
        """What is done in the end to what stands at Stripe, and to the archive."""
        self._at_provider(self._later, EDGE_S)
        self.world.archiving.follow()
        for kind in self.kinds:
            if kind == "raw_event":
                self._raw_event()
            elif kind == "missing_window":
                self._missing_window()

    # ── events ──────────────────────────────────────────────────────────────────────────────────────────────────
    def _copy_of_an_event(self, kind: Kind) -> None:
        """An event sent again: after its id was forgotten, or before and with another content."""
        apart_s = DAY_S + 2 * HOUR_S if kind == "old_duplicate" else self.chance.randrange(2 * HOUR_S, DAY_S // 2)
        sent = [one for one in self.world.plan.used if not one.bad and self._only_once(one)]
        ends = [(one, EDGE_S if one.occurred_at_s < EDGE_S else UNTIL_S) for one in sent]
        found = [one for one, end_s in ends if one.sent_at_s + apart_s + 2 * HOUR_S < end_s - 3 * HOUR_S and self._is_free(one)]
        if not found:
            self.unplanted.append(kind)
            return
        one = self.chance.choice(found)
        self._take(one)
        copy = one if kind == "old_duplicate" else one._replace(quantity=str(self.chance.randrange(1, 10_000_000)))

        def send() -> None:
            offset = self.world.send(copy)
            partition = self.world.home(one.customer).partition
            self.expected.append(Expected(kind, one.customer, one.meter, f"{partition}/{offset}"))

        self.world.deeds.append((one.sent_at_s + apart_s, send))

    def _only_once(self, one: Used) -> bool:
        return sum((other.customer, other.id) == (one.customer, one.id) for other in self.world.plan.used) == 1

    def _late(self) -> None:
        """Usage of the first period that comes a day after its invoice is final; its policy is to hold it."""
        person = self.chance.choice(self.world.plan.people)
        sort = SORT_OF[self.chance.choice(person.meters)]
        hour_s = START_S + self.chance.randrange(1, 7 * 24 - 8) * HOUR_S
        start_s = hour_s - hour_s % sort.window_s
        name = f"late-{len(self.taken)}-{start_s}"
        used = Used(0, person.name, sort.slug, name, start_s + 5, str(self.chance.randrange(1, 10_000_000)))
        if not self._is_free(used):
            self.unplanted.append("late_after_finality")
            return
        self._take(used)
        self.world.deeds.append((EDGE_S + DAY_S, lambda: self.world.send(used)))
        self.world.deeds.append((EDGE_S + DAY_S + HOUR_S, lambda: self._expect_late(used, start_s)))

    def _expect_late(self, used: Used, start_s: int) -> None:
        item = self.world.items[used.customer, used.meter]
        name = f"{item.item}|{max(start_s, START_S + 1)}"
        if item.mode == "meters":
            length_s = DAY_S if item.aggregation == "day" else HOUR_S
            name = f"meter|{item.event_name}|{item.stripe_customer}|{item.aggregation}|{start_s - start_s % length_s}"
        self.expected.append(Expected("late_after_finality", used.customer, used.meter, name))

    def _is_free(self, one: Used) -> bool:
        return self._place(one) not in self.taken

    def _take(self, one: Used) -> None:
        self.taken.add(self._place(one))

    def _place(self, one: Used) -> tuple[str, str, int]:
        """By the largest cell that the event may be in, so that no two drifts are one cell's."""
        length_s = self._length(one.meter)
        return one.customer, one.meter, one.occurred_at_s - one.occurred_at_s % length_s

    @staticmethod
    def _length(meter: str) -> int:
        return max(SORT_OF[meter].window_s, DAY_S if SORT_OF[meter].aggregation == "day" else HOUR_S)

    # ── what stands at Stripe ───────────────────────────────────────────────────────────────────────────────────
    def _at_provider(self, kinds: Sequence[Kind], period_s: int) -> None:
        for kind in kinds:
            cells = [(report, cell) for report in self.world.delivering for cell in report.cells() if self._may_take(kind, cell, period_s)]
            self.chance.shuffle(cells)
            if not any(self._plant(kind, report, cell) for report, cell in cells):
                self.unplanted.append(kind)

    def _may_take(self, kind: Kind, cell: CellReceipt, period_s: int) -> bool:
        if cell.period_start_s != period_s or cell.state not in {"delivered", "confirmed"} or not int(parse_total(cell.units)) or cell.unconfirmed:
            return False
        if period_s == START_S and self._of(cell)[2] + self._length(cell.meter) > EDGE_S - 2 * HOUR_S:
            return False  # it is reported once more before the period's end, which would put it right
        if self._of(cell) in self.taken or (kind in {"wrong_period", "double_report"} and cell.meter_target is not None):
            return False
        pot = self._pot(cell)
        if pot in self._closed_pots:
            return False
        return self._pots[pot] == 0 if kind in {"provider_edit", "wrong_period"} else self._pots[pot] < MOST_IN_A_POT

    def _of(self, cell: CellReceipt) -> tuple[str, str, int]:
        length_s = self._length(cell.meter)
        start_s = parse_window_key(cell.windows[0].window).start_s
        return cell.customer, cell.meter, start_s - start_s % length_s

    @staticmethod
    def _pot(cell: CellReceipt) -> tuple[str, int]:
        """What the provider names one total for."""
        return cell.item, cell.period_start_s

    def _plant(self, kind: Kind, report: Report, cell: CellReceipt) -> bool:
        """False where it cannot be planted in this cell."""
        plants: dict[Kind, Callable[[CellReceipt], bool]] = {
            "lost_report": self._lost,
            "double_report": self._doubled,
            "stale_retry": self._stale,
            "provider_edit": self._edited,
            "wrong_period": self._wrong_period,
            "rounding": lambda cell: self._rounded(report, cell),
        }
        if not plants[kind](cell):
            return False
        subject = f"{cell.item}|{self._period(cell)}" if kind == "provider_edit" else cell.cell
        self.expected.append(Expected(kind, cell.customer, cell.meter, subject))
        self.taken.add(self._of(cell))
        if kind != "rounding":
            self._pots[self._pot(cell)] += 1
        if kind in {"provider_edit", "wrong_period"}:
            self._closed_pots.add(self._pot(cell))
        return True

    @staticmethod
    def _period(cell: CellReceipt) -> int:
        if cell.meter_target is None:
            return cell.period_start_s
        length_s = DAY_S if cell.meter_target.aggregation == "day" else HOUR_S
        return cell.timestamp_s - cell.timestamp_s % length_s

    def _lost(self, cell: CellReceipt) -> bool:
        """The record is gone."""
        store = self.world.shop.store
        if cell.meter_target is None:
            store.run("DELETE FROM cells WHERE item = ? AND second = ?", (cell.item, cell.timestamp_s))
            return True
        start_s = self._period(cell)
        length_s = DAY_S if cell.meter_target.aggregation == "day" else HOUR_S
        where = (cell.meter_target.event_name, cell.meter_target.customer, start_s, start_s + length_s)
        store.run("DELETE FROM meter_events WHERE event_name = ? AND customer = ? AND second >= ? AND second < ?", where)
        return True

    def _doubled(self, cell: CellReceipt) -> bool:
        """Reported at another second too, as by a program whose clock is off."""
        second = cell.timestamp_s + self.chance.randrange(2, 800)
        if second >= cell.period_end_s or self.world.shop.store.cell(cell.item, second) is not None:
            return False
        self._set(cell, cell.units, second)
        return True

    def _stale(self, cell: CellReceipt) -> bool:
        """An older revision's request that hung for days, under a key that Stripe has forgotten."""
        found = dict.fromkeys(units for units in self._before(cell) if units not in {cell.units, "0"})
        if not found:
            return False
        self._set(cell, self.chance.choice(list(found)), cell.timestamp_s)
        return True

    def _edited(self, cell: CellReceipt) -> bool:
        """Somebody sets another number by hand."""
        units = str(self.chance.randrange(1, 20_000_000))
        if units in {cell.units, *self._before(cell)}:
            return False
        self._set(cell, units, cell.timestamp_s)
        return True

    def _wrong_period(self, cell: CellReceipt) -> bool:
        """Reported with a timestamp of the next period, and not in its own."""
        if cell.period_start_s != START_S or (cell.item, EDGE_S) in self._closed_pots:
            return False
        second = EDGE_S + 1800 + self.chance.randrange(1000)
        self._lost(cell)
        self._closed_pots.add((cell.item, EDGE_S))
        self.world.deeds.insert(0, (EDGE_S + 2 * HOUR_S, lambda: self._set(cell, cell.units, second)))
        self.world.deeds.sort(key=lambda deed: deed[0])
        return True

    def _rounded(self, report: Report, cell: CellReceipt) -> bool:
        """An older program reported a rounded number: receipts and provider agree, and neither is quantity × scale."""
        whole = parse_total(cell.units) // ONE
        units = str(whole + self.chance.choice((0, 1)))
        if cell.fractions != "exact" or units == cell.units or not whole or whole * ONE == parse_total(cell.units):
            return False
        standing = msgspec.structs.replace(cell.standing, units=units) if cell.standing is not None else None
        rounded = msgspec.structs.replace(cell, units=units, standing=standing)
        report.receipts[receipt_key(rounded)] = encode(rounded)
        report.counting.logs[RECEIPTS].add(receipt_key(rounded), encode(rounded), self.world.now_ms)
        report.restart(self.world.now_ms)
        self._set(cell, units, cell.timestamp_s)
        return True

    def _set(self, cell: CellReceipt, units: str, second: int) -> None:
        """A call to Stripe that is not Tidemark's."""
        if cell.meter_target is None:
            asked = {"quantity": units, "timestamp": second, "action": "set"}
            self.world.shop.call("POST", f"/v1/subscription_items/{cell.item}/usage_records", asked, LEGACY)
            return
        payload = {"stripe_customer_id": cell.meter_target.customer, "value": units}
        asked = {"event_name": cell.meter_target.event_name, "payload": payload, "timestamp": second}
        self.world.shop.call("POST", "/v1/billing/meter_events", asked, MODERN)

    def _before(self, cell: CellReceipt) -> list[str]:
        """What stood in the cell, oldest first."""
        logs = (record for report in self.world.delivering for record in report.counting.logs[RECEIPTS].records if record.key == receipt_key(cell))
        receipts = [decode_receipt(record.value, "receipts") for record in logs]
        return [one.standing.units for one in receipts if isinstance(one, CellReceipt) and one.standing is not None]

    def _take_whole(self, customer: str, meter: str) -> None:
        """Nothing else is planted in what Stripe says of the meter's first period, which no invoice bills."""
        item = self.world.items[customer, meter].item
        self._closed_pots.add((item, START_S))
        self.expected.append(Expected("provider_edit", customer, meter, f"{item}|{START_S}"))

    # ── the archive ─────────────────────────────────────────────────────────────────────────────────────────────
    def _raw_event(self) -> None:
        """A row of an event that counted is deleted or changed in ClickHouse."""
        found = self._counted()
        if not found:
            self.unplanted.append("raw_event")
            return
        meter, offset, window, scaled = self.chance.choice(found)
        self.taken.add((window.customer, window.meter, window.start_s))
        where = f"kafka_partition = {meter.partition} AND kafka_offset = {offset}"
        change = self.chance.choice((f"DELETE WHERE {where}", f"UPDATE quantities = ['{format_scaled(scaled + ONE)}'] WHERE {where}"))
        self.world.clickhouse.command(f"ALTER TABLE raw_events {change} SETTINGS mutations_sync = 1")
        self.expected.append(Expected("raw_event", window.customer, window.meter, window_name(window)))

    def _counted(self) -> list[tuple[Meter, int, Window, int]]:
        """(partition, offset, window, quantity × 10¹²) of counted events in windows that nothing else was planted in."""
        rows = self.world.clickhouse.read(
            "SELECT kafka_partition AS p, kafka_offset AS o, customer, meter, toUnixTimestamp(window_start) AS s, toUnixTimestamp(window_end) AS e,"
            " toString(quantity) AS q FROM usage_events WHERE verdict = 'counted' ORDER BY p, o"
        )
        windows = [(row, Window(row["customer"], row["meter"], row["s"], row["e"])) for row in rows]
        return [
            (self.world.counting[row["p"]], row["o"], window, parse_total(row["q"])) for row, window in windows if not self._is_taken(window)
        ]

    def _is_taken(self, window: Window) -> bool:
        at = self._place(Used(0, window.customer, window.meter, "", window.start_s, "0"))
        return at in self.taken or (window.customer, window.meter, window.start_s) in self.taken

    def _missing_window(self) -> None:
        """All revisions of a window are gone from the archive."""
        found = sorted({window for _, _, window, _ in self._counted()})
        if not found:
            self.unplanted.append("missing_window")
            return
        window = self.chance.choice(found)
        self.taken.add((window.customer, window.meter, window.start_s))
        name = window.customer.replace("'", "''")
        where = f"customer = '{name}' AND meter = '{window.meter}' AND toUnixTimestamp(window_start) = {window.start_s}"
        self.world.clickhouse.command(f"ALTER TABLE window_log DELETE WHERE {where} SETTINGS mutations_sync = 1")
        self.expected.append(Expected("missing_window", window.customer, window.meter, window_name(window)))
