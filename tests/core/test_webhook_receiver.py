"""The receiver: what a webhook makes true, whatever is late, repeated, out of order, raced or interrupted."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from typing import Any

import pytest

from infra.control import binding_event
from infra.sandbox.webhook_signing import signed
from infra.webhooks.binder import Binder
from infra.webhooks.limiter import ALLOWED
from infra.webhooks.provider import Provider
from infra.webhooks.receiver import REMEMBERED, Receiver, Reply
from infra.webhooks.runner import Runner
from tests.core.webhook_log import FoldedLog
from tests.core.webhook_world import DAY_S, START_S, TERMS, World
from topics.bindings import BINDING_TYPE, Item
from topics.clocks import CLOCK_TYPE
from topics.home import home_of
from topics.invoices import INVOICE_TYPE
from topics.meter_errors import METER_ERROR_TYPE

SECRET = "whsec_test"
NOW_S = 1_800_000_000.0
FOREVER_MS = 10**15


class Stand:
    """A receiver over a world and a log; `receiver` can be replaced, as a restart does."""

    def __init__(self, explicit: tuple[str, ...] = ()) -> None:
        self.world, self.log, self.explicit = World(), FoldedLog(), explicit
        self.world.customer()
        self.restart()

    def restart(self) -> None:
        """A process that remembers nothing."""
        provider = Provider(self.world.eras, TERMS, {})
        self.receiver = Receiver(Runner(provider, self.log, Binder(provider, self.log, self.explicit, FOREVER_MS)), (SECRET,))

    async def post(self, body: bytes) -> Reply:
        """A webhook, rightly signed."""
        return await self.receiver.take(body, signed(body, [SECRET], int(NOW_S)), NOW_S)

    @property
    def items(self) -> list[Item | None]:
        """What acme is bound to, by the newest versions."""
        held = self.log.states[home_of(b"acme", self.log.partitions)].definitions
        return [versions[-1].item for (owner, _), versions in sorted(held.items.items()) if owner == "acme"]

    def facts(self) -> Any:
        """All that is in force, without offsets, and the notices."""
        states = [state.definitions for state in self.log.states]
        digests = [sorted(held.customer_digests.items()) for held in states]
        invoices = [sorted((key, held.said) for key, held in state.invoices.items()) for state in states]
        return digests, invoices, {notice.id: notice for notice in self.log.notices()}


async def test_a_subscription_is_bound_when_it_is_made() -> None:
    """`created` puts the customer's items in force under the name in its metadata, before Stripe is answered."""
    stand = Stand()
    reply = await stand.post(stand.world.subscribe())
    assert (reply.status, reply.outcome) == (200, "bound")
    (item,) = stand.items
    assert item is not None
    assert (item.item, item.price, item.stripe_customer, item.period_anchor_s) == ("si_1", "price_1", "cus_1", START_S)
    assert (await stand.post(stand.world.subscribe(event="updated"))).outcome == "unchanged"
    assert len(stand.log.of(BINDING_TYPE)) == 1


async def test_a_stale_payload_is_never_believed() -> None:
    """A webhook that says what a subscription was makes true what it is."""
    stand = Stand()
    stale = stand.world.subscribe(item="si_old")
    stand.world.subscribe(item="si_new", event="updated")
    await stand.post(stale)
    (item,) = stand.items
    assert item is not None
    assert item.item == "si_new"


async def test_a_lost_race_is_run_again() -> None:
    """Where somebody else's binding reaches the log first, ours is refused, read again and put in force."""
    stand = Stand()
    body = stand.world.subscribe()
    other = Item(meter="calls", item="si_other", period_anchor_s=START_S)
    home = home_of(b"acme", stand.log.partitions)

    def overtaken() -> None:
        stand.log.fold(home, *binding_event("acme", (other,), None)[:2])

    stand.log.before.append(overtaken)
    assert (await stand.post(body)).outcome == "bound"
    assert len(stand.log.refusals) == 1
    assert [item.item for item in stand.items if item is not None] == ["si_1"]


async def test_nothing_is_answered_200_before_it_is_true() -> None:
    """Kafka down, Stripe down, no meter: 503 each time, and when all are back the same webhook does it."""
    stand = Stand()
    body = stand.world.subscribe()
    for trouble in ("log.down", "world.down", "log.unanswered"):
        owner, name = trouble.split(".")
        setattr(getattr(stand, owner), name, True)
        assert (await stand.post(body)).status == 503, trouble
        setattr(getattr(stand, owner), name, False)
    assert stand.items == []
    assert (await stand.post(body)).outcome == "bound"
    assert (await Receiver(None, (SECRET,)).take(body, signed(body, [SECRET], int(NOW_S)), NOW_S)).status == 503


async def test_the_file_wins() -> None:
    """A customer whose items the configuration names is not bound by webhooks."""
    stand = Stand(explicit=("acme",))
    assert (await stand.post(stand.world.subscribe())).outcome == "explicit"
    assert stand.log.records == []


async def test_a_customer_with_two_accounts_at_stripe_keeps_both() -> None:
    """A webhook of one Stripe customer leaves what the same customer of ours has under another in force."""
    stand = Stand()
    await stand.post(stand.world.subscribe())
    stand.world.customer("cus_2")
    await stand.post(stand.world.subscribe("sub_2", customer="cus_2", item="si_2", of="price_2"))
    assert sorted(item.item for item in stand.items if item is not None) == ["si_1", "si_2"]


async def test_what_cannot_be_bound_leaves_the_binding() -> None:
    """A subscription whose price would bill wrongly changes nothing that is in force."""
    stand = Stand()
    await stand.post(stand.world.subscribe())
    before = stand.items
    body = stand.world.subscribe(event="updated")
    stand.world.objects["/v1/subscriptions/sub_1"]["items"]["data"][0]["price"]["recurring"]["aggregate_usage"] = "max"
    assert (await stand.post(body)).outcome == "unbound"
    assert stand.items == before


async def test_a_deleted_subscription_is_bound_to_its_end_and_told() -> None:
    """`deleted` puts the end into the binding and a notice on the customer's topic, also where the customer is deleted too."""
    stand = Stand()
    await stand.post(stand.world.subscribe())
    ended: dict[str, Any] = {"status": "canceled", "ended_at": START_S + DAY_S}
    body = stand.world.subscribe(event="deleted", **ended)
    stand.world.objects["/v1/customers/cus_1"] = {"id": "cus_1", "object": "customer", "deleted": True}
    assert (await stand.post(body)).outcome == "bound"
    assert [item.ends_at_s for item in stand.items if item is not None] == [START_S + DAY_S]
    (notice,) = stand.log.notices()
    assert (notice.notice, notice.customer, notice.subscription, notice.id) == ("subscription_deleted", "acme", "sub_1", "evt_1")


async def test_an_invoice_says_what_period_it_ends() -> None:
    """`finalized` publishes the invoice's status, its items and the period of its metered lines."""
    stand = Stand()
    await stand.post(stand.world.subscribe())
    await stand.post(stand.world.invoice("open", "finalized", at_s=60))
    (event,) = stand.log.of(INVOICE_TYPE)
    said = event.data
    assert isinstance(said, dict)
    end_s = START_S + 30 * DAY_S
    assert (said["invoice"], said["status"], said["items"]) == ("in_1", "open", ["si_1"])
    assert (said["period_start_s"], said["period_end_s"], said["finalized_at_s"], said["seen_at_s"]) == (START_S, end_s, end_s + 60, end_s + 60)


async def test_the_first_invoice_ends_no_period() -> None:
    """The empty line of the period that just begins, on a subscription's first invoice, is no usage that has been billed."""
    stand = Stand()
    await stand.post(stand.world.subscribe())
    reply = await stand.post(stand.world.invoice("paid", "paid", created=START_S))
    assert reply.outcome == "nothing"
    assert stand.log.of(INVOICE_TYPE) == []


async def test_strangers_invoices_are_no_business_of_ours() -> None:
    """An invoice of prices that bill no meter of ours is neither a fact nor a notice."""
    stand = Stand()
    body = stand.world.invoice("paid", "paid")
    stand.world.objects["/v1/invoices/in_1"]["lines"]["data"][0]["price"]["id"] = "price_other"
    assert (await stand.post(body)).outcome == "nothing"
    assert stand.log.records == []


async def test_payments_are_told_once_they_are_so() -> None:
    """A failed payment is told while the invoice is unpaid; coming late, after it was paid, it is not; the payment is."""
    stand = Stand()
    await stand.post(stand.world.subscribe())
    failed = stand.world.invoice("open", "payment_failed", at_s=1)
    await stand.post(failed)
    late = stand.world.invoice("open", "payment_failed", at_s=2)
    paid = stand.world.invoice("paid", "paid", at_s=3)
    await stand.post(late)
    await stand.post(paid)
    assert [(notice.notice, notice.id, notice.amount_due) for notice in stand.log.notices()] == [
        ("payment_failed", "evt_1", 500),
        ("payment_succeeded", "evt_3", 500),
    ]


async def test_an_invoice_to_come_is_read_from_the_subscription() -> None:
    """`upcoming` has no id: what it says is the period that runs now."""
    stand = Stand()
    stand.world.subscribe()
    body = stand.world.happen("invoice.upcoming", {"object": "invoice", "customer": "cus_1", "subscription": "sub_1"})
    assert (await stand.post(body)).outcome == "invoice"
    (event,) = stand.log.of(INVOICE_TYPE)
    assert isinstance(event.data, dict)
    assert (event.data["status"], event.data["period_end_s"]) == ("upcoming", START_S + 30 * DAY_S)


async def test_a_test_clock_is_told_to_who_lives_by_it() -> None:
    """A clock's new time goes to every customer bound to it, and a new binding on a clock is followed by its time."""
    stand = Stand()
    clock = {"id": "clock_1", "object": "test_helpers.test_clock", "frozen_time": START_S + 5, "status": "ready"}
    stand.world.objects["/v1/test_helpers/test_clocks/clock_1"] = clock
    ready = stand.world.happen("test_helpers.test_clock.ready", clock)
    assert (await stand.post(ready)).outcome == "nothing"
    await stand.post(stand.world.subscribe(test_clock="clock_1"))
    assert [(event.subject, event.data) for event in stand.log.of(CLOCK_TYPE)] == [("acme", {"v": 1, "clock": "clock_1", "now_s": START_S + 5})]
    clock["frozen_time"] = START_S + 9
    again = stand.world.happen("test_helpers.test_clock.advancing", {**clock, "frozen_time": START_S + 5})
    assert (await stand.post(again)).outcome == "clock"
    assert [event.data["now_s"] for event in stand.log.of(CLOCK_TYPE) if isinstance(event.data, dict)] == [START_S + 5, START_S + 9]


def thin(stand: Stand) -> bytes:
    """A thin event about two refused meter events, and its webhook."""
    samples = [
        {"error_message": "no customer", "request": {"identifier": "key-1"}},
        {"error_message": "no", "request": {"id": "req_1", "idempotency_key": "key-2"}},
    ]
    types = [{"code": "meter_event_no_customer_defined", "error_count": 7, "sample_errors": samples}]
    event: dict[str, Any] = {"id": "evt_thin", "object": "v2.core.event", "type": "v1.billing.meter.error_report_triggered", "livemode": False}
    stand.world.objects["/v2/core/events/evt_thin"] = {**event, "data": {"reason": {"error_count": 7, "error_types": types}}}
    return json.dumps({**event, "related_object": {"id": "mtr_1"}}).encode()


async def test_a_meters_errors_come_back_by_their_keys() -> None:
    """A thin event is fetched, and its codes and idempotency keys are told to every partition."""
    stand = Stand()
    assert (await stand.post(thin(stand))).outcome == "meter_error"
    events = stand.log.of(METER_ERROR_TYPE)
    assert len(events) == stand.log.partitions
    assert isinstance(events[0].data, dict)
    assert (events[0].data["code"], events[0].data["count"], events[0].data["keys"]) == ("meter_event_no_customer_defined", 7, ["key-1", "key-2"])
    assert len({event.id for event in events}) == 1


async def test_what_does_not_concern_us_is_taken_and_counted() -> None:
    """Unknown types, events of the other mode and objects without a usable id are answered 200 and do nothing."""
    stand = Stand()
    live = json.dumps({**json.loads(stand.world.subscribe()), "livemode": True}).encode()
    odd = stand.world.happen("invoice.paid", {"id": "../customers/cus_1"})
    for body in (stand.world.happen("customer.created", {"id": "cus_1"}), live, odd):
        assert await stand.post(body) == Reply(200, "ignored")
    assert (stand.receiver.counts["ignored"], stand.world.calls, stand.log.records) == (3, [], [])


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"{", b"\xff", b'{"id":"evt_1","type":"invoice.paid"}', b'{"id":1,"object":"event","type":"a","created":1}']
)
async def test_signed_nonsense_is_refused(body: bytes) -> None:
    """What is rightly signed and none of Stripe's events is 400, and does nothing."""
    stand = Stand()
    assert (await stand.post(body)).outcome == "malformed"


async def test_a_wrong_signature_does_nothing() -> None:
    """Whatever is not rightly signed is 400, touches neither Stripe nor the log, and beyond a number a minute is 429; right ones still pass."""
    stand = Stand()
    body = stand.world.subscribe()
    replies = [await stand.receiver.take(body, signed(body, ["whsec_other"], int(NOW_S)), NOW_S) for _ in range(ALLOWED + 1)]
    assert [reply.status for reply in replies] == [400] * ALLOWED + [429]
    assert (stand.world.calls, stand.log.records, stand.receiver.counts["bad_signature"]) == ([], [], ALLOWED + 1)
    assert (await stand.post(body)).outcome == "bound"


async def test_a_second_delivery_asks_nobody() -> None:
    """An event that was done is answered at once; one that failed is said in the status until it was done when it came again."""
    stand = Stand()
    body = stand.world.subscribe()
    stand.world.down = True
    assert (await stand.post(body)).status == 503
    assert json.loads(body)["id"] in (stand.receiver.trouble or "")
    stand.world.down = False
    assert (await stand.post(body)).outcome == "bound"
    assert stand.receiver.trouble is None
    asked = len(stand.world.calls)
    assert await stand.post(body) == Reply(200, "repeated")
    assert len(stand.world.calls) == asked
    assert REMEMBERED > 1


@pytest.mark.parametrize("seed", range(40))
async def test_any_order_and_repetition_ends_in_the_same_facts(seed: int) -> None:
    """Webhooks that come late, twice, out of order and over restarts leave the bindings and invoices that one delivery of each in order leaves."""
    draw = random.Random(seed)
    plain, wild = Stand(), Stand()
    for stand, is_wild in ((plain, False), (wild, True)):
        world, waiting = stand.world, list[bytes]()
        for step in STEPS:
            waiting.append(step(world))
            while is_wild and draw.random() < 0.6:
                await stand.post(draw.choice(waiting))
            if is_wild and draw.random() < 0.3:
                stand.restart()
        rest = draw.sample(waiting, len(waiting)) if is_wild else waiting
        for body in rest + (draw.choices(waiting, k=3) if is_wild else []):
            assert (await stand.post(body)).status == 200
    (digests, invoices, notices), (wild_digests, wild_invoices, wild_notices) = plain.facts(), wild.facts()
    assert (wild_digests, wild_invoices) == (digests, invoices)
    # A failed payment is told while it stands; once the invoice is paid it is not told any more.
    assert wild_notices.keys() - {"evt_4"} == notices.keys() - {"evt_4"}
    assert {notice.notice for key, notice in wild_notices.items() if key != "evt_4"} == {"payment_succeeded", "subscription_deleted"}


STEPS: tuple[Callable[[World], bytes], ...] = (
    lambda world: world.subscribe(),
    lambda world: world.subscribe(event="updated", item="si_2"),
    lambda world: world.invoice("draft", "created"),
    lambda world: world.invoice("open", "finalized", at_s=60),
    lambda world: world.invoice("open", "payment_failed", at_s=60),
    lambda world: world.invoice("paid", "paid", at_s=90),
    lambda world: world.subscribe(event="deleted", item="si_2", status="canceled", ended_at=START_S + 40 * DAY_S),
)
"""What happens at Stripe, each with its webhook."""
