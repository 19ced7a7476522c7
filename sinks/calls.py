"""Law 13, the ages of an intent: until when it may be sent, and from when the provider may be asked what became of it. Pure."""

from __future__ import annotations

from typing import Final, NamedTuple

from topics.receipt import CellReceipt, MeterTarget

CALL_WITHIN_MS: Final = 60_000
"""A call starts only this long after its intent's commit: by then a worker that was suspended has lost the partition at the latest, and must
commit again, which its successor's transaction has forbidden (H22)."""
HAND_OUT_WITHIN_MS: Final = 45_000
"""Leaves a call time to wait for its turn; an older intent is asserted (written again as it is) first."""
AHEAD_MS: Final = 300_000
"""A cell's second may be this far ahead when it is called, as senders in the field use it: only `tidemark.close` makes such cells, and
nobody who closes by hand should wait for the clock. A provider that takes less answers RetryAfter."""
UNKNOWN_AFTER_MS: Final = 23 * 3_600_000
"""Stripe forgets keys once they are 24 hours old; an hour is kept for clocks that differ."""
QUIET_MS: Final = 15 * 60_000
"""Between the last moment at which anybody may have sent an intent and the reading back: a request that still hangs would land after the answer
"it did not", perhaps on top of a later total. Far longer than Stripe lets a request run."""


class Call(NamedTuple):
    """Post the intent's exact request; the bytes must be on the socket by `not_after_ms`, or not at all.

    `is_after_final`: its invoice was known to be final before the call: what is executed now is billed nowhere.
    """

    key: bytes
    intent: CellReceipt
    not_after_ms: int
    is_after_final: bool = False

    @property
    def mode(self) -> str:
        """Whose rate limit it falls under; each mode has its own."""
        return "usage_records" if self.intent.meter_target is None else "meters"


class EventRange(NamedTuple):
    """The UTC hours (or days) of a customer's usage of a meter that are read back: [start_s, end_s)."""

    target: MeterTarget
    start_s: int
    end_s: int

    @property
    def grouping(self) -> str:
        """How the provider is to group them."""
        return "day" if self.target.aggregation == "day" else "hour"


class ReadBack(NamedTuple):
    """Read the item's totals per period back, as far as the period that holds `timestamp_s`; or, for meters, the usage of `events`."""

    key: bytes
    item: str
    timestamp_s: int
    events: EventRange | None = None

    @property
    def mode(self) -> str:
        """Reading falls under the account's limit, whatever is read."""
        return "usage_records"


def not_after_ms(intent: CellReceipt, committed_at_ms: int) -> int:
    """The last moment at which the intent may be sent. No worker sends it later, whoever wrote it last: `intent_at_ms` stays in the record."""
    return min(committed_at_ms + CALL_WITHIN_MS, intent.intent_at_ms + UNKNOWN_AFTER_MS)


def is_old(intent: CellReceipt, now_ms: int) -> bool:
    """True where the intent's key must not be used any more."""
    return now_ms >= intent.intent_at_ms + UNKNOWN_AFTER_MS


def readable_at_ms(intent: CellReceipt) -> int:
    """From when what stands at the provider says for good whether the intent landed."""
    return intent.intent_at_ms + UNKNOWN_AFTER_MS + QUIET_MS
