"""`tidemark release`: what is parked, read from `usage.receipts` itself, and the control record that lets it be tried again.

Numbered effects: 1 one `tidemark.release` a target is acknowledged on its customer's home; the report acts once on each by its offset.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from infra import topics_admin
from infra.control import release_event
from infra.kafka_io import producer
from infra.newest import newest_receipts
from topics.catalog import EVENTS
from topics.home import home_of
from topics.receipt import CellReceipt, Receipt

if TYPE_CHECKING:
    from infra.settings import Settings

HELD = frozenset({"refused", "unknown", "parked"})


class Parked(NamedTuple):
    """One cell or window that waits for a person; `key` is its receipt's key, `name` what people call it."""

    name: str
    key: str
    customer: str
    meter: str
    quantity: str
    state: str
    reason: str
    sentence: str


def parked(settings: Settings) -> list[Parked]:
    """Everything that is parked now, by customer. Raises Unreachable."""
    return asyncio.run(_parked(settings.kafka.bootstrap))


async def _parked(bootstrap: str) -> list[Parked]:
    newest = await newest_receipts(bootstrap)
    entries = [entry for key, receipt in newest.items() if (entry := entry_of(key, receipt)) is not None]
    return sorted(entries, key=lambda entry: (entry.customer, entry.meter, entry.name))


def entry_of(key: str, receipt: Receipt) -> Parked | None:
    """A receipt as something parked; None where it is not. An unbound window waits for a binding, which a release cannot replace.

    An adjustment is one where billing it elsewhere was refused.
    """
    if isinstance(receipt, CellReceipt) and (said := receipt.adjustment) is not None and said.remedy is not None and said.remedy.refused:
        return Parked(receipt.cell, key, receipt.customer, receipt.meter, said.units, receipt.state, "not_billed", said.remedy.refused)
    if receipt.state not in HELD or receipt.reason == "unbound":
        return None
    name = receipt.cell if isinstance(receipt, CellReceipt) else receipt.window
    return Parked(name, key, receipt.customer, receipt.meter, receipt.quantity, receipt.state, receipt.reason, receipt.sentence)


def release_targets(settings: Settings, entries: Sequence[Parked], reason: str) -> None:
    """Publishes one release an entry and waits for the broker's word. Raises Unreachable."""
    asyncio.run(_release(settings.kafka.bootstrap, entries, reason))


async def _release(bootstrap: str, entries: Sequence[Parked], reason: str) -> None:
    partitions = await topics_admin.partition_count(bootstrap, EVENTS)
    async with producer(bootstrap) as client:
        for entry in entries:
            event = release_event(entry.customer, entry.key, reason)
            home = home_of(entry.customer.encode(), partitions)
            await client.send_and_wait(EVENTS, event.value, event.key, partition=home)
