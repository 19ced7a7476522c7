"""What may go wrong between the sandbox and a receiver of its webhooks: nothing is lost by it, and nothing else waits for it."""

from __future__ import annotations

import asyncio
import json
import random
from pathlib import Path
from typing import Any

import pytest
import stripe

from infra.sandbox.knobs import NEWEST_VERSION
from infra.sandbox.testing import LEGACY_VERSION, Sandbox, sandbox_server
from infra.sandbox.webhook_signing import signed
from tests.contract.webhook_listener import PATIENCE_S, Listener, listener

Rows = list[dict[str, Any]]


async def hook(sandbox: Sandbox, url: str, **more: str) -> Any:
    """A new endpoint for everything."""
    return await sandbox.call("POST", "/v1/webhook_endpoints", data={"url": url, "enabled_events[]": "*", **more})


async def meter(sandbox: Sandbox, name: str = "calls") -> str:
    """The id of a new meter: one event."""
    data = {"display_name": name, "event_name": name, "default_aggregation[formula]": "sum"}
    return str((await sandbox.call("POST", "/v1/billing/meters", data=data))["id"])


async def ends(sandbox: Sandbox, *states: str) -> Rows:
    """The deliveries, once each is in one of these states and none waits for its first attempt."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            rows: Rows = (await sandbox.control("webhooks"))["data"]
            if rows and all(row["state"] in states and row["answer"] is not None for row in rows):
                return rows
            await asyncio.sleep(0.02)


def about(posts: list[tuple[bytes, str]]) -> list[str]:
    """The ids of the objects that posts are about."""
    return [json.loads(body)["data"]["object"]["id"] for body, _ in posts]


def test_the_signature_is_the_official_one() -> None:
    """Header and official client agree on a body beyond ASCII, and two secrets give two signatures in order."""
    body = '{"name": "Zoë"}'
    assert signed(body.encode(), ["whsec_a"], 1_700_000_000) == stripe.WebhookSignature.generate_signature_header(body, "whsec_a", 1_700_000_000)
    second = signed(body.encode(), ["whsec_b"], 5).removeprefix("t=5,")
    assert signed(body.encode(), ["whsec_a", "whsec_b"], 5) == f"{signed(body.encode(), ['whsec_a'], 5)},{second}"


async def test_each_endpoint_gets_its_own_version(tmp_path: Path) -> None:
    """One event reaches two endpoints in their two API eras: before basil a subscription carries its period, after it the items do."""
    async with sandbox_server(tmp_path) as sandbox, listener() as old, listener() as new:
        await hook(sandbox, old.url, api_version=LEGACY_VERSION)
        await hook(sandbox, new.url, api_version=NEWEST_VERSION)
        await sandbox.metered_item()
        await ends(sandbox, "delivered")
        for heard, version, at_top in ((old, LEGACY_VERSION, True), (new, NEWEST_VERSION, False)):
            (event,) = [event for event in (json.loads(body) for body, _ in heard.posts) if event["type"] == "customer.subscription.created"]
            shown = event["data"]["object"]
            assert (event["api_version"], "current_period_end" in shown) == (version, at_top)
            assert ("current_period_end" in shown["items"]["data"][0]) is not at_top


async def test_a_silent_receiver_holds_up_nobody(tmp_path: Path) -> None:
    """While a receiver does not answer, calls are answered and other receivers are told; after the time-out it counts as a failed attempt."""
    async with sandbox_server(tmp_path, webhook_timeout_s=0.5) as sandbox, listener() as deaf, listener() as well:
        deaf.silent = True
        await hook(sandbox, deaf.url)
        await hook(sandbox, well.url)
        made = await meter(sandbox)
        assert about(await well.heard(1)) == [made]
        await deaf.heard(1)
        first, second = await ends(sandbox, "delivered", "pending")
        assert (first["state"], first["answer"], second["state"]) == ("pending", "TimeoutError", "delivered")
        deaf.silent = False
        await sandbox.control("clock", {"advance_s": 1801})
        assert about(await deaf.heard(2)) == [made, made]
        await ends(sandbox, "delivered")


async def test_a_kill_between_post_and_record_sends_it_again(tmp_path: Path) -> None:
    """A sandbox that ends while a receiver still thinks has no answer on record, so the next run posts the same event at once."""
    async with listener() as heard:
        heard.silent = True
        async with sandbox_server(tmp_path) as sandbox:
            await hook(sandbox, heard.url)
            made = await meter(sandbox)
            await heard.heard(1)
        heard.silent = False
        async with sandbox_server(tmp_path) as sandbox:
            assert about(await heard.heard(2)) == [made, made]
            assert [row["attempts"] for row in await ends(sandbox, "delivered")] == [1]


async def test_forged_webhooks_are_followed_by_true_ones(tmp_path: Path) -> None:
    """By the knob some posts do not verify; a receiver that refuses those has each event with a true signature in the end."""
    knobs: dict[str, Any] = {"webhook_forged": 0.5, "webhook_seed": 3, "webhook_retries": 20, "webhook_retry_s": 0.0}
    async with sandbox_server(tmp_path, **knobs) as sandbox, listener() as heard:
        secret = (await hook(sandbox, heard.url))["secret"]
        true: set[str] = set()
        forged = 0

        def status(body: bytes, header: str) -> int:
            nonlocal forged
            try:
                true.add(stripe.Webhook.construct_event(body, header, secret).data.object["id"])
            except stripe.SignatureVerificationError:
                forged += 1
                return 400
            return 200

        heard.judge = status
        made = {await meter(sandbox, f"m{number}") for number in range(8)}
        await ends(sandbox, "delivered")
        assert true == made
        assert forged > 0


async def test_webhooks_wait_as_long_as_the_knob_says(tmp_path: Path) -> None:
    """With webhook_delay_s nothing is sent before that time of the sandbox's clock, and everything after it."""
    async with sandbox_server(tmp_path, webhook_delay_s=600) as sandbox, listener() as heard:
        await hook(sandbox, heard.url)
        made = await meter(sandbox)
        await sandbox.control("clock", {"advance_s": 500})
        (row,) = (await sandbox.control("webhooks"))["data"]
        assert row["due_s"] > (await sandbox.control("clock"))["now"]
        await sandbox.control("clock", {"advance_s": 101})
        await ends(sandbox, "delivered")
        assert about(heard.posts) == [made]


async def test_an_endpoint_elsewhere_is_not_written_to_any_more(tmp_path: Path) -> None:
    """An endpoint on another machine that an earlier run was allowed to take gets nothing once the knob is off again."""
    async with sandbox_server(tmp_path, webhook_anywhere=True) as sandbox:
        await hook(sandbox, "https://192.0.2.1/hook")
    async with sandbox_server(tmp_path) as sandbox:
        await meter(sandbox)
        (row,) = await ends(sandbox, "failed")
        assert (row["answer"], row["attempts"]) == ("no target", 0)


@pytest.mark.parametrize("seed", range(2))
async def test_no_event_is_lost_by_anything(tmp_path: Path, seed: int) -> None:
    """Refusals, copies, shuffled order, forged posts and restarts together: every event is taken at least once, and no other one."""
    rng = random.Random(seed)
    knobs: dict[str, Any] = {"webhook_shuffle_s": 5.0, "webhook_copies": 0.3, "webhook_forged": 0.1, "webhook_seed": seed, "webhook_retries": 40}
    secrets: list[str] = []
    taken: set[str] = set()

    def status(body: bytes, header: str) -> int:
        if rng.random() < 0.3:
            return rng.choice((307, 404, 500, 503))
        try:
            taken.add(stripe.Webhook.construct_event(body, header, secrets[0]).data.object["id"])
        except stripe.SignatureVerificationError:
            return 400
        return 200

    async def live(heard: Listener, life: int) -> set[str]:
        async with sandbox_server(tmp_path, webhook_retry_s=1e-6, **knobs) as sandbox:
            if not secrets:
                secrets.append((await hook(sandbox, heard.url))["secret"])
            made = {await meter(sandbox, f"m{life}-{number}") for number in range(5)}
            await sandbox.control("clock", {"advance_s": 3})
            if life == 2:
                await sandbox.control("clock", {"advance_s": 10})
                await ends(sandbox, "delivered")
        return made

    async with listener() as heard:
        heard.judge = status
        made = [await live(heard, life) for life in range(3)]
    assert taken == set().union(*made)
