"""What happens at the sandbox comes into the log by itself: nobody runs `tidemark stripe sync`."""

from __future__ import annotations

import hashlib
import hmac
import json
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from typing import Any

import pytest

from infra.embedded.layout import Layout
from infra.embedded.options import webhook_secret
from tests.oracle.ledger import Bound
from tests.system import wire
from tests.system.comparing import assert_all_agree
from tests.system.traffic import Message, event, rfc3339
from tests.system.world import World

pytestmark = pytest.mark.system
CALLS = 37
HEARD, TIMED = "heard", "timed"
GUARD_S = 120.0


def until(holds: Callable[[], Any], what: str) -> None:
    """Waits until something holds."""
    deadline_s = time.monotonic() + GUARD_S
    while not holds():
        assert time.monotonic() < deadline_s, what
        time.sleep(0.25)


def quiet(world: World) -> None:
    """Waits until every webhook has been taken."""
    until(lambda: {row["state"] for row in world.provider.control("webhooks")["data"]} <= {"delivered"}, "a webhook was never taken")


def price(world: World) -> str:
    """A monthly metered price that says which meter it bills."""
    recurring = {"interval": "month", "usage_type": "metered", "aggregate_usage": "sum"}
    named = {"product_data": {"name": "heard of"}, "metadata": {"tidemark_meter": "api_calls"}}
    return str(world.provider.post("/v1/prices", currency="usd", unit_amount=1, recurring=recurring, **named)["id"])


def subscribe(world: World, customer: str, of: str, **more: Any) -> dict[str, Any]:
    """A customer and its subscription, made at the sandbox and nowhere else."""
    made = world.provider.post("/v1/customers", metadata={"tidemark_customer": customer}, **more)
    since = {} if more else {"backdate_start_date": int(time.time()) - 7200}
    return world.provider.post("/v1/subscriptions", customer=made["id"], items=[{"price": of}], **since)


def bound(world: World, customer: str) -> list[dict[str, Any]]:
    """Who is billed where, as the command shows it."""
    return [row for row in world.command.json("bindings") if row["customer"] == customer]


def ended(world: World, customer: str) -> bool:
    """Whether the archive has heard that nothing bills the customer any more: it reads behind the receiver."""
    return any(row["valid_until"] < "2299" for row in bound(world, customer))


def notices(world: World) -> list[dict[str, Any]]:
    """Everything that applications are told."""
    return [json.loads(record.value or b"") for record in wire.read_log(world.bootstrap, "usage.notices").records]


def play(world: World, said: dict[str, Any], *, secret: str | None = None) -> int:
    """Posts an event to the receiver as it was once sent, freshly signed; the status."""
    body = json.dumps(said).encode()
    second = int(time.time())
    key = (secret or webhook_secret(Layout(world.directory))).encode()
    signature = hmac.new(key, b"%d." % second + body, hashlib.sha256).hexdigest()
    address = world.state.process("webhooks").http
    request = urllib.request.Request(f"{address}/stripe", body, {"Stripe-Signature": f"t={second},v1={signature}"})
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


def test_a_subscription_lives_and_ends_by_webhooks(world: World) -> None:
    """A subscription made at the sandbox is bound and its usage billed without a sync, and when it is cancelled `usage.notices` says so, while
    webhooks that come again, late, in the wrong order or to a receiver that was killed change nothing, and a forged one is refused."""
    made = subscribe(world, HEARD, price(world))
    item = made["items"]["data"][0]["id"]
    until(lambda: bound(world, HEARD), "the subscription was never bound")
    world.cuts[HEARD] = (made["billing_cycle_anchor"],)
    world.bound[HEARD, "api_calls"] = Bound(item, made["start_date"], edges=world.cuts[HEARD])
    at_s = int(time.time()) - 600
    sent = (event(HEARD, f"heard-{number}", "api.request", time=rfc3339(at_s + number)) for number in range(CALLS))
    world.send(Message(HEARD.encode(), value) for value in sent)
    assert_all_agree(world)
    world.provider.cancel(made["id"])
    until(lambda: [said for said in notices(world) if said["subscription"] == made["id"]], "nobody was told that the subscription is over")
    quiet(world)
    (told,) = [said for said in notices(world) if said["subscription"] == made["id"] and said["notice"] == "subscription_deleted"]
    assert told["customer"] == HEARD
    invoices = world.provider.get("/v1/invoices", subscription=made["id"])["data"]
    assert sum(line["quantity"] for invoice in invoices for line in invoice["lines"]["data"]) == CALLS
    until(lambda: ended(world, HEARD), "the binding never ended")
    before = bound(world, HEARD)
    happened = world.provider.get("/v1/events", limit=100)["data"]
    assert {play(world, said) for said in happened} == {200}
    world.kill("webhooks")
    until(lambda: world.state.process("webhooks").restarts and world.state.process("webhooks").state == "running", "the receiver is not back")
    # Newest first: the subscription's end before its beginning, to a receiver that remembers none of it.
    assert {play(world, said) for said in happened} == {200}
    assert play(world, happened[0], secret="whsec_of_somebody_else") == 400
    assert bound(world, HEARD) == before
    repeated = [said for said in notices(world) if said["subscription"] == made["id"] and said["notice"] == "subscription_deleted"]
    assert {said["id"] for said in repeated} == {told["id"]}
    assert_all_agree(world)


def test_a_test_clock_is_followed(world: World) -> None:
    """A customer on a test clock learns its time when it is bound and whenever the clock moves: `tidemark.clock` stands in the log for it."""
    provider = world.provider
    frozen_s = int(time.time()) - 40 * 86_400
    clock = provider.post("/v1/test_helpers/test_clocks", frozen_time=frozen_s)["id"]
    subscribe(world, TIMED, price(world), test_clock=clock)
    until(lambda: times(world) == [frozen_s], "the clock's time never came")
    for days in (1, 3):
        provider.post(f"/v1/test_helpers/test_clocks/{clock}/advance", frozen_time=frozen_s + days * 86_400)
        until(lambda: provider.get(f"/v1/test_helpers/test_clocks/{clock}")["status"] == "ready", "the clock is not ready")
    until(lambda: times(world)[-1] == frozen_s + 3 * 86_400, "the clock's time was not followed")
    assert times(world) == sorted(set(times(world)))
    assert_all_agree(world)


def times(world: World) -> list[int]:
    """What the clock of that customer showed, as put in force by the meter."""
    said = [json.loads(record.value) for record in wire.read_log(world.bootstrap, "usage.definitions").records if record.value is not None]
    return [each["now_s"] for each in said if each["kind"] == "clock" and each["customer"] == TIMED]
