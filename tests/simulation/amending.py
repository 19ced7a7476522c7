"""Somebody amends an event while everything else happens: a void or a set of what the account says that it counts, sometimes two at once."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING

from infra.amending.drafts import Draft, NothingToDo, Original, Past, Share, set_to, void
from tests.oracle.ledger import Amended, Ledger
from tests.oracle.reading import Stored
from tests.simulation import verdict
from topics.amendments import Of
from topics.catalog import EVENTS
from topics.event import Event, parse_event
from topics.windows import Window

if TYPE_CHECKING:
    from tests.simulation.world import World

AT_ONCE = 0.3
"""How many are made by two people who saw the same."""


def amend(world: World, numbers: tuple[float, ...]) -> None:
    """Which event, what of it, and whether two do it; the record goes to the customer's home as `tidemark amend` writes it."""
    ledger = verdict.ledger_of(world.broker, world.plan)
    counted = sorted(where for where, said in ledger.verdicts.items() if said.verdict == "counted")
    if not counted:
        return
    partition, offset = counted[int(numbers[0] * len(counted))]
    (record,) = world.broker.logs[EVENTS, partition].committed(offset, offset + 1)
    original = _original(world, ledger, Stored(partition, offset, record.timestamp_ms, record.key, record.value, record.headers))
    try:
        drafts = [_draft(original, numbers[1], "ann")]
    except NothingToDo:
        return
    drafts += [drafts[0]._replace(record=_draft(original, numbers[1], "bob").record)] if numbers[2] < AT_ONCE else []
    for draft in drafts:
        event = draft.event()
        world.amendments[event.digest[:32]] = event.digest
        world.say(f"amended at {partition}:{offset}: {draft.record.kind}")
        world.control(partition, event.key, event.value)


def _original(world: World, ledger: Ledger, record: Stored) -> Original:
    event = parse_event(record.value)
    assert isinstance(event, Event)
    shares = ledger.shares(record)
    held = ledger.amended.get((0, record.partition, record.offset), Amended())
    past = [Past("set", "ann", "before", 0, world.amendments[held.name])] if held.name else []
    return Original(
        of=Of(source=event.source, id=event.id, partition=record.partition, generation=0, offset=record.offset),
        customer=event.subject,
        type=event.type,
        occurred_at_us=shares[0][3],
        received_at_ms=record.timestamp_ms,
        verdict="counted",
        sentence="",
        shares=tuple(Share(Window(*span), _scaled(was), _scaled(now)) for span, was, now, _ in shares),
        history=tuple(past),
    )


def _draft(original: Original, draw: float, who: str) -> Draft:
    if draw < 0.5:
        return void(original, "sent by mistake", who)
    share = original.shares[int(draw * 1000) % len(original.shares)]
    return set_to(original, _scaled(Fraction(int(draw * 100))), share.window.meter, "measured wrongly", who)


def _scaled(quantity: Fraction) -> int:
    return int(quantity * 10**12)
