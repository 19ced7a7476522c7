"""The three errors that pipelines of this kind are known for: what happens, what a user sees, and what ends it.

No subscription items · a timestamp too far in the past · a duplicate idempotency key.
"""

from __future__ import annotations

from itertools import product
from pathlib import Path
from typing import Any

from sinks.keys import idempotency_key
from sinks.outcomes import WantedEvent, outcome_of
from sinks.stripe.binding import sync
from sinks.stripe.request import METER_EVENTS_PATH, meter_event_body
from sinks.stripe.suitability import Terms
from tests.contract.stripe_bench import bench
from tests.core.report_world import ANCHOR_S, START_S, World, binding, item_of, total_of
from topics.quantity import ONE
from topics.receipt import CellReceipt, MeterTarget, WindowReceipt

DAY_S = 86_400


def counts(world: World) -> dict[str, int]:
    """What `tidemark status` counts of the report."""
    assert world.worker is not None
    found: dict[str, int] = world.worker.machine.tally.counts()
    return found


# ── no subscription items ────────────────────────────────────────────────────────────────────────────────────────────
def test_a_customer_without_an_item_waits_and_is_billed_later() -> None:
    """Nobody is called for a customer whom no item bills: the window is counted as unbound, is shown with its reason, and is delivered once the
    item is there."""
    world = World(1)
    world.source = [total_of("acme", START_S, 5 * ONE, 1)]
    world.settle()
    assert counts(world) == {"delivered": 0, "undelivered": 0, "parked": 0, "unbound": 1} and world.stripe.posts == 0
    (shown,) = [receipt for receipt in world.compacted() if isinstance(receipt, WindowReceipt)]
    assert (shown.customer, shown.reason) == ("acme", "unbound") and shown.sentence
    world.define(binding("acme", item_of("si_1")))
    world.settle()
    assert counts(world)["unbound"] == 0 and world.standing() == {("si_1", START_S): 5}


async def test_an_item_that_is_gone_at_stripe_parks_its_windows(tmp_path: Path) -> None:
    """An item that does not exist is refused in Stripe's own words, parks only its own windows and blocks nobody; sync shows who has no item."""
    async with bench(tmp_path) as stripe:
        gone = await stripe.report(5, "k1", item="si_gone")
        assert (gone.name, gone.reason) == ("refused", "no_such_item") and "No such subscription_item: 'si_gone'" in gone.sentence
        assert (await stripe.call(sync, stripe.eras, [Terms("calls")])).items == {}
    world = World(2)
    for customer, item in (("acme", "si_gone"), ("zen", "si_2")):
        world.definitions.append(binding(customer, item_of(item)))
    world.stripe.refuse["si_gone"] = (404, {"type": "invalid_request_error", "code": "resource_missing", "message": gone.sentence})
    world.source = [total_of("acme", START_S, 5 * ONE, 1), total_of("zen", START_S, 7 * ONE, 2)]
    world.settle()
    assert counts(world) == {"delivered": 1, "undelivered": 0, "parked": 1, "unbound": 0} and world.standing() == {("si_2", START_S): 7}
    (held,) = [receipt for receipt in world.compacted() if isinstance(receipt, CellReceipt) and receipt.state == "refused"]
    assert (held.item, held.reason, held.sentence) == ("si_gone", "no_such_item", gone.sentence)


# ── timestamp too far in the past ────────────────────────────────────────────────────────────────────────────────────
async def test_a_timestamp_before_the_period_is_an_end_and_no_retry(tmp_path: Path) -> None:
    """A usage record for an earlier period is refused once, with Stripe's sentence, as a closed period: it is never sent again, and never moved
    into another period to please the provider."""
    async with bench(tmp_path) as stripe:
        answer = await stripe.report(5, "k1", second=-40 * DAY_S)
        assert answer.name == "period_closed" and "timestamp" in answer.sentence and stripe.item not in answer.reason


def test_a_window_before_the_subscription_is_parked_without_a_call() -> None:
    """Usage from before a customer's first period is not billable and is not tried: it is parked with that reason, where a person sees it."""
    world = World(3)
    world.definitions.append(binding("acme", item_of("si_1")))
    world.source = [total_of("acme", ANCHOR_S - 7200, 5 * ONE, 1), total_of("acme", START_S, ONE, 2)]
    world.settle()
    assert world.standing() == {("si_1", START_S): 1} and counts(world)["parked"] == 1
    assert {receipt.reason for receipt in world.compacted() if isinstance(receipt, WindowReceipt)} == {"before_period"}


async def test_a_meter_event_that_is_too_old_is_an_end_and_no_retry(tmp_path: Path) -> None:
    """A meter event older than Stripe takes (35 days) is refused once as a closed period; what is a little ahead of Stripe's clock is tried again."""
    async with bench(tmp_path) as stripe:
        await stripe.call(
            stripe.modern.post, "/v1/billing/meters", display_name="calls", event_name="calls", default_aggregation={"formula": "sum"}
        )
        customer = str((await stripe.call(stripe.modern.post, "/v1/customers", name="acme"))["id"])

        async def sent(at_s: int) -> Any:
            body = meter_event_body(MeterTarget(aggregation="sum", event_name="calls", customer=customer), "5", f"i{at_s}", at_s)
            answer = await stripe.call(stripe.access.report, METER_EVENTS_PATH, body, f"k{at_s}", lambda: True)
            return outcome_of(answer, WantedEvent("calls", f"i{at_s}", at_s, {"value": "5", "stripe_customer_id": customer}))

        assert (await sent(stripe.now_s - 60)).name == "delivered"
        assert (await sent(stripe.now_s - 36 * DAY_S)).name == "period_closed"
        assert (await sent(stripe.now_s + 3600)).name == "retry_after"


# ── duplicate idempotency key ────────────────────────────────────────────────────────────────────────────────────────
async def test_a_key_that_comes_twice_is_told_apart(tmp_path: Path) -> None:
    """The same key with the same bytes is answered as before and counts once; with other bytes Stripe refuses, and the cell is frozen as a defect
    of ours instead of being sent under a new key."""
    async with bench(tmp_path) as stripe:
        assert (await stripe.report(5, "k1")).name == "delivered"
        assert (await stripe.report(5, "k1")).name == "already_delivered"
        other = await stripe.report(6, "k1")
        assert (other.name, other.reason) == ("conflict", "idempotency_error") and "same parameters" in other.sentence
        assert sum((await stripe.sandbox.cells(stripe.item)).values()) == 5


def test_no_correction_ever_meets_an_old_key() -> None:
    """Every revision, quantity and attempt has a key of its own, so that a correction is never swallowed as a duplicate: after a hundred revisions
    of a window, with answers lost on the way, Stripe has seen no key with two bodies and holds the last total."""
    requests = product(range(5), range(5), range(3))
    assert len({idempotency_key("stripe", "default", "cell", *request) for request in requests}) == 75
    world = World(4)
    world.definitions.append(binding("acme", item_of("si_1")))
    world.lost_replies = 0.3
    world.start()
    for revision in range(100):
        world.source.append(total_of("acme", START_S, (revision + 1) * ONE, revision))
        world.run()
    world.settle()
    assert world.stripe.errors == [] and world.standing() == {("si_1", START_S): 100}
