"""H5, law 8: a plan changes at 10:37, the webhook comes at 10:39 or three days later; the hour's row already holds events."""

from __future__ import annotations

import random
from collections import Counter
from itertools import pairwise
from typing import Any

from sinks.cells import Place, cell_of
from tests.core.meterlog import NOW_MS, Log, control, customers, meters_record, usage
from tests.hazards.fold import Fold, Total, clean
from topics.bindings import BINDING_TYPE, Item, items_digest
from topics.instants import format_us
from topics.meters import METERS_TYPE, Meter, Timing, meters_digest
from topics.windows import Window, parse_window_key

HOUR_S, DAY_S = 3600, 86_400
NAMES = customers(2)
START_S = NOW_MS // 1000
METER = Meter(slug="calls", event_type="api.request", window_s=HOUR_S)
GRIDS_S = (10, 10, 300, 1_800, HOUR_S, 6 * HOUR_S, DAY_S)
Usage = tuple[str, int, str]


def _bind(log: Log, rng: random.Random, customer: str, digest: str | None, now_s: int, at_s: int | None = None) -> str:
    """A binding whose edge lies up to three days back or a little ahead, at no round second; or at `at_s`."""
    edge_s = at_s or now_s - rng.choice((0, 120, 7_200, rng.randrange(3 * DAY_S), -600)) + rng.randrange(-1800, 1800)
    item = Item(
        meter="calls", item=f"si_{customer}_{log.end}", period_anchor_s=edge_s, period=rng.choice(("day", "month")),
        starts_at_s=START_S - 400 * DAY_S, valid_from_s=rng.choice((None, edge_s)),
    )  # fmt: skip
    data = {"v": 1, "digest": items_digest((item,)), "replaces": digest, "items": [item]}
    log.add(*control(BINDING_TYPE, customer, data, customer.encode()), now_s * 1000)
    return items_digest((item,))


def _only_a_copy(log: Log, customer: str, now_s: int, used: list[Usage]) -> None:
    """A copy asks for the present window, and does not count in it."""
    name = next(name for whose, _, name in used if whose == customer)
    log.add(customer.encode(), usage(customer, name, format_us(now_s * 10**6)), now_s * 1000)


def _squeeze(log: Log, rng: random.Random, held: tuple[Meter, Timing], now_s: int, used: list[Usage]) -> tuple[Meter, Timing]:
    """An event far ahead counts, then `future` is lowered, then the grid changes: its window must not be cut by the new one."""
    held = _change(log, rng, held, now_s, future_ms=7_200_000)
    ahead_s = now_s + rng.randrange(1_800, 7_200)
    for at_s, stamp_s in ((ahead_s, now_s), (ahead_s + 1, ahead_s)):
        name = f"s{log.end}"
        used.append((NAMES[0], at_s, name))
        log.add(NAMES[0].encode(), usage(NAMES[0], name, format_us(at_s * 10**6)), stamp_s * 1000)
        if at_s == ahead_s:
            held = _change(log, rng, held, now_s, future_ms=1_000, grid_s=held[0].window_s)
            held = _change(log, rng, held, now_s, future_ms=1_000, grid_s=10)
    return held


def _change(
    log: Log, rng: random.Random, held: tuple[Meter, Timing], now_s: int, *, future_ms: int | None = None, grid_s: int | None = None
) -> tuple[Meter, Timing]:
    """Another grid, perhaps wished from an instant long ago, and another `future`."""
    meter = Meter(slug="calls", event_type="api.request", window_s=grid_s or rng.choice(GRIDS_S))
    timing = Timing(future_ms=future_ms or rng.choice((1_000, 300_000, 3_600_000)))
    wished_s = rng.choice((None, now_s - 100_000))
    data = {
        "v": 1, "digest": meters_digest(timing, (meter,)), "replaces": meters_digest(held[1], held[:1]), "valid_from_s": wished_s, "timing": timing,
        "meters": [meter],
    }  # fmt: skip
    log.add(*control(METERS_TYPE, "meters", data), now_s * 1000)
    return meter, timing


def _story(seed: int) -> tuple[Log, list[Usage]]:
    rng, log, used = random.Random(seed), Log(), list[Usage]()
    digests: dict[str, str | None] = dict.fromkeys(NAMES)
    log.add(*meters_record((METER,), Timing()), NOW_MS - 4 * DAY_S * 1000)
    now_s, held = START_S - 3 * DAY_S, (METER, Timing())
    for number in range(120):
        now_s += rng.choice((1, 60, 900, 5_000))
        customer = rng.choice(NAMES)
        if rng.random() < 0.03:
            held = _change(log, rng, held, now_s)
            continue
        if rng.random() < 0.03:
            held = _squeeze(log, rng, held, now_s, used)
            continue
        if rng.random() < 0.03 and any(whose == customer for whose, _, _ in used):
            _only_a_copy(log, customer, now_s, used)
            digests[customer] = _bind(log, rng, customer, digests[customer], now_s, at_s=now_s + held[1].future_ms // 1000 + 60)
            now_s += held[1].future_ms // 1000 + 61
            used.append((customer, now_s, f"e{number}"))
            log.add(customer.encode(), usage(customer, f"e{number}", format_us(now_s * 10**6)), now_s * 1000)
            continue
        if rng.random() < 0.06:
            digests[customer] = _bind(log, rng, customer, digests[customer], now_s)
            continue
        occurred_s = now_s - rng.choice((0, 0, 30, 1_800, 90_000, -held[1].future_ms // 1000))
        copy_of = rng.choice(used)[2] if used and rng.random() < 0.2 else None
        if copy_of is None:
            used.append((customer, occurred_s, f"e{number}"))
        elif not any(name == copy_of and whose == customer for whose, _, name in used):
            continue
        log.add(customer.encode(), usage(customer, copy_of or f"e{number}", format_us(occurred_s * 10**6)), now_s * 1000)
    return log, used


def _overlaps(windows: list[Window]) -> list[str]:
    ordered = sorted(windows, key=lambda window: (window.customer, window.start_s))
    return [f"{one} and {two} overlap" for one, two in pairwise(ordered) if one.customer == two.customer and one.end_s > two.start_s]


def _misplaced(windows: dict[Window, Total], used: list[Usage]) -> list[str]:
    """Each event lies in exactly one window, and each window holds exactly its events."""
    held: Counter[Window] = Counter()
    for customer, at_s, _ in used:
        held.update(window for window in windows if window.customer == customer and window.start_s <= at_s < window.end_s)
    return [f"{window}: {windows[window].events} events, {held[window]} lie in it" for window in windows if windows[window].events != held[window]]


def _cells(windows: dict[Window, Total], definitions: Any, events: int) -> list[str]:
    """Σ cells = Σ events of bound windows; no two owners on one cell; no window across an edge that is not listed as straddled."""
    cells: Counter[str] = Counter()
    owners: dict[str, set[tuple[str, str, int, str]]] = {}
    unbound, faults = 0, []
    for window, total in windows.items():
        item = definitions.item_at(window.customer, window.meter, window.start_s)
        place = cell_of(window, item, "default")
        if not isinstance(place, Place):
            unbound += total.events
            continue
        cells[place.name] += total.events
        owners.setdefault(place.name, set()).add(place.owner)
        if window.end_s > place.period_end_s and not definitions.straddles(window):
            faults.append(f"{window} lies across the edge {place.period_end_s} and is not listed as straddling")
    faults += [f"cell {cell} has the owners {found}" for cell, found in owners.items() if len(found) > 1]
    return faults if sum(cells.values()) + unbound == events else [*faults, f"{sum(cells.values())} in cells, {unbound} unbound, {events} used"]


def seeded(seed: int) -> list[str]:
    """Random edges, 0 to 3 days late, with crashes."""
    log, used = _story(seed)
    rng = random.Random(seed)
    life = Fold(log, rng)
    while life.partition.next_offset < log.end:
        life.apply(life.partition.next_offset + rng.choice((1, 5, 30)))
        if rng.random() < 0.4:
            life.emit(life.partition.log_now_ms)
        died = rng.random() < 0.3
        life.flush(groups=rng.randrange(4) if died else 3)
        if died:
            life.restart()
    life.finish()
    windows = {parse_window_key(key): total for key, total in life.totals().items()}
    faults = _overlaps(list(windows)) + _misplaced(windows, used) + _cells(windows, life.partition.state.definitions, len(used))
    return faults + life.faults


def test_h05_edges_learned_late_neither_double_nor_lose_an_event() -> None:
    """Whenever an edge is learned, windows are disjoint, each event lies in one of them, and the cells add up to the events."""
    assert not clean(seeded, 40)
