"""What each stage says of one customer's meter, as plain values: what the causes are found from. Pure.

The records are the product's own (`topics/receipt.py`, `topics/invoices.py`, `topics/bindings.py`), so that nothing is said twice. Everything was
read in an order in which what arrives meanwhile cannot look like a difference (`sources.py`): what may still change is marked, and not judged.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from infra.reconciling.drift import Coordinate
from sinks.stripe.objects import Price
from topics.bindings import ItemVersion
from topics.invoices import InvoiceRecord
from topics.receipt import CellReceipt, WindowReceipt
from topics.windows import Window

Revision = tuple[int, int]
"""(generation, through_offset), law 3."""


class Total(NamedTuple):
    """A quantity × 10¹², of so many postings, with their content hash (64 hex digits, `topics/content_hash.py`)."""

    scaled: int
    events: int
    hash: str


class Emitted(NamedTuple):
    """One revision of a window as it was emitted, and the raw events up to it counted again (None: they are not all archived yet)."""

    revision: Revision
    total: Total
    closed_at_ms: int
    recount: Total | None


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowBook:
    """A window from its raw events to its newest revision.

    `counted` is all counted raw events below the archived mark (None: there are none), `newest_event` the last of them. `revisions` are oldest
    first. `parked` is the window's own receipt, where it has no cell. `must_be_emitted`: it was due so long ago that a revision of all counted
    events would have been emitted and archived; `must_have_receipt`: the same of a receipt of its newest revision.
    `suspects` are events that are not there, or not what the log has, where that could be found out.
    """

    window: Window
    counted: Total | None = None
    newest_event: Revision = (0, -1)
    revisions: tuple[Emitted, ...] = ()
    parked: WindowReceipt | None = None
    must_be_emitted: bool = False
    must_have_receipt: bool = False
    suspects: tuple[Coordinate, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class CellBook:
    """A cell's receipts: the last durable record of each (revision, attempt), oldest first, so that the last one is what stands now.

    `is_moving`: a call is under way, or its record changed while the provider was read: what the provider holds of it may be either.
    """

    history: tuple[CellReceipt, ...]
    is_moving: bool = False

    @property
    def newest(self) -> CellReceipt:
        """What stands now."""
        return self.history[-1]


class SummarySaid(NamedTuple):
    """What the provider holds of an item in one of its billing periods: the seconds (start_s, end_s], in whole units."""

    item: str
    start_s: int
    end_s: int
    units: int
    invoice: str = ""


class BucketSaid(NamedTuple):
    """What a meter holds in one UTC hour or day [start_s, end_s), in units × 10¹². `customer` is the provider's ("": of whom all cells are)."""

    event_name: str
    start_s: int
    end_s: int
    scaled: int
    customer: str = ""


class LineSaid(NamedTuple):
    """A usage line of an invoice, tiers added up: units × 10¹² over the service period [start_s, end_s), `amount` in the smallest unit.

    `parts` is how many lines Stripe shows for it, each rounded by itself; `is_trial`: its period lies in its subscription's trial, and costs nothing.
    """

    invoice: str
    status: str
    line: str
    item: str
    price: str
    start_s: int
    end_s: int
    scaled: int
    amount: int
    currency: str
    parts: int = 1
    is_trial: bool = False


class InvoiceRead(NamedTuple):
    """An invoice that was read: `ends` are the ends of the past periods that its usage lines bill, of whichever item of the subscription."""

    invoice: str
    status: str
    subscription: str
    ends: frozenset[int] = frozenset()


class Copy(NamedTuple):
    """One of several events under one (customer, source, id): its content's digest, when it was received, and what it brought to which windows.

    `postings` are (meter, window start, window end, quantity × 10¹²). `is_amended`: an amendment names this event, so a person has decided.
    """

    at: Coordinate
    verdict: str
    body: str
    received_at_ms: int
    postings: tuple[tuple[str, int, int, int], ...]
    is_amended: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Copies:
    """All events under one id, in the order of the log."""

    customer: str
    source: str
    event_id: str
    copies: tuple[Copy, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Books:
    """One customer's meter, whole or within `[from_s, to_s)`: the windows that start there, and all cells whose second lies there.

    `now_ms` is the customer's time (its test clock's), `wall_ms` our own (None: the same). `unread` are the (meter, customer) at
    the provider whose hours or days were not read. `summaries` and `buckets` are None where the provider was not asked, or did not answer:
    then nothing is said of it. `lines` are those of invoices, `read` the
    invoices themselves, `gone` items that the provider does not know any more. `versions` are the customer's items in force, `prices` by id.
    """

    customer: str
    meter: str
    now_ms: int
    from_s: int = -(2**62)
    to_s: int = 2**62
    windows: tuple[WindowBook, ...] = ()
    cells: tuple[CellBook, ...] = ()
    summaries: tuple[SummarySaid, ...] | None = None
    buckets: tuple[BucketSaid, ...] | None = None
    lines: tuple[LineSaid, ...] = ()
    read: tuple[InvoiceRead, ...] = ()
    gone: frozenset[str] = frozenset()
    invoices: tuple[InvoiceRecord, ...] = ()
    versions: tuple[ItemVersion, ...] = ()
    prices: Mapping[str, Price] = field(default_factory=dict)
    copies: tuple[Copies, ...] = ()
    wall_ms: int | None = None
    unread: frozenset[tuple[str, str]] = frozenset()
