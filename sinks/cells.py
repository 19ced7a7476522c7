"""Law 12, the cell: the smallest thing a report replaces at a provider. Pure: which cell a window belongs to, or why it has none.

For usage records a cell is (subscription item, second) and `set` replaces it (stripe/stripe-python#607). Windows of one item whose seconds
coincide share a cell, which then holds their sum: [P, P+1) and [P+1, …) right after a period starts at P.

For a meter with an `event_time_window` a cell is (customer, meter, UTC hour or day): the event received last replaces those before it. For one
without, nothing is ever replaced: each window is a cell of its own, and what is sent is the difference to what stands.
"""

from __future__ import annotations

from typing import Final, Literal, NamedTuple
from urllib.parse import quote

from topics.adjustments import Policy
from topics.bindings import Item
from topics.instants import format_s
from topics.periods import Period
from topics.receipt import MeterTarget
from topics.windows import Window, window_key

PROVIDER: Final = "stripe"
HOUR_S: Final = 3600
BUCKET_S: Final = {"hour": HOUR_S, "day": 24 * HOUR_S}
"""A pre-aggregated meter's intervals are UTC hours and days (Stripe, "Configure a meter"): multiples of these in Unix time."""


class Place(NamedTuple):
    """Where a window is reported. `name` identifies the cell within (provider, account); `timestamp_s` is its second.

    `timestamp_s` is fixed by the first intent: a window keeps its cell whatever later definitions say.
    """

    provider: str
    account: str
    name: str
    customer: str
    meter: str
    item: str
    subscription: str
    timestamp_s: int
    period_start_s: int
    period_end_s: int
    scale: str
    target: MeterTarget | None = None
    fractions: Literal["refuse", "ledger", "exact"] = "refuse"
    late: Policy = "hold"
    clock: str = ""
    price: str = ""

    @property
    def mode(self) -> str:
        """How it is reported; each mode has its own rate limit."""
        return "usage_records" if self.target is None else "meters"

    @property
    def adds_up(self) -> bool:
        """True where the provider replaces nothing, so that only the difference to what stands is sent."""
        return self.target is not None and self.target.aggregation == "sum"

    @property
    def owner(self) -> tuple[str, str, int, str]:
        """Who may share the cell: another customer, meter, period or scale on it is a configuration error."""
        return (self.customer, self.meter, self.period_start_s, self.scale)

    @property
    def lane(self) -> tuple[str, str, str]:
        """The object at the provider that one call at a time may touch (Stripe answers 429 lock_timeout to a second one)."""
        if self.target is None:
            return (self.provider, self.account, self.item)
        return (self.provider, self.account, f"meter {quote(self.target.event_name)} {self.target.customer}")

    @property
    def bucket(self) -> tuple[int, int]:
        """The UTC hour or day of a meter's cell, in which it can be read back."""
        length_s = BUCKET_S["day" if self.target is not None and self.target.aggregation == "day" else "hour"]
        start_s = self.timestamp_s - self.timestamp_s % length_s
        return start_s, start_s + length_s


class Unplaced(NamedTuple):
    """Why a window has no cell (the reasons of `topics.receipt.WindowReceipt`), with a sentence for people."""

    reason: str
    sentence: str


def cell_of(window: Window, item: Item | None, account: str) -> Place | Unplaced:
    """The cell of a window under the item in force at its start; `account` is the one this worker reports to.

    The second is max(start, period start + 1): Stripe takes only timestamps *after* the period's start (authgear/authgear-server#2430).
    """
    if item is None:
        return Unplaced("unbound", f"{window.customer!r} has no item for meter {window.meter!r}; bind it, and this usage is reported")
    if item.provider != PROVIDER or item.account != account:
        said = f"provider {item.provider!r}, account {item.account!r}"
        return Unplaced("unsupported", f"{said}: this worker reports to Stripe account {account!r} only")
    # A window across the instant from which the item is billed belongs to the period that begins there.
    period = item.period_at(max(window.start_s, item.billable_from_s))
    period_start_s = max(period.start_s, item.billable_from_s)
    if window.end_s <= period_start_s:
        since = format_s(period_start_s)
        return Unplaced("before_period", f"the window ends before {since}, from when item {item.item} is billed")
    ends_at_s = item.ends_at_s
    if ends_at_s is not None and window.start_s >= ends_at_s:
        return Unplaced("after_end", f"the window begins at or after {format_s(ends_at_s)}, from when item {item.item} is no longer billed")
    period_end_s = _end_of(item, period)
    if ends_at_s is not None:
        period_end_s = min(period_end_s, ends_at_s)
    if item.mode == "meters":
        return _meter_cell(window, item, period_start_s, period_end_s)
    timestamp_s = max(window.start_s, period_start_s + 1)
    return Place(
        provider=item.provider,
        account=item.account,
        name=f"{item.item}|{timestamp_s}",
        customer=window.customer,
        meter=window.meter,
        item=item.item,
        subscription=item.subscription,
        timestamp_s=timestamp_s,
        period_start_s=period_start_s,
        period_end_s=period_end_s,
        scale=item.scale,
        fractions=item.fractions,
        late=item.late,
        clock=item.clock,
        price=item.price,
    )


def _end_of(item: Item, period: Period) -> int:
    """When the provider's period that holds a cell is over, at the latest.

    The period that began before the anchor ends there (a trial, an anchor to come, a cycle that began anew), except that of a backdated
    subscription without an anchor of its own: its first period may last to the first edge after its creation, which is the edge after the anchor
    (Stripe documents the invoice of such a subscription, not its usage). Where the binding does not know: too late a time costs one refused
    report, too early a one would keep what is still taken.
    """
    is_first = item.starts_at_s is not None and item.starts_at_s < item.period_anchor_s and period.end_s <= item.period_anchor_s
    if not is_first:
        return period.end_s
    return item.period_at(item.period_anchor_s).end_s if item.first_ends_s is None else item.first_ends_s


def _meter_cell(window: Window, item: Item, period_start_s: int, period_end_s: int) -> Place | Unplaced:
    """The cell at a meter. Its second lies in the window's hour or day and in the billing period, so that both say where the usage counts."""
    if item.aggregation == "":
        return Unplaced("unsupported", f"item {item.item} of meter {window.meter!r} does not say how its meter adds up: set its aggregation")
    target = MeterTarget(
        aggregation=item.aggregation,
        event_name=item.event_name,
        customer=item.stripe_customer,
        customer_key=item.customer_key or "stripe_customer_id",
        value_key=item.value_key or "value",
    )
    name = f"meter|{quote(item.event_name, safe='')}|{quote(item.stripe_customer, safe='')}|{item.aggregation}"
    start_s = window.start_s
    if item.aggregation == "sum":
        name = f"{name}|{window_key(window)}"
    else:
        length_s = BUCKET_S[item.aggregation]
        start_s -= start_s % length_s
        name = f"{name}|{start_s}"
        if window.end_s > start_s + length_s:
            said = f"a window that ends at {format_s(window.end_s)} does not fit into the UTC {item.aggregation} from {format_s(start_s)}"
            return Unplaced("unsupported", f"{said}, which is all that meter {item.event_name!r} keeps apart: choose a smaller window")
    return Place(
        provider=item.provider,
        account=item.account,
        name=name,
        customer=window.customer,
        meter=window.meter,
        item=item.item,
        subscription=item.subscription,
        timestamp_s=max(start_s, period_start_s),
        period_start_s=period_start_s,
        period_end_s=period_end_s,
        scale=item.scale,
        target=target,
        fractions=item.fractions,
        late=item.late,
        clock=item.clock,
        price=item.price,
    )
