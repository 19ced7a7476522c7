"""H31: prices, meters and items under which one window is billed, `set` is refused, or nothing is: each is named before money is lost."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any, Final

from sinks.stripe.objects import BillingMeter, Row, Subscription, read
from sinks.stripe.suitability import Terms, customer_findings, item_findings
from tests.hazards.fold import clean

ANCHOR_S: Final = 1_800_000_000 - 1_800_000_000 % 86_400
Json = dict[str, Any]


class Case:
    """One item with all that stands around it, right as it is made."""

    def __init__(self, mode: str, window: str | None = None) -> None:
        recurring: Json = {"interval": "month", "interval_count": 1, "usage_type": "metered", "aggregate_usage": "sum", "meter": None}
        self.meter: Json = {"id": "mtr_1", "event_name": "calls", "status": "active", "event_time_window": window}
        if mode == "meters":
            recurring |= {"aggregate_usage": None, "meter": "mtr_1"}
        self.price: Json = {"id": "price_1", "active": True, "currency": "usd", "unit_amount_decimal": "1", "recurring": recurring}
        self.item: Json = {"id": "si_1"}
        self.subscription: Json = {"id": "sub_1", "customer": "cus_1", "billing_cycle_anchor": ANCHOR_S, "start_date": ANCHOR_S, "status": "active"}
        self.terms = Terms("calls", "meters" if mode == "meters" else "usage_records", window_s=3600)

    def codes(self) -> set[str]:
        """Which faults are found."""
        row = self.item | {"price": self.price}
        subscription = read(self.subscription | {"items": {"data": [row]}}, Subscription)
        meters = {"mtr_1": read(self.meter, BillingMeter)}
        return {found.code for found in item_findings(self.terms, read(row, Row), subscription, meters) if found.fault}


def _recurring(case: Case, **changes: Any) -> None:
    case.price["recurring"] |= changes


def _terms(case: Case, **changes: Any) -> Terms:
    case.terms = case.terms._replace(**changes)
    return case.terms


HARM: Final[dict[str, dict[str, Callable[[Case], object]]]] = {
    "usage_records": {
        "aggregate_usage": lambda case: _recurring(case, aggregate_usage="max"),
        "on_a_meter": lambda case: _recurring(case, aggregate_usage=None, meter="mtr_1"),
        "licensed": lambda case: _recurring(case, usage_type="licensed"),
        "one_time": lambda case: case.price.update(recurring=None),
        "scale": lambda case: (case.price.update(transform_quantity={"divide_by": 1000, "round": "up"}), _terms(case, scale="0.001")),
        "thresholds": lambda case: case.item.update(billing_thresholds={"usage_gte": 5}),
        "status": lambda case: case.subscription.update(status="canceled"),
        "edges": lambda case: case.subscription.update(current_period_end=ANCHOR_S + 86_400),
    },
    "meters": {
        "legacy": lambda case: _recurring(case, meter=None),
        "no_meter": lambda case: _recurring(case, meter="mtr_2"),
        "other_meter": lambda case: _terms(case, meter="mtr_2"),
        "inactive_meter": lambda case: case.meter.update(status="inactive"),
        "formula": lambda case: case.meter.update(default_aggregation={"formula": "count"}),
        "customer_key": lambda case: case.meter.update(customer_mapping={"event_payload_key": "customer", "type": "by_id"}),
        "value_key": lambda case: case.meter.update(value_settings={"event_payload_key": "tokens"}),
        "event_name": lambda case: _terms(case, event_name="other"),
        "event_time_window": lambda case: (case.meter.update(event_time_window="day"), _terms(case, aggregation="hour")),
        "window": lambda case: (case.meter.update(event_time_window="hour"), _terms(case, window_s=86_400)),
        "anchor": lambda case: (case.meter.update(event_time_window="hour"), case.subscription.update(billing_cycle_anchor=ANCHOR_S + 1425)),
    },
}
"""By mode: what is wrong, by the code that must name it."""


def seeded(seed: int) -> list[str]:
    """Seven right items, some of them made wrong, each in one way: exactly these are named, each by what was done to it."""
    rng = random.Random(seed)
    faults: list[str] = []
    for _ in range(7):
        mode = rng.choice(sorted(HARM))
        case = Case(mode, rng.choice([None, "hour", "day"]) if mode == "meters" else None)
        if found := case.codes():
            faults.append(f"a right item of mode {mode} is named for {sorted(found)}")
        code = rng.choice(sorted(HARM[mode]))
        HARM[mode][code](case)
        if (found := case.codes()) != {code}:
            faults.append(f"mode {mode}: {code} is named {sorted(found) or 'not at all'}")
    return faults


def seeded_customers(seed: int) -> list[str]:
    """Items of one customer that are right each for itself: two for one meter, or two meters of ours on one Billing Meter, are named."""
    rng = random.Random(seed)
    bound: list[tuple[Terms, Row]] = []
    for number in range(rng.randrange(1, 6)):
        case = Case("meters")
        case.price["recurring"]["meter"] = f"mtr_{rng.randrange(4)}"
        bound.append((Terms(f"m{rng.randrange(4)}", "meters"), read({"id": f"si_{number}", "price": case.price}, Row)))
    slugs = [terms.slug for terms, _ in bound]
    meters = {(row.price.recurring.meter, terms.slug) for terms, row in bound if row.price.recurring is not None}
    wanted = ["two_items"] * len({slug for slug in slugs if slugs.count(slug) > 1})
    wanted += ["shared_meter"] * len({one for one, slug in meters if any(one == other and slug != another for other, another in meters)})
    found = [finding.code for finding in customer_findings(bound)]
    return [] if found == wanted else [f"{slugs} on {sorted(meters)}: named {found}, not {wanted}"]


def test_h31_every_price_that_bills_wrongly_is_named() -> None:
    """Each way in which a price, a meter or an item bills wrongly is named by its own code, and nothing that is right is named."""
    assert not clean(seeded, 40)


def test_h31_items_that_share_are_named() -> None:
    """Two items for one meter, and two meters on one Billing Meter, are named for the customer that has them."""
    assert not clean(seeded_customers, 100)


def test_h31_each_harm_alone() -> None:
    """Every harm of the list is found by itself, whatever a seed would choose."""
    for mode, harms in HARM.items():
        for code, harm in harms.items():
            case = Case(mode)
            harm(case)
            assert case.codes() == {code}
