"""Law 12, the cell: the smallest thing a report replaces at a provider. Pure: which cell a window belongs to, or why it has none.

For usage records a cell is (subscription item, second) and `set` replaces it (stripe/stripe-python#607). Windows of one item whose seconds
coincide share a cell, which then holds their sum: [P, P+1) and [P+1, …) right after a period starts at P.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from topics.bindings import Item
from topics.instants import format_s
from topics.windows import Window

PROVIDER: Final = "stripe"


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

    @property
    def owner(self) -> tuple[str, str, int, str]:
        """Who may share the cell: another customer, meter, period or scale on it is a configuration error."""
        return (self.customer, self.meter, self.period_start_s, self.scale)

    @property
    def lane(self) -> tuple[str, str, str]:
        """The object at the provider that one call at a time may touch (Stripe answers 429 lock_timeout to a second one)."""
        return (self.provider, self.account, self.item)


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
    if item.provider != PROVIDER or item.mode != "usage_records" or item.account != account:
        said = f"provider {item.provider!r}, mode {item.mode!r}, account {item.account!r}"
        return Unplaced("unsupported", f"{said}: this worker reports usage records of Stripe account {account!r} only")
    # A window across the instant from which the item is billed belongs to the period that begins there.
    period = item.period_at(max(window.start_s, item.billable_from_s))
    period_start_s = max(period.start_s, item.billable_from_s)
    if window.end_s <= period_start_s:
        since = format_s(period_start_s)
        return Unplaced("before_period", f"the window ends before {since}, from when item {item.item} is billed")
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
        period_end_s=period.end_s,
        scale=item.scale,
    )
