"""A customer's items: their name, and what is wrong with them."""

from __future__ import annotations

import msgspec

from topics.bindings import Item, item_problems, items_digest

EARLY = (
    Item(meter="m", item="si_1", period_anchor_s=1_700_000_000, price="price_1", scale="0.5"),
    Item(meter="b", item="si_2", period_anchor_s=0, starts_at_s=5),
)
METERED = Item(meter="m", item="si_3", period_anchor_s=0, mode="meters", event_name="calls", stripe_customer="cus_1", aggregation="hour")


def test_a_set_of_items_keeps_the_name_it_had_before_items_grew() -> None:
    """The digest of items that use none of the later fields is the one that logs written before them hold."""
    assert items_digest(EARLY) == "e43cb9337f7e351d2262d76803034215b2a442410eeb0dd072ebf3d4c070e704"


def test_each_later_field_is_part_of_the_name() -> None:
    """Two sets that differ in a later field alone have different names."""
    later: dict[str, str | int] = {"aggregation": "day", "event_name": "tokens", "stripe_customer": "cus_2", "clock": "clock_1", "ends_at_s": 7}
    later["first_ends_s"] = 8
    names = {items_digest((msgspec.structs.replace(METERED, **{name: value}),)) for name, value in later.items()}
    assert len(names | {items_digest((METERED,))}) == len(later) + 1


def test_a_meter_item_says_what_is_reported_for_whom() -> None:
    """An item of mode `meters` without event name, provider's customer or aggregation is no binding."""
    assert item_problems((METERED,)) == []
    for name in ("event_name", "stripe_customer", "aggregation"):
        assert item_problems((msgspec.structs.replace(METERED, **{name: ""}),)), name
