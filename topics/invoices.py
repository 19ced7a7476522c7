"""Invoices as the log knows them: law 16 needs to know when a cell's invoice takes no more usage."""

from __future__ import annotations

from typing import Final, Literal

import msgspec

from topics.codec import CONTROL_VERSION, Stored

INVOICE_TYPE: Final = "tidemark.invoice"
Status = Literal["upcoming", "draft", "open", "paid", "uncollectible", "void"]
FINAL: Final = frozenset({"open", "paid", "uncollectible", "void"})
"""Statuses of a finalised invoice: nothing reported later is on it (Stripe, "Status transitions and finalization")."""


class InvoiceRecord(msgspec.Struct, frozen=True, kw_only=True):
    """`data` of a `tidemark.invoice` record, keyed by the customer: what the provider says of one invoice, read at `seen_at_s` of its own clock.

    `period_start_s`, `period_end_s`: the service period `[start, end)` of its metered lines, which is the period that ended; `items` are the
    subscription items it bills (empty: all of the subscription). `finalized_at_s` is None for a draft.
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


class Invoice(Stored, frozen=True, kw_only=True):
    """An invoice's newest state as the fold published it to `usage.definitions`, key `["invoice", provider, account, invoice]`.

    A state never goes back: a finalised invoice is no draft again.
    """

    kind: str = "invoice"
    customer: str
    said: InvoiceRecord
    offset: int
