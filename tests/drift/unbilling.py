"""Usage that stands at Stripe and that nobody is asked to pay: an invoice that is void, or final without a line of an item."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Final

from tests.drift.plan import EDGE_S, HOUR_S, SORT_OF
from tests.drift.world import World

PAUSED_S: Final = EDGE_S - 5 * HOUR_S
DRAFT_S: Final = EDGE_S + 900
"""When the first period's invoices are drafts."""


class Unbilled:
    """One of them in one world; `told` is called with each customer and meter of whose first period nothing is billed, before anything else is
    done to that period at Stripe."""

    def __init__(self, world: World, chance: random.Random, told: Callable[[str, str], None]) -> None:
        self._world = world
        self._chance = chance
        self._told = told

    def plant(self) -> None:
        """Draws whose, and how."""
        person = self._chance.choice(self._world.plan.people)
        meter = self._chance.choice(person.meters)
        mode = SORT_OF[meter].mode
        if mode == "usage_records" and self._chance.random() < 0.5:
            self._world.deeds += [(PAUSED_S, lambda: self._told(person.name, meter)), (DRAFT_S, lambda: take_off(self._world, person.name, meter))]
            return
        together = [each for each in person.meters if SORT_OF[each].mode == mode]
        self._world.deeds.append((PAUSED_S, lambda: self._void(person.name, together)))

    def _void(self, customer: str, meters: list[str]) -> None:
        """Collection is paused, so that the next invoice is void once it is final."""
        self._world.pause(customer, meters[0], "void")
        for meter in meters:
            self._told(customer, meter)


def take_off(world: World, customer: str, meter: str) -> None:
    """The meter's line is taken off the newest draft of its subscription."""
    item = world.items[customer, meter]
    invoices = world.shop.store.scan("invoice", newest_first=True)
    draft = next(body for body in invoices if body["subscription"] == item.subscription and body["status"] == "draft")
    lines = [line for line in draft["_lines"] if item.item not in str(line)]
    assert len(lines) < len(draft["_lines"])
    world.shop.store.put({**draft, "_lines": lines}, parent=draft["customer"], ref=item.subscription)
