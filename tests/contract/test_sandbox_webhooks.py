"""Webhooks of the sandbox on the wire: the official client verifies them, and a receiver that is down loses none."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
import stripe

from infra.sandbox.testing import Sandbox, sandbox_server
from tests.contract.webhook_listener import PATIENCE_S, listener

METER = {"display_name": "calls", "event_name": "calls", "default_aggregation[formula]": "sum"}
THIN = {
    "name": "errors",
    "type": "webhook_endpoint",
    "event_payload": "thin",
    "enabled_events": ["v1.billing.meter.no_meter_found"],
    "include": ["webhook_endpoint.signing_secret"],
}


async def hook(sandbox: Sandbox, url: str, **more: str) -> Any:
    """A new endpoint for everything."""
    return await sandbox.call("POST", "/v1/webhook_endpoints", data={"url": url, "enabled_events[]": "*", **more})


async def states(sandbox: Sandbox) -> list[tuple[str, int]]:
    """(state, attempts) of every delivery."""
    return [(row["state"], row["attempts"]) for row in (await sandbox.control("webhooks"))["data"]]


async def until(sandbox: Sandbox, *wanted: tuple[str, int]) -> None:
    """Waits for deliveries to stand so."""
    async with asyncio.timeout(PATIENCE_S):
        while await states(sandbox) != list(wanted):
            await asyncio.sleep(0.02)


async def test_the_official_client_verifies_what_comes(tmp_path: Path) -> None:
    """`construct_event` takes a webhook with the endpoint's secret and refuses it with another or with a byte changed."""
    async with sandbox_server(tmp_path) as sandbox, listener() as heard:
        secret = (await hook(sandbox, heard.url))["secret"]
        meter = await sandbox.call("POST", "/v1/billing/meters", data=METER)
        ((body, header),) = await heard.heard(1)
        event = stripe.Webhook.construct_event(body, header, secret)
        assert (event.type, event.data.object["id"]) == ("billing.meter.created", meter["id"])
        await until(sandbox, ("delivered", 1))
        for wrong in ((body + b" ", header, secret), (body, header, "whsec_other")):
            with pytest.raises(stripe.SignatureVerificationError):
                stripe.Webhook.construct_event(*wrong)


async def test_a_thin_event_is_notified_and_then_fetched(tmp_path: Path) -> None:
    """`parse_event_notification` takes a thin webhook, and `fetch_event` gets its data from the sandbox."""
    async with sandbox_server(tmp_path, meter_sync_checks=False, meter_report_s=1) as sandbox, listener() as heard:
        made = await sandbox.call("POST", "/v2/core/event_destinations", json={**THIN, "webhook_endpoint": {"url": heard.url}})
        secret = made["webhook_endpoint"]["signing_secret"]
        data = {"event_name": "none", "payload[stripe_customer_id]": "cus_1", "payload[value]": "1"}
        await sandbox.call("POST", "/v1/billing/meter_events", data=data, headers={"Idempotency-Key": "mine"})
        await sandbox.control("clock", {"advance_s": 5})
        ((body, header),) = await heard.heard(1)
        client = stripe.StripeClient(sandbox.key, base_addresses={"api": sandbox.url})
        notification = client.parse_event_notification(body, header, secret)
        assert (notification.type, b'"data"' in body) == ("v1.billing.meter.no_meter_found", False)
        event = await asyncio.to_thread(client.v2.core.events.retrieve, notification.id)
        assert event.to_dict()["data"]["reason"]["error_types"][0]["sample_errors"][0]["request"]["identifier"] == "mine"


async def test_what_is_not_taken_comes_again(tmp_path: Path) -> None:
    """A webhook answered 503 is due again after its pause on the sandbox's clock, signed anew, also by a sandbox that was restarted."""
    async with listener(503) as heard:
        async with sandbox_server(tmp_path) as sandbox:
            await hook(sandbox, heard.url)
            await sandbox.call("POST", "/v1/billing/meters", data=METER)
            await heard.heard(1)
            await until(sandbox, ("pending", 1))
        async with sandbox_server(tmp_path) as sandbox:
            await sandbox.control("clock", {"advance_s": 1801})
            first, second = await heard.heard(2)
            assert first[0].split(b"pending")[0] == second[0].split(b"pending")[0]
            await until(sandbox, ("delivered", 2))


async def test_nobody_there_is_no_loss_either(tmp_path: Path) -> None:
    """A webhook that reaches nobody stays pending; a redirect is not followed and counts as not taken."""
    async with listener(307) as heard:
        gone = heard.url
        async with sandbox_server(tmp_path / "redirected") as sandbox:
            await hook(sandbox, heard.url)
            await sandbox.call("POST", "/v1/billing/meters", data=METER)
            await heard.heard(1)
            await until(sandbox, ("pending", 1))
    async with sandbox_server(tmp_path / "alone") as sandbox:
        await hook(sandbox, gone)
        await sandbox.call("POST", "/v1/billing/meters", data=METER)
        await until(sandbox, ("pending", 1))
        assert (await sandbox.control("webhooks"))["data"][0]["answer"] == "ClientConnectorError"


async def test_both_secrets_sign_after_a_roll(tmp_path: Path) -> None:
    """While an old secret has not expired a webhook carries two signatures, and either secret verifies it."""
    async with sandbox_server(tmp_path) as sandbox, listener() as heard:
        made = await hook(sandbox, heard.url)
        new = (await sandbox.control("webhooks", {"roll": made["id"], "expires_s": 3600}))["secret"]
        await sandbox.call("POST", "/v1/billing/meters", data=METER)
        ((body, header),) = await heard.heard(1)
        assert header.count("v1=") == 2
        for secret in (new, made["secret"]):
            stripe.Webhook.construct_event(body, header, secret)
        await sandbox.control("clock", {"advance_s": 3601})
        await sandbox.call("POST", "/v1/billing/meters", data={**METER, "event_name": "more"})
        header = (await heard.heard(2))[1][1]
        assert header.count("v1=") == 1


async def test_a_disabled_endpoint_gets_nothing_more(tmp_path: Path) -> None:
    """What was waiting for an endpoint when it was disabled or deleted is given up."""
    async with sandbox_server(tmp_path, webhook_shuffle_s=1e6) as sandbox, listener() as heard:
        off, gone = await hook(sandbox, heard.url), await hook(sandbox, heard.url)
        await sandbox.call("POST", "/v1/billing/meters", data=METER)
        await sandbox.call("POST", f"/v1/webhook_endpoints/{off['id']}", data={"disabled": "true"})
        await sandbox.call("DELETE", f"/v1/webhook_endpoints/{gone['id']}")
        await sandbox.control("clock", {"advance_s": 1e6})
        await until(sandbox, ("failed", 0), ("failed", 0))
        assert heard.posts == []
