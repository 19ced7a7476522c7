"""A receiver that a sandbox is started with: told from the first event on, over restarts and changes of address, without being made by anybody."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import stripe

from infra.embedded.layout import Layout
from infra.embedded.options import sandbox_key, webhook_secret
from infra.sandbox.knobs import Knobs
from infra.sandbox.serve import listening
from infra.sandbox.standing_receiver import RETRY_S, Receiver, known_to, named
from infra.sandbox.testing import Sandbox
from infra.sandbox.webhook_urls import allowed
from infra.webhooks.errands import THIN_TYPES, TYPES
from tests.contract.webhook_listener import PATIENCE_S, listener
from topics.errors import UsageError

SECRET = "whsec_standing"
KEY = "sk_test_standing"


@asynccontextmanager
async def started(directory: Path, receiver: Receiver) -> AsyncIterator[Sandbox]:
    """A sandbox with a receiver."""
    knobs = known_to(Knobs(calls_per_second=1e6), receiver)
    async with listening("127.0.0.1", 0, directory, api_key=KEY, knobs=knobs, receiver=receiver) as url:
        yield Sandbox(url, KEY)


def at(url: str, secret: str = SECRET) -> Receiver:
    """The receiver at an address."""
    found = named(url, {"STRIPE_WEBHOOK_SECRET": secret})
    assert found is not None
    return found


async def test_it_is_told_from_the_first_event_on(tmp_path: Path) -> None:
    """A subscription is told to the receiver, signed with the agreed secret; what Tidemark does not ask for is not sent."""
    async with listener() as heard, started(tmp_path, at(heard.url)) as sandbox:
        _, subscription, _ = await sandbox.metered_item()
        posts = await heard.heard(1)
        events = [stripe.Webhook.construct_event(body, header, SECRET) for body, header in list(posts)]
        assert {event.type for event in events} <= set(TYPES)
        async with asyncio.timeout(PATIENCE_S):
            while not any(event.data.object["id"] == subscription for event in events):
                await asyncio.sleep(0.02)
                events = [stripe.Webhook.construct_event(body, header, SECRET) for body, header in list(heard.posts)]


async def test_a_second_start_adds_none_and_knows_the_new_address(tmp_path: Path) -> None:
    """After a restart with another address and secret there is still one endpoint and one destination, and what was not delivered goes there."""
    async with started(tmp_path, at("http://127.0.0.1:9/stripe")) as sandbox:
        await sandbox.metered_item()
    async with listener() as heard, started(tmp_path, at(heard.url, "whsec_new")) as sandbox:
        await sandbox.control("clock", {"advance_s": RETRY_S})
        ((body, header), *_) = await heard.heard(1)
        assert stripe.Webhook.construct_event(body, header, "whsec_new").type in TYPES
        (endpoint,) = (await sandbox.call("GET", "/v1/webhook_endpoints"))["data"]
        (destination,) = (await sandbox.call("GET", "/v2/core/event_destinations"))["data"]
    assert (endpoint["url"], endpoint["enabled_events"]) == (heard.url, list(TYPES))
    assert (destination["event_payload"], destination["enabled_events"]) == ("thin", list(THIN_TYPES))
    assert SECRET not in str((endpoint, destination))


def test_it_may_be_the_one_other_machine() -> None:
    """Webhooks may go to the host of the receiver, and to no third one."""
    knobs = known_to(Knobs(), at("http://webhooks:8101/stripe"))
    assert allowed("http://webhooks:8101/stripe", knobs)
    assert not allowed("http://elsewhere:8101/stripe", knobs)
    assert not allowed("http:///stripe", Knobs())


def test_it_needs_a_secret_and_a_url() -> None:
    """Without a secret in the environment, or with what is no URL, the sandbox is not started; the sentence says what to do."""
    with pytest.raises(UsageError, match="STRIPE_WEBHOOK_SECRET"):
        named("http://127.0.0.1:1/stripe", {"STRIPE_WEBHOOK_SECRET": " , "})
    with pytest.raises(UsageError, match="http://HOST:PORT/stripe"):
        named("webhooks:8101", {"STRIPE_WEBHOOK_SECRET": SECRET})
    assert named(None, {}) is None


def test_a_stack_has_one_signing_secret(tmp_path: Path) -> None:
    """It is made once, also beside the key of a stack that an older program made, differs between stacks, and only the owner may read it."""
    old, new = Layout(tmp_path / "old"), Layout(tmp_path / "new")
    for layout in (old, new):
        layout.root.mkdir()
    key = sandbox_key(old)
    assert webhook_secret(old) == webhook_secret(old)
    assert sandbox_key(old) == key
    assert webhook_secret(new) != webhook_secret(old)
    assert old.secrets.stat().st_mode & 0o077 == 0
