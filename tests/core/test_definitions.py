"""Laws 0 and 8: what control records put in force, and that no event's window ever changes by it."""

from __future__ import annotations

import random
from itertools import pairwise
from typing import Any

import pytest

from streams.partition import MeterPartition
from tests.core.meterlog import NOW_MS, Disk, Log, control, customers, fresh, meters_record, usage
from topics.bindings import BINDING_TYPE, Item, ItemVersion, items_digest
from topics.definitions import Definitions
from topics.instants import format_us
from topics.meters import BEGINNING_S, Meter, MeterVersion, Timing, meters_digest

HOUR = Meter(slug="calls", event_type="api.request", window_s=3600)
DAY = Meter(slug="calls", event_type="api.request", window_s=86_400)
NOW_S = NOW_MS // 1000
CUSTOMER = customers(1)[0]


def play(*records: tuple[tuple[bytes | None, bytes | None], int]) -> MeterPartition:
    """A partition after records (key and value, LogAppendTime)."""
    log = Log()
    for (key, value), stamp in records:
        log.add(key, value, stamp)
    partition = fresh(Disk(), random.Random(1))
    for batch in log.batches(0, random.Random(1)):
        partition.apply(batch)
    return partition


def event(number: int, at_s: int) -> tuple[bytes | None, bytes | None]:
    """A usage event of the customer."""
    return CUSTOMER.encode(), usage(CUSTOMER, f"e{number}", format_us(at_s * 10**6))


def binding(items: tuple[Item, ...], replaces: str | None = None, customer: str = CUSTOMER, key: bytes | None = None) -> tuple[bytes | None, bytes]:
    """A binding record."""
    data = {"v": 1, "digest": items_digest(items), "replaces": replaces, "items": items}
    return control(BINDING_TYPE, customer, data, key or customer.encode())


def windows(partition: MeterPartition) -> list[tuple[int, int, int]]:
    """(start, end, events) of all rows, relative to now."""
    return sorted((r.window.start_s - NOW_S, r.window.end_s - NOW_S, r.events) for r in partition.state.rows.all())


def reasons(partition: MeterPartition) -> list[str]:
    """Reasons of all rejected records."""
    return [record.reason for record in partition.state.facts.rejected]


def test_a_new_grid_begins_where_both_grids_meet_and_no_event_can_lie() -> None:
    """1 h → 1 d at noon: the day grid holds from the next midnight after now + future; every event before stays in its hour (H2)."""
    noon = NOW_MS + 12 * 3_600_000
    partition = play(
        (meters_record((HOUR,)), NOW_MS),
        (event(1, NOW_S + 12 * 3600), noon),
        (meters_record((DAY,), replaces=meters_digest(Timing(), (HOUR,))), noon + 1),
        (event(2, NOW_S + 12 * 3600 + 60), noon + 60_000),
        (event(3, NOW_S + 86_400 + 30), NOW_MS + 86_400_000 + 30_000),
    )
    assert windows(partition) == [(43_200, 46_800, 2), (86_400, 172_800, 1)]


def test_a_stale_or_tampered_meters_record_is_rejected_and_changes_nothing() -> None:
    """A record that replaces another version than the one in force, or whose digest is wrong, is `bad_control`, never a halt."""
    key, value = meters_record((DAY,), replaces=meters_digest(Timing(), (HOUR,)))
    partition = play(
        (meters_record((HOUR,)), NOW_MS),
        (meters_record((DAY,), replaces="of another time"), NOW_MS),
        ((key, (value or b"").replace(b'"window_s":86400', b'"window_s":43200')), NOW_MS),
        (control("tidemark.unknown", "x", {"v": 1}), NOW_MS),
        (control("tidemark.meters", "x", {"v": 99}), NOW_MS),
    )
    assert reasons(partition) == ["bad_control"] * 4
    assert partition.state.definitions.meters["calls"][0].meter == HOUR
    assert partition.counters.residual == 0


def test_the_same_meters_again_are_taken_quietly() -> None:
    """A resend of what is in force (a retried apply) is control, not an error."""
    partition = play((meters_record((HOUR,)), NOW_MS), (meters_record((HOUR,)), NOW_MS))
    assert reasons(partition) == []
    assert partition.counters.control == 2


@pytest.mark.parametrize("place", ["key", "home"])
def test_a_binding_must_lie_at_home_under_its_customer(place: str) -> None:
    """A binding under another key, or on a partition that is not the customer's home, is rejected with the place."""
    other = customers(1, partition=1)[0]
    item = Item(meter="calls", item="si_1", period_anchor_s=NOW_S)
    record = binding((item,), key=b"somebody") if place == "key" else binding((item,), customer=other)
    partition = play((meters_record((HOUR,)), NOW_MS), (record, NOW_MS))
    assert reasons(partition) == ["bad_control"]


def test_a_period_edge_cuts_the_window() -> None:
    """A billing edge inside an hour makes two windows, so that none straddles two invoices."""
    item = Item(meter="calls", item="si_1", period_anchor_s=NOW_S + 3600 + 1425, period="day")
    partition = play(
        (meters_record((HOUR,)), NOW_MS),
        (binding((item,)), NOW_MS),
        (event(1, NOW_S + 3600 + 1424), NOW_MS + 5_100_000),
        (event(2, NOW_S + 3600 + 1425), NOW_MS + 5_100_000),
    )
    assert windows(partition) == [(3600, 5025, 1), (5025, 7200, 1)]


def test_the_end_of_a_subscription_cuts_the_window() -> None:
    """What is used from the second on at which billing ends is in another window than what is billed, also where no period ends there."""
    item = Item(meter="calls", item="si_1", period_anchor_s=NOW_S, period="month", ends_at_s=NOW_S + 3600 + 1425)
    partition = play(
        (meters_record((HOUR,)), NOW_MS),
        (binding((item,)), NOW_MS),
        (event(1, NOW_S + 3600 + 1424), NOW_MS + 5_100_000),
        (event(2, NOW_S + 3600 + 1425), NOW_MS + 5_100_000),
    )
    assert windows(partition) == [(3600, 5025, 1), (5025, 7200, 1)]


def test_a_row_that_an_edge_reaches_too_late_stays_whole_and_is_listed() -> None:
    """An edge learned after its hour holds events cuts nothing there; later edges cut; every event is in one window (H5)."""
    item = Item(meter="calls", item="si_1", period_anchor_s=NOW_S + 1800, period="day")
    partition = play(
        (meters_record((HOUR,)), NOW_MS),
        (event(1, NOW_S + 60), NOW_MS + 2_000_000),
        (binding((item,)), NOW_MS + 2_100_000),
        (event(2, NOW_S + 2400), NOW_MS + 2_400_000),
        (event(3, NOW_S + 86_400 + 1799), NOW_MS + 86_400_000 + 1_900_000),
        (event(4, NOW_S + 86_400 + 1800), NOW_MS + 86_400_000 + 1_900_000),
    )
    assert windows(partition) == [(0, 3600, 2), (86_400, 88_200, 1), (88_200, 90_000, 1)]
    first = next(row.window for row in partition.state.rows.all() if row.window.start_s == NOW_S)
    assert partition.state.definitions.straddles(first)


@pytest.mark.parametrize("seed", range(30))
def test_bindings_at_any_time_keep_windows_disjoint(seed: int) -> None:
    """Whatever edges arrive when, windows of a customer and meter are disjoint and hold every event once; a recovered state agrees (H5)."""
    rng = random.Random(seed)
    meter = Meter(slug="calls", event_type="api.request", window_s=rng.choice((600, 3600, 86_400)))
    records: list[tuple[tuple[bytes | None, bytes | None], int]] = [(meters_record((meter,)), NOW_MS)]
    held: str | None = None
    now_ms, counted = NOW_MS, 0
    for number in range(150):
        now_ms += rng.randrange(1, 1_500_000)
        if rng.random() < 0.1:
            anchor = now_ms // 1000 + rng.randrange(-300_000, 100_000)
            items = (Item(meter="calls", item=f"si_{number}", period_anchor_s=anchor, period=rng.choice(("day", "week", "month"))),)
            records.append((binding(items, replaces=held), now_ms))
            held = items_digest(items)
        else:
            records.append((event(number, now_ms // 1000 - rng.choice((0, 60, 7200, 90_000, -250))), now_ms))
            counted += 1
    partition = play(*records)
    assert reasons(partition) == []
    spans = sorted((r.window.start_s, r.window.end_s) for r in partition.state.rows.all())
    assert all(one[1] <= two[0] for one, two in pairwise(spans))
    assert sum(row.events for row in partition.state.rows.all()) == counted
    published = Definitions()
    for definition in partition.state.facts.definitions:
        published.apply(definition)
    for row in partition.state.rows.all():
        versions: Any = published.meter_at("calls", row.window.start_s)
        assert published.window_of(CUSTOMER, versions, row.window.start_s) == row.window


def test_definitions_rebuild_themselves_from_what_they_list() -> None:
    """`all()` of definitions in force, applied to nothing, gives the same answers."""
    item = Item(meter="calls", item="si_1", period_anchor_s=NOW_S)
    partition = play((meters_record((HOUR,)), NOW_MS), (binding((item,)), NOW_MS))
    again = Definitions()
    for definition in partition.state.definitions.all():
        again.apply(definition)
    assert again.meters_digest == partition.state.definitions.meters_digest
    assert again.item_at(CUSTOMER, "calls", NOW_S) == item
    assert isinstance(again.meters["calls"][0], MeterVersion)
    assert again.meters["calls"][0].valid_from_s == BEGINNING_S
    assert isinstance(again.items[CUSTOMER, "calls"][0], ItemVersion)


def test_a_version_says_when_its_plan_changed() -> None:
    """A first one does not; a later one says the log's now, or the later instant that is wished, and is valid from where no event can lie yet."""
    items = [Item(meter="calls", item="si_1", price=f"price_{n}", period_anchor_s=NOW_S) for n in range(2)]
    items.append(Item(meter="calls", item="si_1", price="price_2", period_anchor_s=NOW_S, valid_from_s=NOW_S + 86_400))
    chain = [None, *(items_digest((item,)) for item in items)]
    records = [(binding((item,), replaces=chain[n]), NOW_MS + n * 10_000) for n, item in enumerate(items)]
    partition = play((meters_record((HOUR,)), NOW_MS), *records)
    assert reasons(partition) == []
    versions = partition.state.definitions.items[CUSTOMER, "calls"]
    assert [version.changed_at_s for version in versions] == [None, NOW_S + 10, NOW_S + 86_400]
    assert [version.valid_from_s for version in versions[1:]] == [NOW_S + 311, NOW_S + 86_400]
