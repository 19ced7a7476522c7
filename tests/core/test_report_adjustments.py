"""Law 16 in the delivery machine: what a final cell's late totals become, who settles them, and that nobody is called for them."""

from __future__ import annotations

from typing import Any

import pytest

from tests.core.report_world import ANCHOR_S, START_S, World, binding, item_of
from tests.core.test_report_receipts import CELL, HOUR_S, KEY, cell, counts, emit, states
from topics.adjustments import Adjustment, Settlement, SettleRecord, adjustment_id
from topics.clocks import ClockVersion
from topics.codec import encode
from topics.invoices import Invoice, InvoiceRecord
from topics.periods import period_at
from topics.receipt import CellReceipt, decode_receipt

PERIOD = period_at(ANCHOR_S, "month", 1, START_S)


def billed_world(**item: Any) -> World:
    """Customer `acme` on item `si_1`, 5 units of one hour delivered."""
    world = World(1)
    world.definitions.append(binding("acme", item_of("si_1", **item)))
    emit(world, 5, 1)
    world.settle()
    return world


def invoice(status: Any = "open", name: str = "in_1", **more: Any) -> Invoice:
    """An invoice of the customer's period."""
    fields: dict[str, Any] = {
        "invoice": name, "subscription": "sub_1", "status": status, "period_start_s": PERIOD.start_s, "period_end_s": PERIOD.end_s, "seen_at_s": 1
    } | more  # fmt: skip
    return Invoice(customer="acme", said=InvoiceRecord(**fields), offset=9)


def settle(world: World, units: str, settled: str, how: str = "waived") -> None:
    """An operator settles so much of the one cell's adjustment, having seen `settled`."""
    said = SettleRecord(target=KEY.decode(), units=units, settled=settled, how=how)
    world.define(Settlement(customer="acme", said=said, offset=100 + len(world.definitions)))
    work(world)


def work(world: World) -> None:
    """The worker does what it has to do, with time to spare."""
    assert world.worker is not None
    world.stripe.sticky = lambda _key: False
    for _ in range(60):
        world.step(world.worker)


def late(world: World, units: int, through: int) -> None:
    """A late total, handled until all is committed."""
    emit(world, units, through)
    world.settle()


def adjustment(world: World) -> Adjustment:
    """The one cell's adjustment."""
    found = cell(world).adjustment
    assert found is not None
    return found


def test_a_late_total_of_a_final_cell_is_an_adjustment() -> None:
    """Finalise, then +7: the cell stays, nobody is called, and the receipt says +7, why, and on which invoice (H28)."""
    world = billed_world()
    world.define(invoice())
    late(world, 12, 2)
    assert (world.standing(), world.stripe.posts) == ({("si_1", HOUR_S): 5}, 1)
    found = adjustment(world)
    assert (found.units, found.standing, found.cause, found.policy, found.invoice) == ("7", "5", "after_finalization", "hold", "in_1")
    assert found.id == adjustment_id("stripe", "default", CELL)
    assert (cell(world).state, cell(world).outcome, cell(world).units) == ("adjustment", "open", "12")
    assert counts(world) == {"parked": 1}
    assert world.worker is not None and world.worker.machine.tally.adjustments == 1


def test_an_adjustment_grows_and_is_one() -> None:
    """+7, then +3 more is one adjustment of +10 under the same name; back to what stands, nothing is open."""
    world = billed_world()
    world.define(invoice())
    late(world, 12, 2)
    first = adjustment(world)
    late(world, 15, 3)
    assert (adjustment(world).units, adjustment(world).id, adjustment(world).since_ms) == ("10", first.id, first.since_ms)
    late(world, 5, 4)
    assert (adjustment(world).units, counts(world)) == ("0", {"delivered": 1})
    late(world, 2, 5)
    assert (adjustment(world).units, counts(world), world.stripe.posts) == ("-3", {"parked": 1}, 1)


def test_the_invoice_may_become_known_later() -> None:
    """What the end of the period made an adjustment names its invoice once there is one, and keeps its cause."""
    world = billed_world()
    world.pass_time((PERIOD.end_s + 1) * 1000 - world.now_ms)
    late(world, 12, 2)
    assert (adjustment(world).cause, adjustment(world).invoice) == ("late_event", "")
    world.define(invoice("draft"))
    world.define(invoice("paid"))
    work(world)
    assert (adjustment(world).cause, adjustment(world).invoice, adjustment(world).units) == ("late_event", "in_1", "7")


def test_a_total_that_waited_over_the_end_of_its_period_is_not_sent() -> None:
    """Stripe down until the period ends: the total is an adjustment as `period_closed`, and no request is refused for its timestamp."""
    world = World(1)
    world.definitions.append(binding("acme", item_of("si_1")))
    emit(world, 5, 1)
    world.stripe.is_down = True
    world.start()
    world.feed()
    world.pass_time(PERIOD.end_s * 1000 - world.now_ms)
    world.settle()
    assert (cell(world).state, adjustment(world).cause, adjustment(world).units) == ("adjustment", "period_closed", "5")
    assert world.standing() == {} and world.stripe.posts == 0


def test_the_last_second_of_a_period_is_still_sent() -> None:
    """Until the period's end, and not from it on, a total goes out."""
    world = billed_world()
    world.pass_time(PERIOD.end_s * 1000 - 60_000 - world.now_ms)
    late(world, 12, 2)
    assert world.standing() == {("si_1", HOUR_S): 12}


@pytest.mark.parametrize(
    "said",
    [
        invoice("draft"),
        invoice("upcoming"),
        invoice(subscription="sub_2"),
        invoice(items=("si_2",)),
        invoice(period_end_s=HOUR_S),
        invoice(period_start_s=HOUR_S + 1),
        invoice(account="other"),
        invoice(provider="other"),
    ],
    ids=("draft", "upcoming", "subscription", "items", "before", "after", "account", "provider"),
)
def test_other_invoices_make_no_cell_final(said: Invoice) -> None:
    """A draft, and an invoice of another subscription, item, period, account or provider, leaves the cell as it is: the total goes out."""
    world = billed_world()
    world.define(said)
    late(world, 12, 2)
    assert (world.standing(), cell(world).state) == ({("si_1", HOUR_S): 12}, "delivered")


def test_an_invoice_of_the_item_alone_is_enough() -> None:
    """An invoice that names the item makes its cells final, whatever subscription it says."""
    world = billed_world()
    world.define(invoice(subscription="", items=("si_1",)))
    late(world, 12, 2)
    assert adjustment(world).units == "7"


def test_a_customer_on_a_test_clock_is_not_judged_by_ours() -> None:
    """Where the binding names a test clock our own time ends no period; its invoice does."""
    world = billed_world(clock="clock_1")
    world.pass_time((PERIOD.end_s + 86_400) * 1000 - world.now_ms)
    late(world, 12, 2)
    assert world.standing() == {("si_1", HOUR_S): 12}
    world.define(invoice())
    late(world, 13, 3)
    assert (adjustment(world).units, cell(world).clock) == ("1", "clock_1")


@pytest.mark.parametrize(("clock", "now_s", "held"), [("clock_1", 0, 5), ("clock_1", -1, 12), ("clock_2", 0, 12)])
def test_a_test_clock_ends_its_periods_itself(clock: str, now_s: int, held: int) -> None:
    """What comes after the clock itself has shown the period's end is sent to nobody; a second before it, or by another clock's word, it goes out."""
    world = billed_world(clock="clock_1")
    said: dict[str, Any] = {"future_ms": 300_000, "final_until_us": 0, "ahead_until_us": 1, "log_final_s": 0, "offset": 9}
    world.define(ClockVersion(customer="acme", clock=clock, now_s=PERIOD.end_s + now_s, **said))
    late(world, 12, 2)
    assert world.standing() == {("si_1", HOUR_S): held}
    assert cell(world).reason == ("period_closed" if held == 5 else "")


def test_an_open_intent_is_resolved_before_the_adjustment() -> None:
    """A cell whose invoice becomes final while its call is under way ends its call first; what then stands is what the adjustment is counted from."""
    world = billed_world()
    emit(world, 9, 2)
    world.feed()
    assert world.worker is not None
    world.lost_replies = 2.0
    for _ in range(20):
        world.step(world.worker)
    assert cell(world).state == "intent"
    world.define(invoice())
    emit(world, 12, 3)
    world.settle()
    assert states(world)[-3:] == ["intent", "delivered", "adjustment"]
    assert (world.standing(), adjustment(world).units) == ({("si_1", HOUR_S): 9}, "3")


def test_a_settlement_acts_once_and_only_on_what_was_seen() -> None:
    """Settled +7 of +7 is closed; more that comes is open again; a second settlement of the same sight changes nothing, also after a restart."""
    world = billed_world()
    world.define(invoice())
    late(world, 12, 2)
    settle(world, "7", "0", "in_manual")
    assert (adjustment(world).units, adjustment(world).settled, adjustment(world).how) == ("0", "7", "in_manual")
    assert (cell(world).outcome, counts(world)) == ("settled", {"delivered": 1})
    settle(world, "7", "0", "again")
    assert (adjustment(world).settled, adjustment(world).how) == ("7", "in_manual")
    late(world, 15, 3)
    assert (adjustment(world).units, counts(world)) == ("3", {"parked": 1})
    settle(world, "-7", "7", "taken back")
    assert (adjustment(world).units, adjustment(world).settled) == ("10", "0")
    world.kill()
    world.settle()
    assert (adjustment(world).units, adjustment(world).settled) == ("10", "0")


def test_a_restart_changes_no_adjustment() -> None:
    """Whoever takes the partition over reads the adjustment from the receipts, writes no record and calls nobody."""
    world = billed_world()
    world.define(invoice())
    late(world, 12, 2)
    before = len(world.log)
    for _ in range(3):
        world.kill()
        world.settle()
    assert (len(world.log), world.stripe.posts, adjustment(world).units) == (before, 1, "7")


def test_a_total_that_is_what_stands_adjusts_nothing() -> None:
    """A higher revision with the same units is delivered as it is, without a call."""
    world = billed_world()
    world.define(invoice())
    late(world, 5, 2)
    assert (cell(world).state, cell(world).reason, cell(world).adjustment, world.stripe.posts) == ("delivered", "no_change", None, 1)
    assert counts(world) == {"delivered": 1}


def test_what_is_refused_and_becomes_final_is_an_adjustment() -> None:
    """A cell that was refused for another reason is owed in full once its invoice is final; no release sends it then."""
    world = World(1)
    world.definitions.append(binding("acme", item_of("si_1")))
    world.stripe.refuse["si_1"] = (404, {"code": "resource_missing", "message": "No such subscription_item", "type": "invalid_request_error"})
    emit(world, 5, 1)
    world.settle()
    assert cell(world).state == "refused"
    world.define(invoice())
    work(world)
    assert (cell(world).state, adjustment(world).units) == ("adjustment", "5")
    del world.stripe.refuse["si_1"]
    world.release(KEY)
    work(world)
    assert (world.stripe.posts, adjustment(world).units) == (1, "5")


def test_what_may_stand_stays_in_sight_until_it_is_settled() -> None:
    """An attempt that ended in a saved failure may stand: the adjustment says so, is open even at 0, and a settlement ends it."""
    world = billed_world()
    world.stripe.sticky = lambda _key: True
    emit(world, 9, 2)
    world.feed()
    assert world.worker is not None
    for _ in range(4000):
        if cell(world).state == "failed":
            break
        world.step(world.worker)
        world.pass_time(200)
    world.define(invoice())
    work(world)
    found = cell(world)
    assert (found.state, found.maybe, found.outcome) == ("adjustment", ("9",), "open")
    late(world, 5, 3)
    assert (adjustment(world).units, counts(world)) == ("0", {"parked": 1})
    settle(world, "0", "0", "looked at the invoice")
    assert (cell(world).maybe, counts(world)) == ((), {"delivered": 1})


def test_a_fraction_is_parked_as_it_always_was() -> None:
    """A total that is no whole number has no units to adjust: it is parked with its reason, once, and settlements do not touch it."""
    world = billed_world()
    world.define(invoice())
    late(world, 12, 2)
    world.source.append(_half(world, 3))
    world.settle()
    assert (cell(world).state, cell(world).reason) == ("parked", "fraction")
    before = len(world.log)
    settle(world, "7", "0")
    assert len(world.log) == before
    late(world, 13, 4)
    assert (cell(world).state, adjustment(world).units, adjustment(world).settled) == ("adjustment", "1", "7")


def _half(_world: World, through: int) -> Any:
    from tests.core.report_world import total_of
    from topics.quantity import ONE

    return total_of("acme", HOUR_S, 25 * ONE // 2, through)


def test_receipts_of_before_are_read_as_they_were() -> None:
    """A receipt without the newer fields holds no adjustment; one that was refused for its period becomes one, with all of it open."""
    old = cell(billed_world())
    plain = encode(old).replace(b'"late":"hold",', b"").replace(b'"clock":"","price":"",', b"").replace(b'"adjustment":null,', b"")
    body, _, _ = plain.rpartition(b',"crc":"')
    read = decode_receipt(body.replace(b'"v":2', b'"v":1') + b"}", "here")
    assert isinstance(read, CellReceipt)
    assert read == old
