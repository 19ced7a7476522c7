"""Legacy and meter mode side by side, against the sandbox: equal totals are equal, one unit is a difference."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from infra import stripe_catalog
from infra.settings import Settings, load_settings
from infra.stripe_compare import Result, compare_meters, plain
from tests.contract.stripe_bench import Bench, bench
from topics.bindings import Item
from topics.errors import TidemarkError, UsageError

METERS = '[[meters]]\nslug = "old"\nevent_type = "x"\n[[meters]]\nslug = "new"\nevent_type = "x"\nstripe_mode = "meters"\nscale = "{scale}"\n'
CUSTOMERS = '[[customers]]\nid = "acme"\n[[customers]]\nid = "zen"\n'


@asynccontextmanager
async def both(tmp_path: Path, scale: str = "1", customers: str = CUSTOMERS) -> AsyncIterator[tuple[Bench, Settings, dict[str, tuple[Item, ...]]]]:
    """A bench with customers that are billed in both modes, one hour ago and before."""
    async with bench(tmp_path) as stripe:
        path = tmp_path / "tidemark.toml"
        path.write_text(METERS.format(scale=scale) + customers)
        environment = {"STRIPE_API_KEY": stripe.sandbox.key, "TIDEMARK_STRIPE__API_BASE": stripe.sandbox.url}
        settings = load_settings(path, environment)
        await stripe.call(stripe_catalog.setup, settings, stripe.now_s - 5 * 86_400)
        yield stripe, settings, await stripe.call(stripe_catalog.read_items, settings)


async def use(stripe: Bench, items: tuple[Item, ...], legacy: int, metered: str, hours_ago: int = 2) -> None:
    """The same hour at both."""
    new, old = sorted(items, key=lambda item: item.meter)
    second = (stripe.now_s // 3600 - hours_ago) * 3600
    assert (await stripe.report(legacy, f"k{old.item}{second}", second=second - stripe.now_s, item=old.item)).name == "delivered"
    payload = {"stripe_customer_id": new.stripe_customer, "value": metered}
    event: dict[str, Any] = {"event_name": new.event_name, "payload": payload, "timestamp": second, "identifier": f"i{new.item}{second}"}
    await stripe.call(stripe.modern._client.raw_request, "post", "/v1/billing/meter_events", **event)


async def compared(stripe: Bench, settings: Settings, **more: Any) -> Result:
    """One comparison."""
    found: Result = await stripe.call(compare_meters, settings, "old", "new", **more)
    return found


async def test_equal_totals_are_equal_and_a_unit_is_a_difference(tmp_path: Path) -> None:
    """Each customer's two totals of the period stand side by side, by its own name; one unit more at one of them is said."""
    async with both(tmp_path) as (stripe, settings, items):
        for hours_ago in (2, 3):
            await use(stripe, items["acme"], 5, "5", hours_ago)
            await use(stripe, items["zen"], 9, "9", hours_ago)
        found = await compared(stripe, settings)
        totals = [(row.customer, plain(row.first), plain(row.second)) for row in found.rows]
        assert totals == [("acme", "10", "10"), ("zen", "18", "18")] and found.equal
        await use(stripe, items["zen"], 0, "1", 4)
        found = await compared(stripe, settings)
        assert [row.difference for row in found.rows] == [0, 1] and not found.equal
        assert (await compared(stripe, settings, customer="acme")).equal


async def test_totals_are_compared_in_the_meters_own_quantity(tmp_path: Path) -> None:
    """Where one of the two converts by a scale, what is compared is what was used."""
    async with both(tmp_path, scale="0.25") as (stripe, settings, items):
        await use(stripe, items["acme"], 10, "2.5")
        assert (await compared(stripe, settings, customer="acme")).rows[0].second == 10


async def test_who_cannot_be_compared_is_said(tmp_path: Path) -> None:
    """Without anybody in both modes there is nothing to agree: that is no success; nor is a meter that does not exist."""
    async with both(tmp_path, customers="") as (stripe, settings, _):
        with pytest.raises(TidemarkError, match="nobody is bound to both"):
            await compared(stripe, settings)
        with pytest.raises(UsageError, match="no meter 'none'"):
            await stripe.call(compare_meters, settings, "old", "none")


@pytest.mark.parametrize(("value", "text"), [(Fraction(5), "5"), (Fraction(-5, 4), "-1.25"), (Fraction(1, 3), "1/3"), (Fraction(0), "0")])
def test_quantities_are_written_exactly(value: Fraction, text: str) -> None:
    """No total is rounded for display."""
    assert plain(value) == text
