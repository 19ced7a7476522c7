"""Cells, keys and units: where a window is reported, under which key, as how many (laws 12, 14, 17; H25, H30)."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sinks.cells import Place, Unplaced, cell_of
from sinks.keys import idempotency_key
from sinks.stripe.objects import Rows, Subscription
from sinks.units import MOST_UNITS, Unsendable, total_of, units_of
from tests.core.report_world import ANCHOR_S, item_of
from topics.quantity import format_scaled
from topics.windows import Window

MONTH_S = 31 * 86_400


def place(start_s: int, end_s: int, **more: Any) -> Place | Unplaced:
    """The cell of a window of customer `a` under item `si_1`."""
    return cell_of(Window("a", "calls", start_s, end_s), item_of("si_1", **more), "default")


def test_a_window_is_reported_at_its_start() -> None:
    """Inside a period the second of a cell is the window's start."""
    found = place(ANCHOR_S + 3600, ANCHOR_S + 7200)
    assert isinstance(found, Place)
    assert (found.timestamp_s, found.name) == (ANCHOR_S + 3600, f"si_1|{ANCHOR_S + 3600}")


def test_the_first_window_of_a_period_is_reported_after_its_start() -> None:
    """A window that starts with its period has the second after it, since Stripe takes only later ones (H30)."""
    found = place(ANCHOR_S, ANCHOR_S + 60)
    assert isinstance(found, Place) and found.timestamp_s == ANCHOR_S + 1


def test_a_window_across_the_first_instant_is_reported_inside() -> None:
    """A window that lies across the instant from which its item is billed keeps its whole usage at the first second that is taken."""
    found = place(ANCHOR_S - 1800, ANCHOR_S + 1800, starts_at_s=ANCHOR_S)
    assert isinstance(found, Place) and found.timestamp_s == ANCHOR_S + 1


def test_a_backdated_first_period_may_last_to_the_edge_after_the_anchor() -> None:
    """What was used before the anchor of a backdated subscription is still taken after the anchor, and is not final by the time."""
    found = place(ANCHOR_S - 7200, ANCHOR_S - 3600, starts_at_s=ANCHOR_S - 86_400)
    assert isinstance(found, Place) and found.period_end_s > ANCHOR_S + 27 * 86_400
    later = place(ANCHOR_S, ANCHOR_S + 3600, starts_at_s=ANCHOR_S - 86_400)
    assert isinstance(later, Place) and later.period_end_s == found.period_end_s


def test_a_first_period_ends_where_the_binding_knows_it() -> None:
    """What was used in a trial, or before an anchor to come, is final when that period ends, and the next one has its own end."""
    known = {"starts_at_s": ANCHOR_S - 86_400, "first_ends_s": ANCHOR_S}
    found, later = place(ANCHOR_S - 7200, ANCHOR_S - 3600, **known), place(ANCHOR_S, ANCHOR_S + 3600, **known)
    assert isinstance(found, Place) and found.period_end_s == ANCHOR_S
    assert isinstance(later, Place) and later.period_end_s > ANCHOR_S + 27 * 86_400


@pytest.mark.parametrize(
    ("start", "created", "ends"), [(5, 5, 9), (1, 5, 9), (9, 9, None), (5, 9, None), (5, None, None)],
    ids=["trial or anchor to come", "backdated, with an anchor", "plain", "backdated", "not said"],
)  # fmt: skip
def test_stripe_says_when_a_first_period_ends(start: int, created: int | None, ends: int | None) -> None:
    """A period before the anchor ends there, where the subscription is older than its anchor."""
    made = Subscription(id="sub_1", customer="cus_1", billing_cycle_anchor=9, start_date=start, items=Rows(()), created=created)
    assert made.first_ends_s == ends


@pytest.mark.parametrize("end_s", [ANCHOR_S, ANCHOR_S - 1])
def test_a_window_before_the_period_is_parked(end_s: int) -> None:
    """A window that ends at or before the instant from which its item is billed has no cell."""
    found = place(end_s - 3600, end_s)
    assert isinstance(found, Unplaced) and found.reason == "before_period"


@pytest.mark.parametrize(("start_s", "mode"), [(ANCHOR_S + 7200, "usage_records"), (ANCHOR_S + 7201, "usage_records"), (ANCHOR_S + 7200, "meters")])
def test_a_window_after_the_subscriptions_end_is_parked(start_s: int, mode: str) -> None:
    """Usage from the second on at which a subscription ends is billed by nobody, and it is shown, with the second."""
    found = place(start_s, ANCHOR_S + 10_800, ends_at_s=ANCHOR_S + 7200, mode=mode)
    assert isinstance(found, Unplaced) and found.reason == "after_end"
    before = place(ANCHOR_S + 3600, ANCHOR_S + 7200, ends_at_s=ANCHOR_S + 7200)
    assert isinstance(before, Place) and before.period_end_s == ANCHOR_S + 7200


def test_an_unbound_window_is_parked() -> None:
    """Without an item there is no cell, and the reason says what to do."""
    found = cell_of(Window("a", "calls", 0, 60), None, "default")
    assert isinstance(found, Unplaced) and found.reason == "unbound"


@pytest.mark.parametrize("change", [{"mode": "meters"}, {"provider": "polar"}, {"account": "other"}])
def test_what_this_worker_cannot_report_is_parked(change: dict[str, str]) -> None:
    """Another provider, mode or account is never reported by mistake."""
    found = place(ANCHOR_S + 60, ANCHOR_S + 120, **change)
    assert isinstance(found, Unplaced) and found.reason == "unsupported"


@given(st.lists(st.integers(-5, 5), min_size=1, max_size=4), st.integers(0, 5 * MONTH_S // 10))
def test_a_cell_belongs_to_the_period_of_its_window(shifts: list[int], at: int) -> None:
    """The second of a cell lies inside the window's own billing period, wherever the window starts."""
    for shift in shifts:
        start_s = ANCHOR_S + 10 * at + shift
        found = place(start_s, start_s + 10)
        if isinstance(found, Place):
            assert found.period_start_s < found.timestamp_s <= found.period_end_s
            assert found.period_start_s <= max(start_s, ANCHOR_S) < found.period_end_s


@given(st.sets(st.integers(0, 200), min_size=2))
def test_cells_are_injective_but_at_the_edge(starts: set[int]) -> None:
    """Two windows share a cell only where one starts with the period and the other a second later."""
    seconds: dict[int, list[int]] = {}
    for start in starts:
        found = place(ANCHOR_S + start, ANCHOR_S + start + 1)
        assert isinstance(found, Place)
        seconds.setdefault(found.timestamp_s, []).append(start)
    for sharing in seconds.values():
        assert len(sharing) == 1 or sorted(sharing) == [0, 1]


@given(st.tuples(st.sampled_from("ab|"), st.text(max_size=5), st.text(max_size=5), st.integers(1, 9), st.integers(0, 9), st.integers(1, 3)))
def test_a_key_names_one_request(parts: tuple[str, str, str, int, int, int]) -> None:
    """Whatever is changed of account, cell, revision, units or attempt gives another key, of a length that Stripe takes (H24)."""
    key = idempotency_key(*parts)
    assert key.startswith("tm1_") and len(key) <= 255
    for index, part in enumerate(parts):
        other: Any = [*parts[:index], part + 1 if isinstance(part, int) else f"{part}x", *parts[index + 1 :]]
        assert idempotency_key(*other) != key


@given(st.integers(0, 10**30), st.integers(0, 10**14))
def test_units_are_exact_or_refused(scaled: int, scale: int) -> None:
    """What is sent is the exact product or nothing: a fraction, or more than 64 bits, is never rounded or wrapped."""
    exact = Fraction(scaled, 10**12) * Fraction(scale, 10**12)
    found = units_of(format_scaled(scaled), format_scaled(scale))
    if isinstance(found, Unsendable):
        assert exact.denominator != 1 or exact > MOST_UNITS
    else:
        assert found == exact


@pytest.mark.parametrize(
    ("quantity", "scale", "reason"), [("0.5", "1", "fraction"), ("-1", "1", "negative"), ("9223372036854775808", "1", "too_large")]
)
def test_what_cannot_be_sent_says_why(quantity: str, scale: str, reason: str) -> None:
    """A fraction, a negative total and one beyond 64 bits are refused by name."""
    found = units_of(quantity, scale)
    assert isinstance(found, Unsendable) and found.reason == reason


def test_fractions_that_add_up_are_whole() -> None:
    """Windows that share a cell are added before anything is refused."""
    assert units_of(total_of(["0.25", "0.75"]), "1") == 1
    assert units_of("0.25", "4") == 1
