"""Who is billed where: the `tidemark.binding` control record (all items of one customer) and an item's version in force."""

from __future__ import annotations

import re
from typing import Final, Literal

import msgspec

from topics.codec import CONTROL_VERSION, Stored, digest
from topics.meters import is_instant
from topics.periods import INTERVALS, Interval, Period, period_at

BINDING_TYPE: Final = "tidemark.binding"
RELEASE_TYPE: Final = "tidemark.release"
CLOSE_TYPE: Final = "tidemark.close"
_SCALE = re.compile(r"\d{1,18}(\.\d{1,12})?", re.ASCII)
_LONGEST_COUNT: Final = 3660
"""Ten years of days; Stripe takes at most three years."""


class Item(msgspec.Struct, frozen=True, kw_only=True):
    """One meter of one customer at one provider: the thing that is reported to.

    `period_anchor_s`, `period`, `period_count`: the billing cycle; `starts_at_s`: usage before it is not billable (default: the anchor);
    `ends_at_s`: usage from it on is not billable (None: open); `scale`: units sent = quantity × scale (a decimal string); `valid_from_s`: from
    when it is wished (None: now; a first one: from the beginning).
    `fractions`: what becomes of a part of a unit: refused, kept in the period's ledger (law 17), or sent exactly, where the provider takes decimals.
    Mode `meters`: `event_name` and `stripe_customer` name what is reported, `aggregation` how the meter adds up: the newest event of a UTC `hour`
    or `day` (`set`), or the `sum` of all (signed deltas); `customer_key` and `value_key` are the meter's names in a payload ("": its defaults).
    `clock` is the provider's test clock that the customer lives by ("": none).
    `first_ends_s`: when the period ends that began before the anchor, where that is known (None: at the anchor or one interval after it).
    """

    meter: str
    provider: str = "stripe"
    account: str = "default"
    mode: Literal["usage_records", "meters"] = "usage_records"
    item: str
    price: str = ""
    subscription: str = ""
    period_anchor_s: int
    period: Interval = "month"
    period_count: int = 1
    starts_at_s: int | None = None
    scale: str = "1"
    fractions: Literal["refuse", "ledger", "exact"] = "refuse"
    late: Literal["hold", "next_period", "invoice_item", "credit_note"] = "hold"
    valid_from_s: int | None = None
    aggregation: Literal["", "hour", "day", "sum"] = ""
    event_name: str = ""
    stripe_customer: str = ""
    clock: str = ""
    ends_at_s: int | None = None
    customer_key: str = ""
    value_key: str = ""
    first_ends_s: int | None = None

    def period_at(self, instant_s: int) -> Period:
        """The billing period that holds the instant."""
        return period_at(self.period_anchor_s, self.period, self.period_count, instant_s)

    @property
    def billable_from_s(self) -> int:
        """Usage before this instant has no period at the provider."""
        return self.period_anchor_s if self.starts_at_s is None else self.starts_at_s


class BindingRecord(msgspec.Struct, frozen=True, kw_only=True):
    """`data` of a `tidemark.binding` record: all items of a customer; an empty tuple unbinds."""

    v: int = CONTROL_VERSION
    digest: str
    replaces: str | None = None
    items: tuple[Item, ...]


class ItemVersion(Stored, frozen=True, kw_only=True):
    """An item as the fold put it in force for a customer's meter: valid for instants ≥ `valid_from_s` until the next version.

    `whole` lists edges that were learned too late: a live row lay across them, so it stays whole (`straddling`) and no window is cut there.
    `item` is None where the binding ends. `changed_at_s`: when the provider bills by it, as far as is known (None: it is the first one, or was
    written by a program that did not say): when the log told of it, or later where that is wished. It lies before `valid_from_s`, because events
    from the time between may have been counted already.
    """

    kind: str = "binding"
    customer: str
    meter: str
    item: Item | None
    valid_from_s: int
    whole: tuple[int, ...] = ()
    offset: int
    digest: str
    changed_at_s: int | None = None


class ReleaseRecord(msgspec.Struct, frozen=True, kw_only=True):
    """`data` of a `tidemark.release` record: an operator lets a parked cell (or window) be tried again."""

    v: int = CONTROL_VERSION
    target: str
    reason: str = ""


class Release(Stored, frozen=True, kw_only=True):
    """A release as published: `target` is a receipt's key; its `offset` names it, so that it acts once."""

    kind: str = "release"
    customer: str
    target: str
    reason: str
    offset: int


LATER_FIELDS: Final = frozenset({"aggregation", "event_name", "stripe_customer", "clock", "ends_at_s", "customer_key", "value_key", "first_ends_s"})
"""Fields that items did not always have. Where none of them says anything the digest is the one that the item always had: a log that was
written before them is read as it was (law 0)."""
_EarlyItem = msgspec.defstruct("_EarlyItem", [(name, object) for name in Item.__struct_fields__ if name not in LATER_FIELDS])


def items_digest(items: tuple[Item, ...]) -> str:
    """The name of a customer's set of items."""
    return digest([_named(item) for item in sorted(items, key=lambda item: (item.meter, item.provider, item.account))])


def _named(item: Item) -> object:
    said = msgspec.structs.asdict(item)
    if any(said[field.name] != field.default for field in msgspec.structs.fields(item) if field.name in LATER_FIELDS):
        return item
    return _EarlyItem(**{name: value for name, value in said.items() if name not in LATER_FIELDS})


def item_problems(items: tuple[Item, ...]) -> list[str]:
    """Why a customer's items cannot be used; an empty list where they can."""
    problems: list[str] = []
    meters = [item.meter for item in items]
    problems += [f"meter {meter!r} is bound twice" for meter in sorted({meter for meter in meters if meters.count(meter) > 1})]
    targets = [(item.provider, item.account, item.item) for item in items]
    problems += [f"two meters on one item {target[2]!r}" for target in sorted({t for t in targets if targets.count(t) > 1})]
    for item in items:
        if not item.item:
            problems.append(f"meter {item.meter!r}: the item's id is empty")
        if not _SCALE.fullmatch(item.scale):
            problems.append(f"meter {item.meter!r}: scale {item.scale[:40]!r} is no decimal number")
        if item.period not in INTERVALS or not 1 <= item.period_count <= _LONGEST_COUNT:
            problems.append(f"meter {item.meter!r}: period {item.period_count} {item.period} is none")
        if item.mode == "meters" and not (item.event_name and item.stripe_customer and item.aggregation):
            problems.append(f"meter {item.meter!r}: mode meters needs event_name, stripe_customer and aggregation")
        for name in ("period_anchor_s", "starts_at_s", "ends_at_s", "valid_from_s", "first_ends_s"):
            if not is_instant(getattr(item, name)):
                problems.append(f"meter {item.meter!r}: {name} {getattr(item, name)} is no instant of the years 1 to 9999")
    return problems
