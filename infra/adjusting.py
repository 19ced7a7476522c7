"""`tidemark adjustments`: what can no longer be billed where it belongs, in money; and the record that says that a person has dealt with it.

Numbered effects: 1 `settle` publishes one `tidemark.settle` on the customer's home and waits for the broker's word. The report acts on it once by
its offset, and only where what was settled before is what the operator saw: two operators at once settle it once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from infra import topics_admin
from infra.control import settle_event
from infra.kafka_io import producer
from infra.newest import newest_receipts
from sinks.adjustments import is_being_billed
from topics.adjustments import Remedy, SettleRecord
from topics.catalog import EVENTS
from topics.errors import TidemarkError, UsageError
from topics.home import home_of
from topics.instants import US_PER_MS, format_s, format_us
from topics.quantity import BadQuantity, OutOfRange, format_scaled, parse, parse_total
from topics.receipt import CellReceipt

if TYPE_CHECKING:
    from infra.settings import Settings
    from sinks.stripe.access import Eras
    from sinks.stripe.adjusting import Listed, Priced
    from sinks.stripe.objects import Price


class Found(NamedTuple):
    """The adjustments, and why some of them have no amount ("" where all have one)."""

    rows: list[Listed]
    unpriced: str


def find(settings: Settings, customer: str | None = None, *, settled: bool = False) -> Found:
    """The open adjustments (`settled`: the settled ones too), of one customer or of all. Raises Unreachable where Kafka does not answer.

    A price that Stripe does not show leaves its amounts unknown: units are facts of the log and are listed all the same.
    """
    from sinks.stripe.adjusting import listed, priced_by

    newest = asyncio.run(newest_receipts(settings.kafka.bootstrap)).values()
    cells = [one for one in newest if isinstance(one, CellReceipt) and (customer is None or one.customer == customer)]
    shown = {row.id for row in listed(cells, {}) if row.is_open or settled}
    asked = {priced_by(cell) for cell in cells if cell.adjustment is not None and cell.adjustment.id in shown}
    prices, unpriced = prices_of(settings, sorted(asked))
    return Found([row for row in listed(cells, prices) if row.id in shown], unpriced)


def prices_of(settings: Settings, asked: Sequence[Priced]) -> tuple[dict[Priced, Price], str]:
    """The prices that can be read, and the first reason why others cannot."""
    from infra.stripe_catalog import access

    found: dict[Priced, Price] = {}
    if not asked:
        return found, ""
    try:
        with access(settings) as eras:
            read: dict[str, Price] = {}
            why = [said for one in asked if (said := _read_into(found, read, eras, one))]
    except TidemarkError as error:
        why = [str(error)]
    return found, next(iter(why), "")


def _read_into(found: dict[Priced, Price], read_before: dict[str, Price], eras: Eras, one: Priced) -> str:
    """Adds the price, read once however many items have it; why it cannot be read, or nothing."""
    from sinks.stripe.objects import Price, Row, read

    item, price = one
    try:
        if not price:
            price = read(eras.old.get(f"/v1/subscription_items/{item}"), Row).price.id
        if price not in read_before:
            read_before[price] = read(eras.old.get(f"/v1/prices/{price}", expand=["tiers"]), Price)
    except TidemarkError as error:
        return str(error)
    found[one] = read_before[price]
    return ""


def row_json(row: Listed) -> dict[str, Any]:
    """One adjustment for programs: units and money as decimal strings, times as RFC 3339; `money` null where the price cannot be read."""
    said = row.said
    return {
        "id": row.id,
        "customer": row.customer,
        "meter": row.meter,
        "item": row.item,
        "cell": row.cell,
        "start": format_s(row.start_s),
        "end": format_s(row.end_s),
        "period_start": format_s(row.period_start_s),
        "period_end": format_s(row.period_end_s),
        "state": "open" if row.is_open else "settled",
        "units": said.units,
        "settled": said.settled,
        "in_doubt": list(row.maybe),
        "money": None if row.amount is None else amount_text(row.amount, row.currency),
        "currency": row.currency or None,
        "cause": said.cause,
        "policy": said.policy,
        "invoice": said.invoice,
        "since": format_us(said.since_ms * US_PER_MS),
        "how": said.how,
        "billing": _billing(said.remedy),
    }


def _billing(remedy: Remedy | None) -> dict[str, Any] | None:
    """What is being billed elsewhere just now, or was refused."""
    if remedy is None:
        return None
    amount = amount_text(remedy.amount, remedy.currency) if remedy.currency else None
    return {"as": remedy.kind, "units": remedy.units, "money": amount, "refused": remedy.refused or None}


def found_json(found: Found) -> dict[str, Any]:
    """All of them, with what the open ones come to by currency and how many of them have no amount."""
    from sinks.stripe.adjusting import totals

    return {
        "adjustments": [row_json(row) for row in found.rows],
        "open": sum(row.is_open for row in found.rows),
        "money": {currency: amount_text(amount, currency) for currency, amount in totals(found.rows).items()},
        "unpriced": sum(row.is_open and row.amount is None for row in found.rows),
    }


def amount_text(amount: int, currency: str) -> str:
    """Smallest units as the currency's decimal, for programs: `-12.30`."""
    from sinks.stripe.costs import places

    digits = places(currency)
    whole, rest = divmod(abs(amount), 10**digits)
    return ("-" if amount < 0 else "") + (f"{whole}.{rest:0{digits}}" if digits else f"{whole}")


def settlement(rows: Iterable[Listed], name: str, units: str | None, how: str) -> tuple[str, SettleRecord]:
    """(customer, record) that settles `units` (None: all) of the adjustment `name`, as it was seen. Raises TidemarkError, UsageError."""
    row = next((row for row in rows if row.id == name), None)
    if row is None:
        raise TidemarkError(f"there is no adjustment {name!r}; `tidemark adjustments --all` lists them")
    if not how.strip():
        raise UsageError("say how it was dealt with: --how \"credited by hand, in_123\"; it is kept with the adjustment")
    if is_being_billed(row.said):
        raise TidemarkError(f"{name} is being billed just now; what is left of it can be settled once that is answered")
    if units is None:
        units = row.said.units
    try:
        exact = parse(units)
    except (BadQuantity, OutOfRange) as error:
        raise UsageError(f"--units {units!r} is no number of units ({error}); write for example --units 7 or --units=-7") from None
    owed = parse_total(row.said.units)
    is_part = 0 < exact * (1 if owed > 0 else -1) <= abs(owed)
    if not row.is_open or not (is_part or (exact == 0 and row.maybe)):
        raise UsageError(f"{name} has {row.said.units} units open; {units} of them cannot be settled")
    return row.customer, SettleRecord(target=row.key, units=format_scaled(exact), settled=row.said.settled, how=how)


def settle(settings: Settings, name: str, units: str | None, how: str) -> SettleRecord:
    """Publishes that units of an adjustment were dealt with. Raises TidemarkError (there is none), UsageError, Unreachable."""
    from sinks.stripe.adjusting import listed

    newest = asyncio.run(newest_receipts(settings.kafka.bootstrap)).values()
    rows = listed((one for one in newest if isinstance(one, CellReceipt)), {})
    customer, record = settlement(rows, name, units, how)
    asyncio.run(_publish(settings.kafka.bootstrap, customer, record))
    return record


async def _publish(bootstrap: str, customer: str, record: SettleRecord) -> None:
    partitions = await topics_admin.partition_count(bootstrap, EVENTS)
    event = settle_event(customer, record)
    async with producer(bootstrap) as client:
        await client.send_and_wait(EVENTS, event.value, event.key, partition=home_of(customer.encode(), partitions))
