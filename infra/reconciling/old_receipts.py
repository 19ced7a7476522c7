"""Receipts that were archived before their record was kept beside the columns: what the columns still say. Pure.

What stands is concluded from the history: the newest attempt that was delivered. Scale, price, meter and policy are those of the item that is in
force; of an adjustment only its state is known. A cell that was written again since then has its record.
"""

from __future__ import annotations

from typing import Any

import msgspec

from topics.bindings import Item
from topics.receipt import CellReceipt, MeterTarget, Standing, WindowPart, WindowReceipt
from topics.windows import Window, window_key

_ACCEPTED = ("delivered", "confirmed")


def receipt_of_columns(
    kind: bytes, customer: str, meter: bytes, cell: str, columns: tuple[Any, ...], before: CellReceipt | None, bound: Item | None
) -> CellReceipt | WindowReceipt:
    """A receipt of the columns of `queries/reconcile_receipts.sql`; `before` is the cell's record before this one, `bound` its item in force."""
    place, answer, parts, revision, attempt = columns
    provider, account, state, item, subscription, second, period_start_s, period_end_s = map(_plain, place)
    quantity, units, outcome, reason, intent_at_ms, reported_at_ms, closed_at_ms = map(_plain, answer)
    slug = meter.decode("utf-8", "replace")
    windows = tuple(
        WindowPart(
            window=window_key(Window(customer, slug, start_s, end_s)), generation=generation, through_offset=through, quantity=_number(_plain(part))
        )
        for start_s, end_s, generation, through, part in parts
    )
    if kind == b"window":
        start_s, end_s, generation, through, part = parts[0]
        return WindowReceipt(
            window=cell, customer=customer, meter=slug, start_s=start_s, end_s=end_s, generation=generation, through_offset=through,
            quantity=_number(_plain(part)), state="bound" if state == "bound" else "parked", reason=reason, parked_at_ms=intent_at_ms,
        )  # fmt: skip
    receipt = CellReceipt(
        provider=provider, account=account, cell=cell, customer=customer, meter=slug, item=item, subscription=subscription, timestamp_s=second,
        period_start_s=period_start_s, period_end_s=period_end_s, windows=windows, revision=revision, attempt=attempt, quantity=_number(quantity),
        units=units, state=state, intent_at_ms=intent_at_ms, reported_at_ms=reported_at_ms or None, outcome=outcome, reason=reason,
        closed_at_ms=closed_at_ms or None, standing=None if before is None else before.standing,
    )  # fmt: skip
    if bound is not None:
        receipt = _in_force(receipt, bound)
    if state not in _ACCEPTED or not units:
        return receipt
    standing = Standing(revision=revision, attempt=attempt, units=units, quantity=_number(quantity), at_ms=reported_at_ms)
    return msgspec.structs.replace(receipt, standing=standing)


def _in_force(receipt: CellReceipt, item: Item) -> CellReceipt:
    """What the item says today, as it said then unless it was changed since."""
    target = None
    if item.mode == "meters" and item.aggregation:
        target = MeterTarget(aggregation=item.aggregation, event_name=item.event_name, customer=item.stripe_customer)
    return msgspec.structs.replace(
        receipt, scale=item.scale, fractions=item.fractions, late=item.late, clock=item.clock, price=item.price, meter_target=target
    )


def _plain(value: Any) -> Any:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value


def _number(text: str) -> str:
    """A decimal as ClickHouse writes it, without zeros at its end."""
    return text.rstrip("0").rstrip(".") if "." in text else text
