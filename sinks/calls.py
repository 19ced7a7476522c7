"""Law 13, the ages of an intent: until when it may be sent, and from when the provider may be asked what became of it. Pure."""

from __future__ import annotations

from typing import Final, NamedTuple

from topics.receipt import CellReceipt

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
    """Post the intent's exact request; the bytes must be on the socket by `not_after_ms`, or not at all."""

    key: bytes
    intent: CellReceipt
    not_after_ms: int


class ReadBack(NamedTuple):
    """Read the item's totals per period back, as far as the period that holds `timestamp_s`."""

    key: bytes
    item: str
    timestamp_s: int


def not_after_ms(intent: CellReceipt, committed_at_ms: int) -> int:
    """The last moment at which the intent may be sent. No worker sends it later, whoever wrote it last: `intent_at_ms` stays in the record."""
    return min(committed_at_ms + CALL_WITHIN_MS, intent.intent_at_ms + UNKNOWN_AFTER_MS)


def is_old(intent: CellReceipt, now_ms: int) -> bool:
    """True where the intent's key must not be used any more."""
    return now_ms >= intent.intent_at_ms + UNKNOWN_AFTER_MS


def readable_at_ms(intent: CellReceipt) -> int:
    """From when what stands at the provider says for good whether the intent landed."""
    return intent.intent_at_ms + UNKNOWN_AFTER_MS + QUIET_MS
