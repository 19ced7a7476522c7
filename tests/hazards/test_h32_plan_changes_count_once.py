"""H32, the counting half: whatever changes in a plan, each event is in exactly one window, and each window is billed by at most one item."""

from __future__ import annotations

import random
from itertools import pairwise

import pytest

from sinks.cells import Place, cell_of
from tests.core.meterlog import NOW_MS, Disk, Log, batch_of, control, customers, fresh, meters_record, state_sends, usage
from topics.bindings import BINDING_TYPE, Item, items_digest
from topics.definitions import Definitions, decode_definition
from topics.instants import format_us
from topics.meters import Meter, Timing

HOUR = Meter(slug="calls", event_type="api.request", window_s=3600)
DAY_S = 86_400
CUSTOMER = customers(1)[0]
START_S = NOW_MS // 1000


def plan(rng: random.Random) -> tuple[Log, list[int]]:
    """Ten days of one customer: an item replaced, its price switched, ended, unbound; events are delivered up to three days late."""
    changes: list[tuple[int, bytes | None, bytes | None]] = []
    bound: str | None = None
    for number, at_s in enumerate(sorted(rng.randrange(10 * DAY_S) for _ in range(6))):
        new = Item(
            meter="calls",
            item=f"si_{number}" if rng.random() < 0.7 else "si_0",
            price=f"price_{number}",
            period_anchor_s=START_S - DAY_S + rng.randrange(DAY_S),
            period=rng.choice(("day", "week", "month")),
            valid_from_s=rng.choice((None, START_S + at_s + rng.randrange(-DAY_S, DAY_S))),
            ends_at_s=rng.choice((None, None, START_S + at_s + rng.randrange(2 * DAY_S))),
        )
        items = (new,) if number == 0 or rng.random() < 0.85 else ()
        data = {"v": 1, "digest": items_digest(items), "replaces": bound, "items": items}
        bound = items_digest(items)
        changes.append((0 if number == 0 else at_s, *control(BINDING_TYPE, CUSTOMER, data, CUSTOMER.encode())))
    used = [rng.randrange(10 * DAY_S) for _ in range(400)]
    sent = [(at_s + rng.choice((0, 5, 3600, rng.randrange(3 * DAY_S))), START_S + at_s) for at_s in used]
    sends = [(due_s, CUSTOMER.encode(), usage(CUSTOMER, f"e{n}", format_us(at_s * 10**6))) for n, (due_s, at_s) in enumerate(sent)]
    log = Log()
    log.add(*meters_record((HOUR,), Timing()), NOW_MS)
    for due_s, key, value in sorted([*changes, *sends], key=lambda one: one[0]):
        log.add(key, value, NOW_MS + due_s * 1000)
    return log, [at_s for _, at_s in sent]


def folded(log: Log, rng: random.Random) -> tuple[dict[tuple[int, int], int], Definitions]:
    """(start, end) → events, and what was published, after a fold that is killed again and again."""
    disk, published = Disk(), Definitions()
    partition = fresh(disk, rng)
    while partition.next_offset < log.end:
        start = partition.next_offset
        upto = min(log.end, start + rng.randrange(1, 60))
        partition.apply(batch_of(log.records[start:upto], start, upto))
        flush = partition.begin_flush()
        sends = [*flush.first, flush.counters, *flush.last] if flush else []
        if dies := rng.random() < 0.3:
            sends = sends[: rng.randrange(len(sends) + 1)]
        for key, value in state_sends(sends):
            disk.append(key, value)
        for send in sends:
            if send.topic == "usage.definitions" and send.value is not None:
                published.apply(decode_definition(send.value, "here"))
        if dies or flush is None:
            partition = fresh(disk, rng)
        else:
            partition.end_flush(flush)
    assert partition.counters.rejected == partition.counters.too_late == 0
    return {(row.window.start_s, row.window.end_s): row.events for row in partition.state.rows.all()}, published


@pytest.mark.parametrize("seed", range(20))
def test_h32_cells_of_all_items_are_disjoint_and_hold_every_event(seed: int) -> None:
    """Random changes and kills: windows do not overlap, each event counts in the one that holds it, and no cell at the provider has two owners."""
    rng = random.Random(seed)
    log, used = plan(rng)
    rows, published = folded(log, rng)
    spans = sorted(rows)
    assert all(before[1] <= after[0] for before, after in pairwise(spans))
    assert {span: sum(span[0] <= at_s < span[1] for at_s in used) for span in spans} == rows
    assert sum(rows.values()) == len(used)
    owners: dict[str, tuple[str, str, int, str]] = {}
    billed = unbilled = 0
    for (start_s, end_s), events in rows.items():
        window = published.window_of(CUSTOMER, HOUR, start_s)._replace(start_s=start_s, end_s=end_s)
        placed = cell_of(window, published.item_at(CUSTOMER, "calls", start_s), "default")
        if isinstance(placed, Place):
            assert owners.setdefault(placed.name, placed.owner) == placed.owner
            billed += events
        else:
            assert placed.reason in {"unbound", "after_end", "before_period"}
            unbilled += events
    assert billed + unbilled == len(used)


def test_h32_a_change_cuts_at_its_instant() -> None:
    """An item that is replaced in mid hour, told in time, leaves the hour's halves to the two items, each with its own events."""
    log = Log()
    log.add(*meters_record((HOUR,), Timing()), NOW_MS)
    first = Item(meter="calls", item="si_1", period_anchor_s=START_S)
    second = Item(meter="calls", item="si_2", period_anchor_s=START_S, valid_from_s=START_S + 5000)
    bound: str | None = None
    for items in ((first,), (second,)):
        data = {"v": 1, "digest": items_digest(items), "replaces": bound, "items": items}
        bound = items_digest(items)
        log.add(*control(BINDING_TYPE, CUSTOMER, data, CUSTOMER.encode()), NOW_MS + 1000)
    for number, at_s in enumerate((3600, 4999, 5000, 7199)):
        log.add(CUSTOMER.encode(), usage(CUSTOMER, f"e{number}", format_us((START_S + at_s) * 10**6)), NOW_MS + 8_000_000)
    rows, published = folded(log, random.Random(1))
    assert {(start - START_S, end - START_S): events for (start, end), events in rows.items()} == {(3600, 5000): 2, (5000, 7200): 2}
    billed_by = [item.item for start, _ in sorted(rows) if (item := published.item_at(CUSTOMER, "calls", start)) is not None]
    assert billed_by == ["si_1", "si_2"]
