"""Who lives through the month of `make month`: as mixed as it says, and priced by arithmetic that can be checked by hand."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from infra.demo.month_usage import HOUR_S
from tests.chaos.month_people import FIRST_TIER, LEGACY, METERED, cost, people, subscriber

NOW = datetime(2026, 11, 27, 6, 24, 31, tzinfo=UTC)
PRICES = {meter.slug: f"price_{meter.slug}" for meter in (*LEGACY, *METERED)}


@pytest.mark.parametrize("seed", range(1, 30))
def test_the_customers_are_mixed(seed: int) -> None:
    """Both billing modes and both at once, an anchor on a month's last day, whole hours where a meter sums by the hour, and stragglers."""
    found = people(NOW, seed)
    assert len({person.name for person in found}) == len(found) == 9
    modes = [(set(person.meters) & set(LEGACY) != set(), set(person.meters) & set(METERED) != set()) for person in found]
    assert set(modes) == {(True, False), (False, True), (True, True)}
    anchors = [datetime.fromtimestamp(person.since_s, UTC) for person in found]
    assert (anchors[0] + timedelta(days=1)).day == 1
    assert all(anchor < NOW - timedelta(days=31, hours=3) for anchor in anchors)
    for person, (_, is_metered) in zip(found, modes, strict=True):
        assert not is_metered or person.since_s % HOUR_S == 0
    assert {person.late > 0 for person in found} == {True, False}
    assert {person.is_tiered for person in found if LEGACY[1] in person.meters} == {True, False}


def test_each_mode_has_a_subscription_of_its_own() -> None:
    """Nobody's subscription holds prices of both modes, and every meter has exactly one price."""
    for person in people(NOW, 1):
        made = subscriber(person, PRICES, "price_tiered")
        for prices in made.prices:
            assert len({slug in {meter.slug for meter in LEGACY} for slug, _ in prices}) == 1
        assert sorted(slug for prices in made.prices for slug, _ in prices) == sorted(meter.slug for meter in person.meters)
        tokens = [price for prices in made.prices for slug, price in prices if slug == "tokens"]
        assert tokens == ([] if LEGACY[1] not in person.meters else ["price_tiered" if person.is_tiered else "price_tokens"])


def test_what_a_line_costs() -> None:
    """Graduated tokens cost two each up to the tier's end, then 700 once and one each; all other units cost the same each."""
    tiered = next(person for person in people(NOW, 1) if person.is_tiered and LEGACY[1] in person.meters)
    plain = next(person for person in people(NOW, 1) if not person.is_tiered)
    assert [cost(tiered, "tokens", units) for units in (0, 1, FIRST_TIER, FIRST_TIER + 1)] == [0, 2, 2 * FIRST_TIER, 2 * FIRST_TIER + 701]
    assert [cost(plain, slug, 5) for slug in ("tokens", "calls", "gpu_seconds", "messages")] == [5, 15, 5, 10]
