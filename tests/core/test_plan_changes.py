"""When a change of plan makes a cell final: what was used before it is billed as it was reported by then, or not at all (H32)."""

from __future__ import annotations

import pytest

from infra.webhooks.facts import invoice_of, invoice_record
from sinks.cells import Place, cell_of
from sinks.finality import change_of
from sinks.stripe.suitability import Terms
from tests.core.report_world import ANCHOR_S, START_S
from topics.bindings import Item, ItemVersion
from topics.invoices import Billed
from topics.windows import Window

CHANGE_S = START_S + 7200
METERED = {"mode": "meters", "event_name": "calls", "stripe_customer": "cus_1", "aggregation": "sum"}
RECORDS: dict[str, str] = {}


def item_of(item: str = "si_1", price: str = "price_1", subscription: str = "sub_1", **more: object) -> Item:
    """An item of a month."""
    return Item(meter="calls", item=item, price=price, subscription=subscription, period_anchor_s=ANCHOR_S, **more)  # type: ignore[arg-type]


def place_of(start_s: int, item: Item) -> Place:
    """The cell of an hour."""
    found = cell_of(Window("acme", "calls", start_s, start_s + 3600), item, "default")
    assert isinstance(found, Place)
    return found


def changed_to(item: Item, changed_at_s: int | None = CHANGE_S) -> tuple[ItemVersion, ...]:
    """The versions of a customer's item, the newest five minutes after it was told."""
    first = ItemVersion(customer="acme", meter="calls", item=item_of(), valid_from_s=0, offset=1, digest="a")
    return first, ItemVersion(
        customer="acme", meter="calls", item=item, valid_from_s=CHANGE_S + 300, offset=2, digest="b", changed_at_s=changed_at_s
    )


@pytest.mark.parametrize("mode", [RECORDS, METERED], ids=["usage records", "meters"])
@pytest.mark.parametrize("new", [{"price": "price_2"}, {"item": "si_2", "price": "price_2"}], ids=["price", "item"])
def test_usage_before_another_price_is_final(mode: dict[str, str], new: dict[str, str]) -> None:
    """From the change on a cell before it takes no more; a cell after it does, and both did before it."""
    before, after = place_of(CHANGE_S - 3600, item_of(**mode)), place_of(CHANGE_S, item_of(**mode))
    versions = changed_to(item_of(**mode, **new))
    assert change_of(before, versions, CHANGE_S * 1000) == CHANGE_S
    assert change_of(before, versions, CHANGE_S * 1000 - 1) is None
    assert change_of(after, versions, (CHANGE_S + 9000) * 1000) is None


def test_a_change_that_is_none_of_the_price_ends_nothing() -> None:
    """Another policy for late usage, or an end that was set, is a new version, and the same item at the same price goes on."""
    place = place_of(CHANGE_S - 3600, item_of())
    for same in (item_of(late="invoice_item"), item_of(ends_at_s=CHANGE_S + 86_400)):
        assert change_of(place, changed_to(same), (CHANGE_S + 9000) * 1000) is None


def test_another_subscription_ends_usage_records_at_once_and_meters_with_their_invoice() -> None:
    """The canceled subscription's item takes no record any more; its meter's events go on its last invoice while that is a draft."""
    late_ms = (CHANGE_S + 9000) * 1000
    moved = {"item": "si_2", "price": "price_2", "subscription": "sub_2"}
    assert change_of(place_of(CHANGE_S - 3600, item_of()), changed_to(item_of(**moved)), late_ms) == CHANGE_S
    assert change_of(place_of(CHANGE_S - 3600, item_of(**METERED)), changed_to(item_of(**moved, **METERED)), late_ms) is None


def test_a_version_that_says_no_time_ends_nothing() -> None:
    """A log written before versions told when they were told of is read as it was."""
    assert change_of(place_of(CHANGE_S - 3600, item_of()), changed_to(item_of(price="price_2"), None), (CHANGE_S + 9000) * 1000) is None


def test_on_a_test_clock_a_change_counts_when_it_is_known() -> None:
    """The worker's now says nothing of such a customer: a change has come with its record, unless it was wished for later."""
    place = place_of(CHANGE_S - 3600, item_of(clock="clock_1"))
    assert change_of(place, changed_to(item_of(price="price_2", clock="clock_1")), 0) == CHANGE_S
    later = item_of(price="price_2", clock="clock_1", valid_from_s=CHANGE_S + 86_400)
    assert change_of(place, changed_to(later, CHANGE_S + 86_400), 0) is None


def line_of(item: str, units: int, start_s: int = 0, end_s: int = 100, meter: str | None = None) -> dict[str, object]:
    """A line of usage as Stripe shows it before basil."""
    recurring = {"interval": "month", "interval_count": 1, "usage_type": "metered", "aggregate_usage": "sum", "meter": meter}
    return {
        "subscription_item": item, "quantity": units, "period": {"start": start_s, "end": end_s},
        "price": {"id": "price_1", "metadata": {"tidemark_meter": "calls"}, "recurring": recurring},
    }  # fmt: skip


def test_an_invoice_says_what_it_bills_by_usage_records() -> None:
    """The tiers of an item are added up, periods and items stay apart, and what is on a meter is not said."""
    shown = {"id": "in_1", "created": 100, "status": "paid", "customer": "cus_1", "subscription": "sub_1"}
    lines = [line_of("si_1", 20), line_of("si_1", 5), line_of("si_1", 7, 100, 100), line_of("si_2", 0), line_of("si_3", 9, meter="mtr_1")]
    record = invoice_record(invoice_of(shown), lines, (Terms("calls"),))
    assert record is not None
    assert record.billed == (Billed("si_1", 0, 100, 25), Billed("si_1", 100, 100, 7), Billed("si_2", 0, 100, 0))
    assert record.items == ("si_1", "si_2", "si_3")
