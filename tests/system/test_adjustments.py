"""What comes after the invoice, as an operator sees it: listed in money, billed elsewhere by itself or settled by hand."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.system import wire
from tests.system.conftest import assert_gone, guarded, take_down
from tests.system.traffic import event, rfc3339
from tests.system.world import World

pytestmark = pytest.mark.system
CUSTOMER = "acme"
GUARD_S = 120.0


class Late(World):
    """A stack whose meter `api_calls` bills adjustments by invoice items; the others hold them."""

    def write_config(self) -> None:
        """See World."""
        super().write_config()
        text = self.config.read_text(encoding="utf-8")
        self.config.write_text(text.replace('slug = "api_calls"\n', 'slug = "api_calls"\nlate = "invoice_item"\n'), encoding="utf-8")


def until(holds: Callable[[], Any], what: str) -> None:
    """Waits until something holds."""
    deadline_s = time.monotonic() + GUARD_S
    while not holds():
        assert time.monotonic() < deadline_s, what
        time.sleep(0.5)


def subscribe(world: World, meters: tuple[str, ...]) -> tuple[str, str]:
    """(subscription, Stripe's customer), made at the sandbox and heard of by webhooks: since two hours ago, at a cent a unit."""
    recurring = {"interval": "month", "usage_type": "metered", "aggregate_usage": "sum"}
    prices = []
    for meter in meters:
        named = {"product_data": {"name": meter}, "metadata": {"tidemark_meter": meter}}
        prices.append(world.provider.post("/v1/prices", currency="usd", unit_amount=1, recurring=recurring, **named)["id"])
    payer = world.provider.post("/v1/customers", metadata={"tidemark_customer": CUSTOMER})["id"]
    items, since_s = [{"price": price} for price in prices], int(time.time()) - 7200
    made = world.provider.post("/v1/subscriptions", customer=payer, items=items, backdate_start_date=since_s)
    return str(made["id"]), str(payer)


def send(world: World, number: int, at_s: int) -> None:
    """One API call of 1, and one request of 5 tokens."""
    calls = event(CUSTOMER, f"call-{number}", "api.request", time=rfc3339(at_s))
    tokens = event(CUSTOMER, f"tokens-{number}", "llm.request", '{"tokens": 5}', rfc3339(at_s))
    world.command.run("send", "events", "-", stdin=f"{calls.decode()}\n{tokens.decode()}\n")
    world.command.run("settle", "--close")


def listed(world: World, *options: str, expect: int = 0) -> dict[str, Any]:
    """Adjustments by meter."""
    found = world.command.json("adjustments", *options, expect=expect)
    return {row["meter"]: row for row in found["adjustments"]} | {"open": found["open"], "money": found["money"]}


def test_what_comes_after_the_last_invoice(tmp_path: Path) -> None:
    """A subscription ends and is invoiced, then two late events come: what one meter counted is an invoice item by itself, the other meter's is
    listed with money until an operator settles it, and status, metric and exit code say so."""
    world = Late(tmp_path / "stack")
    with guarded(world.directory):
        world.up(workers=1)
        try:
            lives_and_ends(world)
        finally:
            take_down(world)
    assert_gone(world)


def lives_and_ends(world: World) -> None:
    """The story of the test above."""
    subscription, payer = subscribe(world, ("api_calls", "tokens"))
    until(lambda: len(world.command.json("bindings", "--customer", CUSTOMER)) == 2, "the subscription was never bound")
    at_s = int(time.time()) - 1800
    for number in range(3):
        send(world, number, at_s + number)
    assert listed(world, "--all")["open"] == 0
    world.provider.cancel(subscription)
    (draft,) = [each["id"] for each in world.provider.get("/v1/invoices", subscription=subscription)["data"] if each["status"] == "draft"]
    world.provider.post(f"/v1/invoices/{draft}/finalize")
    until(lambda: _is_known_as_final(world, subscription), "the final invoice was never known")
    send(world, 3, at_s + 3)
    until(lambda: listed(world, "--all").get("api_calls", {}).get("state") == "settled", "the invoice item was never made")
    found = listed(world, "--fail-if-open", "--all", expect=1)
    assert (found["api_calls"]["settled"], found["api_calls"]["policy"], found["open"], found["money"]) == ("1", "invoice_item", 1, {"usd": "0.05"})
    (made,) = world.provider.get("/v1/invoiceitems", customer=payer)["data"]
    assert made["amount"] == 1 and made["id"] in found["api_calls"]["how"]
    assert made["metadata"]["tidemark_adjustment"] == found["api_calls"]["id"]
    held = found["tokens"]
    assert (held["units"], held["money"], held["cause"], held["invoice"][:3]) == ("5", "0.05", "after_finalization", "in_")
    assert world.command.json("status")["adjustments"] == 1
    shown = world.command.run("adjustments").stdout
    assert held["id"] in shown and "0.05 usd" in shown
    assert world.command.run("adjustments", "settle", held["id"], "--units", "9", "--how", "waived", expect=2).stderr
    world.command.run("adjustments", "settle", held["id"], "--all", "--how", "waived")
    until(lambda: listed(world)["open"] == 0, "the adjustment was never settled")
    world.command.run("adjustments", "--fail-if-open")
    world.command.run("settle")
    assert world.command.json("status")["adjustments"] == 0
    windows = world.command.json("windows", "--customer", CUSTOMER)
    assert {row["state"] for row in windows if row["meter"] in {"api_calls", "tokens"}} == {"delivered"}


def _is_known_as_final(world: World, subscription: str) -> bool:
    """The webhooks' word of the invoice is in the log."""
    said = [json.loads(record.value) for record in wire.read_log(world.bootstrap, "usage.definitions").records if record.value is not None]
    invoices = [each["said"] for each in said if each["kind"] == "invoice" and each["said"]["subscription"] == subscription]
    return any(one["status"] in {"open", "paid"} and one["period_end_s"] > time.time() - 900 for one in invoices)
