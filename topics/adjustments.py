"""Law 16: what can no longer be billed where it belongs. An adjustment is what is wanted of a final cell less what stands there, until settled."""

from __future__ import annotations

from typing import Final, Literal

import msgspec

from topics.codec import CONTROL_VERSION, Stored, digest

SETTLE_TYPE: Final = "tidemark.settle"
Cause = Literal["late_event", "period_closed", "age_limit", "after_finalization", "plan_changed"]
"""Why a cell takes no more.

- `late_event`: the total came after the provider's acceptance of its period had ended;
- `period_closed`: the acceptance ended while the total waited, or the provider said so itself;
- `age_limit`: the provider takes nothing that old;
- `after_finalization`: the invoice of its period is final;
- `plan_changed`: another price or item bills the customer since then, and what was used before is billed as it was reported by then.
"""
Policy = Literal["hold", "next_period", "invoice_item", "credit_note"]


class Remedy(msgspec.Struct, frozen=True, kw_only=True):
    """A part of an adjustment that is being billed somewhere else: an intent, written before the provider is called (law 13).

    `number` counts an adjustment's remedies from 1, `attempt` the keys of one whose first key was spent or forgotten. `amount` is signed, in the
    currency's smallest unit; `payer` is the provider's customer. `path` and `body` are the exact request that `idempotency_key` names; the key's age
    is counted from `intent_at_ms`. `refused` is the provider's word where it said no ("": it did not), and then it waits for a release later than the
    one at offset `released`; `may_stand`: whatever it said, it may have taken effect, so it is looked for before anything else is sent.
    A `usage_record` is set at `second` of the item, in the period that began at `period_start_s`; it has no amount.
    """

    kind: Literal["invoice_item", "credit_note", "usage_record"]
    number: int
    attempt: int = 1
    units: str
    amount: int = 0
    currency: str = ""
    payer: str = ""
    invoice: str = ""
    path: str = ""
    body: str = ""
    idempotency_key: str = ""
    intent_at_ms: int
    refused: str = ""
    released: int = -1
    may_stand: bool = False
    second: int = 0
    period_start_s: int = 0


class Carried(msgspec.Struct, frozen=True, kw_only=True):
    """Units of an adjustment that stand at a second of a later period of its item, which began at `period_start_s`."""

    second: int
    units: str
    period_start_s: int


class Adjustment(msgspec.Struct, frozen=True, kw_only=True):
    """What a final cell's receipt says of its difference. Units are exact decimal strings, in units of the provider (scale applied), signed.

    `units` = wanted − standing − settled: what is still open. `id` names the cell's adjustment for ever: it grows, and is never a second one.
    `invoice` is the final invoice whose period holds the cell ("": none is known yet). `settled_to` is the offset of the last settlement seen
    (−1: none), `how` the word of what settled last. `since_ms` is when the cell was first found final with a difference. `remedy` is the part that is
    being billed now (its units are still open), `remedies` how many there have been, `carried` what of `settled` stands in later periods.
    """

    id: str
    units: str
    standing: str
    settled: str = "0"
    cause: Cause
    policy: Policy = "hold"
    invoice: str = ""
    since_ms: int
    settled_to: int = -1
    how: str = ""
    remedy: Remedy | None = None
    remedies: int = 0
    carried: tuple[Carried, ...] = ()

    @property
    def is_open(self) -> bool:
        """True while units are neither billed nor settled."""
        return self.units != "0"


class SettleRecord(msgspec.Struct, frozen=True, kw_only=True):
    """`data` of a `tidemark.settle` record, keyed by the customer: an operator dealt with `units` of an adjustment, outside of Tidemark.

    `target` is the key of the cell's receipt. `settled` is what was settled before, as the operator saw it: where it is not so any more (somebody
    else was faster) the record changes nothing. `how` is for people: an invoice's id, "waived".
    """

    v: int = CONTROL_VERSION
    target: str
    units: str
    settled: str
    how: str = ""


class Settlement(Stored, frozen=True, kw_only=True):
    """A settlement as published to `usage.definitions`, key `["settlement", target, offset]`; its `offset` names it, so that it acts once."""

    kind: str = "settlement"
    customer: str
    said: SettleRecord
    offset: int


def adjustment_id(provider: str, account: str, cell: str) -> str:
    """`adj_` and 24 hex digits: the name of a cell's adjustment, which people type and providers keep."""
    return "adj_" + digest([provider, account, cell])[:24]
