"""`tidemark check` at Stripe, against the sandbox: everything that would bill wrongly, at once, each with its place (H31)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from infra import stripe_catalog
from infra.settings import Settings, load_settings
from infra.stripe_preflight import preflight
from tests.contract.stripe_bench import Bench, bench
from topics.errors import Unreachable
from topics.instants import format_s

METER = '[[meters]]\nslug = "{slug}"\nevent_type = "x"\n'


def settings(tmp_path: Path, stripe: Bench, text: str) -> Settings:
    """Settings of a file that point at the bench."""
    path = tmp_path / "tidemark.toml"
    path.write_text(text)
    return load_settings(path, {"STRIPE_API_KEY": stripe.sandbox.key, "TIDEMARK_STRIPE__API_BASE": stripe.sandbox.url})


async def made(stripe: Bench, path: str, *, modern: bool = False, **parameters: Any) -> str:
    """The id of a new object."""
    access = stripe.modern if modern else stripe.access
    return str((await stripe.call(access.post, path, **parameters))["id"])


async def price(stripe: Bench, *, modern: bool = False, **more: Any) -> str:
    """The id of a new monthly price."""
    recurring = {"interval": "month", "usage_type": "metered"} | more.pop("recurring", {})
    return await made(stripe, "/v1/prices", modern=modern, currency="usd", unit_amount="1", product_data={"name": "x"}, recurring=recurring, **more)


async def meter(stripe: Bench, name: str, **more: Any) -> str:
    """The id of a new Billing Meter."""
    return await made(
        stripe, "/v1/billing/meters", modern=True, display_name=name, event_name=name, **{"default_aggregation": {"formula": "sum"}, **more}
    )


async def test_seven_wrong_prices_are_all_named(tmp_path: Path) -> None:
    """Seven meters of a file name seven prices that would bill wrongly: check names all seven, each with its place, reason and remedy."""
    async with bench(tmp_path) as stripe:
        counting = await meter(stripe, "counting", default_aggregation={"formula": "count"})
        daily = await meter(stripe, "daily", event_time_window="day")
        wrong = {
            "highest": (await price(stripe, recurring={"aggregate_usage": "max"}), "", "aggregate_usage=max"),
            "on_meter": (await price(stripe, recurring={"meter": daily}), "", "takes no usage records"),
            "licensed": (await price(stripe, recurring={"usage_type": "licensed"}), "", "is licensed"),
            "legacy": (await price(stripe), 'stripe_mode = "meters"\n', "legacy price"),
            "counting": (await price(stripe, recurring={"meter": counting}), 'stripe_mode = "meters"\n', "formula count"),
            "daily": (await price(stripe, recurring={"meter": daily}), 'stripe_mode = "meters"\nstripe_aggregation = "hour"\n', "each UTC day"),
            "archived": (await price(stripe), "", "archived"),
        }
        await stripe.call(stripe.access.post, f"/v1/prices/{wrong['archived'][0]}", active="false")
        text = "".join(f'{METER.format(slug=slug)}stripe_price = "{named}"\n{more}' for slug, (named, more, _) in wrong.items())
        found = await stripe.call(preflight, settings(tmp_path, stripe, text))
        assert [fault.place for fault in found.faults] == [f"meters[{index}].stripe_price" for index in range(7)]
        for fault, (named, _, word) in zip(found.faults, wrong.values(), strict=True):
            assert (named in fault.problem or "meter mtr_" in fault.problem) and word in fault.problem and fault.remedy


async def test_a_set_up_account_has_nothing_to_be_named(tmp_path: Path) -> None:
    """What setup makes in both modes bills right: check says nothing of it."""
    async with bench(tmp_path) as stripe:
        text = METER.format(slug="a") + METER.format(slug="b") + 'stripe_mode = "meters"\n[[customers]]\nid = "acme"\n[[customers]]\nid = "zen"\n'
        there = settings(tmp_path, stripe, text)
        await stripe.call(stripe_catalog.setup, there)
        assert await stripe.call(preflight, there) == ([], [])


async def test_a_gate_that_nothing_waits_for_is_said(tmp_path: Path) -> None:
    """With the gate on `hold` check says where no endpoint takes invoice.created; with one, or another gate, it does not."""
    async with bench(tmp_path) as stripe:
        text = METER.format(slug="a")
        for gate, wanted in (("off", 0), ("warn", 0), ("hold", 1)):
            asked = settings(tmp_path, stripe, f'[stripe]\ngate = "{gate}"\n{text}')
            assert len((await stripe.call(preflight, asked)).notes) == wanted
        there = settings(tmp_path, stripe, f'[stripe]\ngate = "hold"\n{text}')
        for events, left in ((["invoice.paid"], 1), (["invoice.created"], 0)):
            await stripe.call(stripe.modern.post, "/v1/webhook_endpoints", url="http://127.0.0.1:9/x", enabled_events=events)
            assert len((await stripe.call(preflight, there)).notes) == left


async def test_items_of_the_file_are_held_against_stripe(tmp_path: Path) -> None:
    """An item of the file that is not there, is another customer's, or has another price, period or anchor at Stripe is named with its place."""
    async with bench(tmp_path) as stripe:
        subscription = (await stripe.call(stripe.access.get, f"/v1/subscription_items/{stripe.item}"))["subscription"]
        anchor_s = (await stripe.call(stripe.access.get, f"/v1/subscriptions/{subscription}"))["billing_cycle_anchor"]
        _, _, other = await stripe.sandbox.metered_item(aggregate="last_ever")

        def item(name: str, more: str = "") -> str:
            return f'[[customers.items]]\nmeter = "a"\nstripe_subscription_item = "{name}"\n{more}'

        cases = [
            ('[[customers]]\nid = "c0"\n' + item("si_none"), "customers[0].items[0]", "No such subscription_item"),
            ('[[customers]]\nid = "c1"\n' + item(other), "customers[1].items[0]", "aggregate_usage=last_ever"),
            (
                '[[customers]]\nid = "c2"\nstripe_customer = "cus_9"\n'
                + item(stripe.item, f'price = "price_9"\nperiod = "week"\nperiod_anchor = "{format_s(anchor_s + 60)}"\n'),
                "customers[2].items[0].price",
                "the file says price_9",
            ),
        ]
        text = METER.format(slug="a") + "".join(text for text, _, _ in cases)
        found = await stripe.call(preflight, settings(tmp_path, stripe, text))
        said = {fault.place: fault.problem for fault in found.faults}
        for _, place, word in cases:
            assert word in said[place]
        third = "customers[2].items[0]"
        assert "belongs to" in said[third] and "Stripe bills each 1 month" in said[f"{third}.period"] and f"{third}.period_anchor" in said


async def test_what_the_account_binds_is_judged_too(tmp_path: Path) -> None:
    """Two items of one customer for a meter, thresholds on an item, and a period's edge inside an hour that a meter keeps one number for."""
    async with bench(tmp_path) as stripe:
        there = settings(tmp_path, stripe, METER.format(slug="a") + METER.format(slug="b") + 'stripe_mode = "meters"\n')
        await stripe.call(stripe_catalog.setup, there)
        rows = await stripe.call(lambda: list(stripe.access.pages("/v1/prices")))
        prices = {row["metadata"]["tidemark_meter"]: row["id"] for row in rows if row["metadata"]}
        for name, thresholds in (("two", {}), ("limited", {"billing_thresholds": {"usage_gte": 5}})):
            customer = await made(stripe, "/v1/customers", metadata={"tidemark_customer": name})
            for _ in range(2 if name == "two" else 1):
                await made(stripe, "/v1/subscriptions", customer=customer, items=[{"price": prices["a"], **thresholds}])
        customer = await made(stripe, "/v1/customers", metadata={"tidemark_customer": "odd"})
        odd_s = (stripe.now_s // 3600 + 2) * 3600 + 1425
        await made(stripe, "/v1/subscriptions", customer=customer, items=[{"price": prices["b"]}], billing_cycle_anchor=odd_s)
        said = {fault.place: fault.problem for fault in (await stripe.call(preflight, there)).faults}
        assert "2 items for meter 'a'" in said["Stripe, customer 'two'"]
        assert "billing thresholds" in said["Stripe, customer 'limited'"]
        assert "inside a UTC hour" in said["Stripe, customer 'odd'"]


async def test_check_says_it_with_the_other_faults(tmp_path: Path) -> None:
    """`tidemark check` carries the findings in its own list, and a Stripe that does not answer is said once."""
    from infra import check

    async with bench(tmp_path) as stripe:
        wrong = await price(stripe, recurring={"aggregate_usage": "max"})
        there = settings(tmp_path, stripe, METER.format(slug="a") + f'stripe_price = "{wrong}"\n')
        found = await check.online(there)
        assert "aggregate_usage=max" in json.dumps(check.as_json(found)["faults"])
    gone = await check.online(there)
    assert len([said for said in gone.unreachable if "Stripe" in said]) == 1 and not [f for f in gone.faults if "aggregate" in f.problem]
    with pytest.raises(Unreachable):
        preflight(there)
