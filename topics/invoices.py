"""Invoices as the log knows them: law 16 needs to know when a cell's invoice takes no more usage."""

from __future__ import annotations

from typing import Final, Literal

import msgspec

from topics.codec import CONTROL_VERSION, Stored
from topics.meters import is_instant

INVOICE_TYPE: Final = "tidemark.invoice"
Status = Literal["upcoming", "draft", "open", "paid", "uncollectible", "void"]
FINAL: Final = frozenset({"open", "paid", "uncollectible", "void"})
"""Statuses of a finalised invoice: nothing reported later is on it (Stripe, "Status transitions and finalization")."""


class Billed(msgspec.Struct, frozen=True):
    """What an invoice bills of a subscription item that takes usage records: units over `[start_s, end_s)`, tiers added up."""

    item: str
    start_s: int
    end_s: int
    units: int


class InvoiceRecord(msgspec.Struct, frozen=True, kw_only=True):
    """`data` of a `tidemark.invoice` record, keyed by the customer: what the provider says of one invoice, read at `seen_at_s` of its own clock.

    `period_start_s`, `period_end_s`: the service period `[start, end)` of its metered lines, which is the period that ended; `items` are the
    subscription items it bills (empty: all of the subscription). `finalized_at_s` is None for a draft. `billed` is what it bills by
    usage records (empty: not said).
    """

    v: int = CONTROL_VERSION
    provider: str = "stripe"
    account: str = "default"
    invoice: str
    subscription: str
    items: tuple[str, ...] = ()
    status: Status
    period_start_s: int
    period_end_s: int
    finalized_at_s: int | None = None
    seen_at_s: int
    billed: tuple[Billed, ...] = ()


class Invoice(Stored, frozen=True, kw_only=True):
    """An invoice's newest state as the fold published it to `usage.definitions`, key `["invoice", provider, account, invoice]`.

    A state never goes back: a finalised invoice is no draft again.
    """

    kind: str = "invoice"
    customer: str
    said: InvoiceRecord
    offset: int


_RANK: Final[dict[Status, int]] = {"upcoming": 0, "draft": 1, "open": 2, "uncollectible": 3, "paid": 4, "void": 4}
"""How far an invoice has come: an uncollectible one can still be paid, paid and void are the end (Stripe, "Status transitions and finalization")."""


def supersedes(new: InvoiceRecord, held: InvoiceRecord) -> bool:
    """True where `new` says more than `held`: a later status, or the same one read later with other words. Never back, whatever comes late."""
    if _RANK[new.status] != _RANK[held.status]:
        return _RANK[new.status] > _RANK[held.status]
    return new.status == held.status and new.seen_at_s > held.seen_at_s and msgspec.structs.replace(new, seen_at_s=held.seen_at_s) != held


def invoice_problem(said: InvoiceRecord) -> str | None:
    """Why a record cannot be used; None where it can."""
    if not said.invoice:
        return "the invoice's id is empty"
    if not said.subscription and not said.items:
        return f"invoice {said.invoice[:80]!r} names neither a subscription nor items, so no cell is known to be on it"
    if not all(is_instant(at_s) for at_s in (said.period_start_s, said.period_end_s, said.finalized_at_s, said.seen_at_s)):
        return f"invoice {said.invoice[:80]!r}: one of its times is no instant of the years 1 to 9999"
    if said.period_start_s > said.period_end_s:
        return f"invoice {said.invoice[:80]!r}: its period ends before it starts"
    return None
