"""Law 16 in the delivery machine: adjustments that are billed elsewhere, once, to the cent, whoever dies when."""

from __future__ import annotations

import random
from fractions import Fraction
from typing import Any

import pytest

from sinks.remedy_calls import CreditLine, Quote
from sinks.stripe.costs import billed
from sinks.stripe.objects import Price, Tier
from tests.core.remedy_world import SECTIONS, BillingStripe, RemedyWorld, invoice
from tests.core.report_world import START_S, binding, item_of, total_of
from topics.adjustments import Adjustment, Settlement, SettleRecord
from topics.quantity import ONE
from topics.receipt import CellReceipt, receipt_key

DAY_MS = 86_400_000
TIERED = Price(
    "price_2", billing_scheme="tiered", tiers_mode="graduated", tiers=(Tier(10, "0"), Tier(30, "2.5", "40"), Tier(None, "0.3"))
)
MISSING = (404, {"code": "resource_missing", "message": "No such customer: 'cus_1'", "type": "invalid_request_error"})


def world_of(policy: str, seed: int = 1, **items: str) -> RemedyWorld:
    """Customer `acme` on `si_1` (or others) with that policy, 20 units of one hour delivered, and its invoice final."""
    world = RemedyWorld(seed)
    for customer, item in (items or {"acme": "si_1"}).items():
        world.definitions.append(binding(customer, item_of(item, late=policy, price="price_1")))
        emit(world, 20, customer=customer)
    world.settle()
    for customer in items or {"acme": "si_1"}:
        world.define(invoice(customer))
    return world


def emit(world: RemedyWorld, units: int, hour: int = 1, customer: str = "acme") -> None:
    """A higher revision of a window's total."""
    world.source.append(total_of(customer, START_S - 3600 * hour, units * ONE, len(world.source) + 1))


def settle(world: RemedyWorld) -> None:
    """All faults heal, and the worker works until every adjustment is settled."""
    world.settle(world.is_billed)


def the_receipt(world: RemedyWorld) -> CellReceipt:
    """The one adjusted cell's newest record."""
    return next(receipt for receipt in world.receipts() if receipt.adjustment is not None)


def said(world: RemedyWorld) -> Adjustment:
    """The one adjustment."""
    found = the_receipt(world).adjustment
    assert found is not None
    return found


def amounts(world: RemedyWorld) -> list[tuple[str, int]]:
    """(units, amount) of everything that was made."""
    return [(made.units, made.amount) for made in world.stripe.made]


def test_an_adjustment_becomes_an_invoice_item() -> None:
    """+7 units at one and a half cents are one invoice item of 11 cents (20 came to 30, 27 come to 41), and the receipt names it."""
    world = world_of("invoice_item")
    emit(world, 27)
    settle(world)
    made = world.stripe.made[0]
    assert amounts(world) == [("7", 11)]
    assert (made.form["customer"], made.form["currency"], made.form["metadata[tidemark_invoice]"]) == ("cus_1", "usd", "in_1")
    assert (int(made.form["period[start]"]), int(made.form["period[end]"])) == (START_S - 3600, START_S)
    assert (said(world).units, said(world).settled, said(world).how) == ("0", "7", "invoice item ii_1, 0.11 usd")
    assert made.form["metadata[tidemark_adjustment]"] == said(world).id
    assert the_receipt(world).outcome == "settled" and world.standing() == {("si_1", START_S - 3600): 20}


def test_less_usage_is_a_negative_invoice_item() -> None:
    """−5 units are an invoice item of minus 7 cents (20 came to 30, 15 come to 23: halves go up)."""
    world = world_of("invoice_item")
    emit(world, 15)
    settle(world)
    assert amounts(world) == [("-5", -7)]


def test_each_growth_is_billed_by_itself_and_adds_up() -> None:
    """+1, +1, +1 of one and a half cents are 2, 1 and 2 cents: together what three more units on the line would have come to."""
    world = world_of("invoice_item")
    for units in (21, 22, 23):
        emit(world, units)
        settle(world)
    assert [amount for _, amount in amounts(world)] == [2, 1, 2]
    assert said(world).settled == "3" and len({made.mark for made in world.stripe.made}) == 3


def test_what_costs_nothing_is_settled_without_a_request() -> None:
    """Units that come to nothing (free, or less than half a cent) are settled in the receipt, and the next ones are priced after them."""
    world = world_of("invoice_item")
    world.stripe.price = Price("price_1", unit_amount_decimal="0.3")
    emit(world, 21)
    settle(world)
    assert amounts(world) == [] and said(world).how.startswith("nothing to bill")
    emit(world, 22)
    settle(world)
    assert amounts(world) == [("1", 1)]


def test_a_credit_note_gives_back_on_the_line() -> None:
    """−5 units of a final invoice are a credit note against its lines, the highest tier first; of a paid one the balance gets it."""
    world = world_of("credit_note")
    world.stripe.lines = (CreditLine("il_1", 25), CreditLine("il_2", 5))
    emit(world, 15)
    settle(world)
    form = world.stripe.made[0].form
    assert (world.stripe.made[0].path, form["invoice"], form["credit_amount"]) == (SECTIONS[1], "in_1", "7")
    assert [form[f"lines[{n}][invoice_line_item]"] + " " + form[f"lines[{n}][amount]"] for n in (0, 1)] == ["il_2 5", "il_1 2"]
    assert said(world).how == "credit note cn_1, -0.07 usd"


def test_an_open_invoice_just_owes_less() -> None:
    """What is still owed of the invoice is not paid back to the balance."""
    world = world_of("credit_note")
    world.stripe.lines, world.stripe.owed = (CreditLine("il_1", 30),), 4
    emit(world, 15)
    settle(world)
    assert world.stripe.made[0].form["credit_amount"] == "3"


def test_a_credit_note_cannot_charge_nor_give_back_more_than_the_line() -> None:
    """More usage under `credit_note` is an invoice item; so is what the lines cannot give back any more, with its sign."""
    world = world_of("credit_note")
    world.stripe.lines = (CreditLine("il_1", 3),)
    emit(world, 21)
    settle(world)
    emit(world, 15)
    settle(world)
    assert [(made.path, made.amount) for made in world.stripe.made] == [(SECTIONS[0], 2), (SECTIONS[0], -9)]


def test_a_credit_note_waits_for_its_invoice() -> None:
    """Until the final invoice is known there is nothing to credit; then the credit note follows by itself."""
    world = RemedyWorld(1)
    world.definitions.append(binding("acme", item_of("si_1", late="credit_note", price="price_1")))
    emit(world, 20)
    world.settle()
    world.pass_time((int(world.receipts()[0].period_end_s) + 1) * 1000 - world.now_ms)
    emit(world, 15)
    world.work()
    assert (said(world).units, said(world).invoice, world.stripe.made) == ("-5", "", [])
    world.stripe.lines = (CreditLine("il_1", 30),)
    world.define(invoice())
    settle(world)
    assert world.stripe.made[0].path == SECTIONS[1]


def test_a_held_adjustment_bills_nothing() -> None:
    """A held adjustment stays open until an operator settles it, and nobody is asked for anything."""
    world = world_of("hold")
    emit(world, 27)
    world.work()
    assert (world.stripe.made, said(world).units, said(world).remedies) == ([], "7", 0)


def test_a_refusal_is_held_with_its_words_until_a_release() -> None:
    """What Stripe refuses is open with Stripe's sentence and not sent again by itself; after a release it is, under a new name."""
    world = world_of("invoice_item")
    world.stripe.refuse[SECTIONS[0]] = MISSING
    emit(world, 27)
    world.work()
    posts = world.stripe.posts
    emit(world, 28)
    world.work()
    assert world.stripe.posts == posts and the_receipt(world).sentence == "No such customer: 'cus_1'"
    assert (said(world).units, the_receipt(world).outcome) == ("8", "open")
    world.kill()
    world.work()
    assert world.stripe.posts == posts
    del world.stripe.refuse[SECTIONS[0]]
    world.release(receipt_key(the_receipt(world)))
    settle(world)
    assert amounts(world) == [("8", 12)] and said(world).remedy is None


def test_a_price_that_cannot_be_read_holds_the_adjustment() -> None:
    """Where nobody can say what the units cost, nothing is billed: it is open with the reason until a release."""
    world = world_of("invoice_item")
    world.stripe.unpriced = "what it costs cannot be read: No such price"
    emit(world, 27)
    world.work()
    assert (world.stripe.posts, the_receipt(world).sentence) == (1, "what it costs cannot be read: No such price")
    world.stripe.unpriced = ""
    world.release(receipt_key(the_receipt(world)))
    settle(world)
    assert amounts(world) == [("7", 11)]


def test_an_operator_may_settle_what_was_refused() -> None:
    """Settled by hand, a refused adjustment is closed; what comes later is billed as if nothing had been."""
    world = world_of("invoice_item")
    world.stripe.refuse[SECTIONS[0]] = MISSING
    emit(world, 27)
    world.work()
    del world.stripe.refuse[SECTIONS[0]]
    by_hand = SettleRecord(target=receipt_key(the_receipt(world)).decode(), units="7", settled="0", how="by hand")
    world.define(Settlement(customer="acme", said=by_hand, offset=500))
    world.work()
    assert (said(world).units, said(world).how, amounts(world)) == ("0", "by hand", [])
    emit(world, 29)
    settle(world)
    assert amounts(world) == [("2", 3)]


def test_an_operators_word_waits_for_a_bill_that_is_under_way() -> None:
    """A settlement of units that are just being billed changes nothing once they are: the units are not settled twice."""
    world = world_of("invoice_item")
    world.lost_replies = 2.0
    emit(world, 27)
    world.work()
    assert said(world).remedy is not None
    by_hand = SettleRecord(target=receipt_key(the_receipt(world)).decode(), units="7", settled="0", how="by hand")
    world.define(Settlement(customer="acme", said=by_hand, offset=500))
    world.work()
    assert (said(world).settled, said(world).remedy is None) == ("0", False)
    settle(world)
    assert (said(world).settled, said(world).units, amounts(world)) == ("7", "0", [("7", 11)])


def test_an_operators_word_that_is_known_comes_before_the_policy() -> None:
    """What an operator has settled is not billed as well, where its record waits behind others: nothing is begun before it is written."""
    world = world_of("invoice_item")
    emit(world, 27)
    world.feed()
    assert world.worker is not None
    machine = world.worker.machine
    while (write := machine.next_write(world.now_ms)) is not None:
        world.commit(world.worker, write.records)
        machine.written(write, world.now_ms)
    by_hand = SettleRecord(target=receipt_key(the_receipt(world)).decode(), units="7", settled="0", how="by hand")
    world.define(Settlement(customer="acme", said=by_hand, offset=500))
    for call in machine.remedies.next_calls(world.now_ms, 9):
        assert isinstance(call, Quote)
        machine.remedies.quoted(call, world.quote(call), world.now_ms)
    machine.remedies.next_calls(world.now_ms, 9)
    settle(world)
    assert (said(world).settled, said(world).how, amounts(world)) == ("7", "by hand", [])


def test_what_may_stand_is_never_billed_by_itself() -> None:
    """Beside units that may stand in the cell, what is missing is not known: a person looks first."""
    world = world_of("invoice_item")
    world.stripe.sticky = lambda _key: True
    emit(world, 25, hour=2)
    world.feed()
    assert world.worker is not None
    for _ in range(4000):
        if any(receipt.maybe for receipt in world.receipts()):
            break
        world.step(world.worker)
        world.pass_time(200)
    world.stripe.sticky = lambda _key: False
    world.work()
    assert [receipt.maybe for receipt in world.receipts() if receipt.maybe] in ([("25",)], [])


@pytest.mark.parametrize("at", range(24))
def test_a_crash_at_any_step_bills_once(at: int) -> None:
    """Killed after any number of steps between plan and settlement, the successor ends it: one invoice item, one settlement."""
    world = world_of("invoice_item", seed=at)
    emit(world, 27)
    world.feed()
    for _ in range(at):
        assert world.worker is not None
        world.step(world.worker)
    world.kill()
    settle(world)
    assert amounts(world) == [("7", 11)] and (said(world).settled, said(world).units) == ("7", "0")


def test_a_key_that_is_too_old_is_never_used_again() -> None:
    """A day without an answer: what was made is found by its mark and settled, and not made again."""
    world = world_of("invoice_item")
    world.lost_replies = 2.0
    emit(world, 27)
    world.work()
    made = list(world.stripe.made)
    world.kill()
    world.pass_time(2 * DAY_MS)
    posts = world.stripe.posts
    settle(world)
    assert (world.stripe.made, world.stripe.posts) == (made, posts) and len(made) == 1


def test_what_never_landed_is_made_after_a_day_under_a_new_key() -> None:
    """A day without an answer and nothing under its mark: it is made then, once."""
    world = world_of("invoice_item")
    emit(world, 27)
    world.feed()
    assert world.worker is not None
    while said_or_none(world) is None:
        world.step(world.worker)
    world.kill()
    world.pass_time(2 * DAY_MS)
    settle(world)
    assert amounts(world) == [("7", 11)]


def said_or_none(world: RemedyWorld) -> Any:
    """The intent that bills the adjustment, once it is durable."""
    return next((one.adjustment.remedy for one in world.receipts() if one.adjustment is not None), None)


def test_one_bill_of_a_line_at_a_time() -> None:
    """Adjustments of one period are billed one after the other, in tiers that go on where the last one ended."""
    world = world_of("invoice_item")
    world.stripe.price = TIERED
    for hour in range(2, 8):
        emit(world, 3, hour)
    settle(world)
    first, last = billed(TIERED, Fraction(20)), billed(TIERED, Fraction(38))
    assert first is not None and last is not None
    assert sum(made.amount for made in world.stripe.made) == last - first
    assert len([one for one in world.receipts() if one.adjustment is not None and one.adjustment.settled == "3"]) == 6


def test_the_world_can_bill_twice() -> None:
    """The model of Stripe makes a second item under a second key: what keeps it from that is the machine."""
    stripe = BillingStripe(random.Random(1))
    body = "customer=cus_1&amount=1&currency=usd&metadata[tidemark_remedy]=a/1&metadata[tidemark_units]=1"
    for key in ("k1", "k1", "k2"):
        stripe.post(SECTIONS[0], body, key, 0)
    assert len(stripe.made) == 2
