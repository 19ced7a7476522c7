"""What a seed decides of one customer: when it subscribes to what, how its plan changes, when it ends."""

from __future__ import annotations

import random
from dataclasses import dataclass, replace
from typing import Any, Final, Literal, NamedTuple

from topics.periods import Interval, edge, period_at

DAY_S: Final = 86_400
START_S: Final = 1_798_761_600
"""2027-01-01T00:00:00Z."""
PRICES: Final[dict[str, dict[str, Any]]] = {
    "unit": {"unit_amount": 3},
    "decimal": {"unit_amount_decimal": "0.125"},
    "graduated": {
        "billing_scheme": "tiered",
        "tiers_mode": "graduated",
        "tiers": [{"up_to": 20, "unit_amount": 10}, {"up_to": 100, "unit_amount": 5, "flat_amount": 100}, {"up_to": "inf", "unit_amount": 1}],
    },
    "volume": {"billing_scheme": "tiered", "tiers_mode": "volume", "tiers": [{"up_to": 50, "unit_amount": 7}, {"up_to": "inf", "unit_amount": 2}]},
    "package": {"unit_amount": 250, "transform_quantity": {"divide_by": 25, "round": "up"}},
}
MODES: Final[dict[str, Literal["", "hour", "day", "sum"]]] = {"calls": "", "hourly": "hour", "daily": "day", "deltas": "sum"}
"""Our meters, and how each is billed at Stripe: by usage records, or on a Billing Meter that keeps the newest of an hour or day, or adds all up."""
INTERVALS: Final[tuple[tuple[Interval, int], ...]] = (("month", 1), ("month", 1), ("month", 1), ("week", 1), ("month", 3), ("year", 1))
WHOLE_S: Final = {"hourly": 3600, "daily": DAY_S}
"""What Stripe keeps apart by UTC hours or days must be billed by whole ones (law 12)."""
FOREVER_S: Final = 1 << 40
PAUSES: Final = ("keep_as_draft", "mark_uncollectible", "void")
BETWEEN_S: Final = (2 * DAY_S, 80 * DAY_S)
"""Between two changes of a plan: at least, and on top of that on average."""


Kind = Literal["switch", "replace", "move", "cycle", "pause", "resume", "quantity", "end_trial", "cancel", "cancel_at_end"]


class Change(NamedTuple):
    """One change of a plan: what the customer asks for, when. `price` and `cycle` are the new ones, `behavior` that of a pause."""

    at_s: int
    kind: Kind
    price: str = ""
    cycle: tuple[Interval, int] = ("month", 1)
    quantity: int = 1
    behavior: str = ""


@dataclass(frozen=True)
class Subscriber:
    """One customer of one meter of `MODES`, billed every `count` intervals. `anchor_s`: the cycle's first edge, where it is not an interval after
    joining; `trial_days`: the first period, free; `base`: a price is paid in advance too. `changes` in order of time."""

    number: int
    name: str
    joins_at_s: int
    meter: str
    interval: Interval
    price: str
    count: int = 1
    anchor_s: int | None = None
    trial_days: int = 0
    base: bool = False
    changes: tuple[Change, ...] = ()


def subscriber_of(chance: random.Random, number: int, days: int) -> Subscriber:
    """One customer of a plan over so many days."""
    # A month's last days are no edge of every month: a fifth joins there.
    month_s = min(days // 2, 31) * DAY_S
    joins_at_s = START_S + (28 * DAY_S + chance.randrange(3 * DAY_S) if chance.random() < 0.2 and days > 62 else chance.randrange(month_s))
    meter = chance.choice(sorted(MODES))
    joins_at_s = whole(joins_at_s, meter)
    interval, count = chance.choice(INTERVALS)
    anchor_s, trial_days = None, 0
    if (draw := chance.random()) < 0.3:
        anchor_s = whole(chance.randrange(joins_at_s, edge(joins_at_s, interval, count, 1)), meter)
    elif draw < 0.45:
        trial_days = chance.choice((3, 14, 30, 45))
    each = Subscriber(
        number=number,
        name=chance.choice(("acme", "a|b", "ünï 顧客", "c%7Cd")) + f"-{number}",
        joins_at_s=joins_at_s,
        meter=meter,
        interval=interval,
        count=count,
        anchor_s=None if anchor_s == joins_at_s else anchor_s,
        trial_days=trial_days,
        base=chance.random() < 0.4,
        price=chance.choice(sorted(PRICES)),
    )
    return replace(each, changes=_changes(chance, each, START_S + days * DAY_S))


def whole(at_s: int, meter: str) -> int:
    """The instant, or the beginning of the hour or day that holds it."""
    return at_s - at_s % WHOLE_S.get(meter, 1)


def ends_of(each: Subscriber) -> int:
    """When nothing of it is billed any more, if it ends."""
    anchor_s, cycle = first_edge_of(each), (each.interval, each.count)
    for change in each.changes:
        if change.kind == "cancel":
            return change.at_s
        if change.kind == "cancel_at_end":
            return anchor_s if change.at_s < anchor_s else period_at(anchor_s, *cycle, change.at_s).end_s
        if change.kind in {"move", "cycle"}:
            anchor_s, cycle = change.at_s, change.cycle
        elif change.kind == "end_trial":
            anchor_s = change.at_s
    return FOREVER_S


def first_edge_of(each: Subscriber) -> int:
    """The anchor that it begins with."""
    return each.anchor_s or each.joins_at_s + each.trial_days * DAY_S


def _changes(chance: random.Random, each: Subscriber, until_s: int) -> tuple[Change, ...]:
    found: list[Change] = []
    at_s, price, cycle, trial_ends_s = each.joins_at_s, each.price, (each.interval, each.count), each.joins_at_s + each.trial_days * DAY_S
    if each.trial_days and chance.random() < 0.4:
        at_s = trial_ends_s = whole(each.joins_at_s + chance.randrange(DAY_S, each.trial_days * DAY_S), each.meter)
        found.append(Change(at_s, "end_trial"))
    anchor_s = at_s if found else first_edge_of(each)
    while True:
        at_s += BETWEEN_S[0] + int(chance.expovariate(1 / BETWEEN_S[1]))
        if at_s >= until_s:
            return tuple(found)
        if found and found[-1].kind == "pause":
            found.append(Change(at_s, "resume"))
            continue
        ends_s = anchor_s if at_s < anchor_s else period_at(anchor_s, *cycle, at_s).end_s
        kind = chance.choice(_kinds(each, is_trial=at_s < trial_ends_s, is_billed=ends_s + DAY_S < until_s))
        if not kind.startswith("cancel") and (each.meter in WHOLE_S or chance.random() < 0.3):
            # Of usage before and after a change within one of Stripe's hours or days nobody can tell which is which.
            at_s -= at_s % WHOLE_S.get(each.meter, 3600)
        if kind in {"switch", "replace", "move", "cycle"}:
            price = chance.choice([other for other in sorted(PRICES) if other != price])
        if kind == "cycle" or (kind == "move" and chance.random() < 0.5):
            cycle = chance.choice([other for other in INTERVALS if other != cycle])
        if kind == "end_trial":
            trial_ends_s = at_s
        if kind in {"move", "cycle", "end_trial"}:
            anchor_s = at_s
        # What a kept draft of usage records bills is not known before it is final.
        found.append(Change(at_s, kind, price, cycle, chance.randrange(1, 9), chance.choice(PAUSES if MODES[each.meter] else PAUSES[1:])))
        if kind.startswith("cancel"):
            return tuple(found)


def _kinds(each: Subscriber, *, is_trial: bool, is_billed: bool) -> list[Kind]:
    """What may be asked for. Usage records of before a switch are listed when the period's invoice lacks them, so it must come (`is_billed`)."""
    kinds: list[Kind] = ["pause", "cancel", "cancel_at_end"]
    if each.base:
        kinds += ["quantity", "quantity"]
    if is_trial:
        return kinds + ["end_trial"] * 3
    kinds += ["move", "move"]
    if MODES[each.meter] or is_billed:
        kinds += ["switch", "switch", "replace", "replace"]
    return [*kinds, "cycle"] if MODES[each.meter] else kinds
