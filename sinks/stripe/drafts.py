"""Draft invoices as the gate reads them (API before 2025-03-31.basil, which shows a line's subscription item whole). Pure.

`metadata.tidemark_gate = held` stands on an invoice that the gate holds, set by the very request that sets `auto_advance` to false: so a hold is
known by Stripe itself, outlives every worker, and is never taken for one of a person's.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final, NamedTuple

import msgspec

from sinks.gate import Draft
from topics.errors import TidemarkError

GATE: Final = "tidemark_gate"
HELD: Final = "held"
HOLD: Final[Mapping[str, Any]] = {"auto_advance": "false", "metadata": {GATE: HELD}}
RELEASE: Final[Mapping[str, Any]] = {"auto_advance": "true", "metadata": {GATE: ""}}
"""What is asked for; an empty value takes the key out of the metadata (Stripe, "Metadata")."""


class Usage(NamedTuple):
    """What a draft bills of one subscription item: its usage of `[start_s, end_s)`."""

    item: str
    start_s: int
    end_s: int


class _Lines(msgspec.Struct):
    data: list[dict[str, Any]] = []
    has_more: bool = False


class _Period(msgspec.Struct):
    start: int
    end: int


class _Line(msgspec.Struct):
    period: _Period
    subscription_item: str | None = None


class DraftInvoice(msgspec.Struct):
    """An invoice as Stripe shows it; of its lines perhaps only the first ones."""

    id: str
    created: int
    status: str | None
    auto_advance: bool | None = None
    automatically_finalizes_at: int | None = None
    metadata: dict[str, str] | None = None
    lines: _Lines = msgspec.field(default_factory=_Lines)

    @property
    def is_draft(self) -> bool:
        """True while Stripe takes changes to it."""
        return self.status == "draft"

    @property
    def is_marked(self) -> bool:
        """True where it says that we hold it."""
        return (self.metadata or {}).get(GATE) == HELD

    @property
    def is_overruled(self) -> bool:
        """True where somebody else let go of what we held: we set the mark and `auto_advance` together, so both is a person's word."""
        return self.is_marked and bool(self.auto_advance)

    @property
    def draft(self) -> Draft:
        """As the decision takes it."""
        return Draft(self.created, bool(self.auto_advance), self.is_marked and not self.auto_advance)

    def finalizes_at_s(self, grace_s: int) -> int:
        """When Stripe will finalise it, at the earliest; `grace_s`: after it was made, where Stripe does not say."""
        return self.created + grace_s if self.automatically_finalizes_at is None else self.automatically_finalizes_at


def invoice_of(row: Mapping[str, Any]) -> DraftInvoice:
    """An invoice. Raises TidemarkError where it is not as Stripe documents it."""
    found: DraftInvoice = _as(row, DraftInvoice)
    return found


def usage_of(created_s: int, lines: Iterable[Mapping[str, Any]]) -> list[Usage]:
    """What lines bill of subscription items, each span once (a graduated price has a line for each tier).

    A line counts where its period was over when the invoice was made: a licensed price is paid ahead, and a subscription's first invoice shows a
    metered price's period that just begins.
    """
    found: dict[Usage, None] = {}
    for row in lines:
        if isinstance(row.get("subscription_item"), str):
            line: _Line = _as(row, _Line)
            if line.period.end <= created_s:
                found[Usage(str(line.subscription_item), line.period.start, line.period.end)] = None
    return list(found)


def _as(row: Mapping[str, Any], kind: type[Any]) -> Any:
    try:
        return msgspec.convert(row, kind)
    except msgspec.ValidationError as error:
        raise TidemarkError(f"{row.get('object') or 'an object'} {row.get('id')} is not as Stripe documents it: {error}") from None
