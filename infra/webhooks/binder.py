"""From a Stripe customer to its binding in force: what `stripe sync` does for everybody, for one.

Everything is read at the moment of the webhook, and the record names the digest that it replaces; so webhooks may come late, twice and in any
order: the last one to be handled publishes what Stripe has then. A race that is lost (to another webhook, to `apply` or `sync`) is run again.
"""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Final, Literal

from infra.clock import now_ms
from infra.control import binding_event
from infra.proposal import Publication
from infra.webhooks.log import Log
from infra.webhooks.provider import Provider
from sinks.stripe.binding import items_of
from topics.bindings import Item, items_digest
from topics.definitions import Definitions
from topics.errors import TidemarkError
from topics.home import home_of

log = logging.getLogger(__name__)

Bound = Literal["bound", "unchanged", "explicit", "unbound", "gone"]
"""in force now · was in force · the configuration names the customer's items, and wins · nothing of it can be bound · the customer is deleted"""
RUNS: Final = 5
"""How often a lost race is run again: each loss means that somebody else was faster, with as fresh a reading."""


class Unanswered(TidemarkError):
    """No meter has taken the binding in time; it stands in the log and will be taken."""


@dataclass
class Binder:
    """`explicit`: customers of ours whose items the configuration names. `horizon_ms`: how long what ended stays bound up to its end."""

    provider: Provider
    log: Log
    explicit: Collection[str]
    horizon_ms: int
    _turns: defaultdict[str, asyncio.Lock] = field(default_factory=lambda: defaultdict(asyncio.Lock))

    async def name_of(self, stripe_customer: str) -> str | None:
        """What events call a Stripe customer; of a deleted one, what it is bound as. None where nobody knows."""
        name = await asyncio.to_thread(self.provider.customer_name, stripe_customer)
        if name is not None:
            return name
        for partition in range(self.log.partitions):
            found = bound_as(await self.log.held(partition), stripe_customer)
            if found is not None:
                return found
        return None

    async def bind(self, stripe_customer: str) -> tuple[str, Bound, tuple[Item, ...]]:
        """(our customer, what came of it, its items). Raises Unreachable, StripeRefusal or Unanswered: then it has to be asked again."""
        name = await self.name_of(stripe_customer)
        if name is None:
            return "", "gone", ()
        if name in self.explicit:
            return name, "explicit", ()
        async with self._turns[name]:
            for _ in range(RUNS):
                found = await self._run(name, stripe_customer)
                if found is not None:
                    return (name, *found)
        raise Unanswered(f"somebody else changes the items of {name!r} all the time")

    async def _run(self, name: str, stripe_customer: str) -> tuple[Bound, tuple[Item, ...]] | None:
        """One attempt; None where the race was lost."""
        home = home_of(name.encode(), self.log.partitions)
        held = await self.log.held(home)
        asked = {stripe_customer, *(item.stripe_customer for item in current_items(held, name) if item.stripe_customer)}
        ended_after_s = max(0, (now_ms() - self.horizon_ms) // 1000)
        candidates, meters = await asyncio.to_thread(self.provider.candidates, asked, ended_after_s)
        items, findings = items_of(candidates, meters)
        for finding in findings:
            if finding.fault:
                log.warning("customer %r: %s", name, finding.problem)
        if not items:
            return "unbound", ()
        replaces = held.customer_digests.get(name)
        if replaces == items_digest(items):
            return "unchanged", items
        answer = await self.log.put_in_force(Publication(home, name, binding_event(name, items, replaces)))
        if answer.state == "in force":
            log.info("items of %r in force: %s", name, "; ".join(f"{meter} from {since}" for meter, since in answer.holds))
            return "bound", items
        if answer.state == "refused":
            log.info("items of %r: %s", name, answer.sentence)
            return None
        raise Unanswered(f"items of {name!r}: {answer.sentence}")


def current_items(held: Definitions, customer: str) -> list[Item]:
    """What the newest versions bind the customer to."""
    newest = [versions[-1].item for (owner, _), versions in held.items.items() if owner == customer and versions]
    return [item for item in newest if item is not None]


def bound_as(held: Definitions, stripe_customer: str) -> str | None:
    """Which customer of ours is bound to a Stripe customer."""
    for (owner, _), versions in held.items.items():
        if any(version.item is not None and version.item.stripe_customer == stripe_customer for version in versions):
            return owner
    return None


def living_by(held: Definitions, clock: str) -> list[str]:
    """Customers whose newest binding names a test clock."""
    owners = {owner for (owner, _), versions in held.items.items() if versions and versions[-1].item is not None and versions[-1].item.clock == clock}
    return sorted(owners)
