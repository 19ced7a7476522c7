"""`tidemark.flush`: an application that changes a customer's plan wants what was used until then emitted now (H32)."""

from __future__ import annotations

from typing import Final

import msgspec

from topics.codec import CONTROL_VERSION, Stored

FLUSH_TYPE: Final = "tidemark.flush"


class FlushRecord(msgspec.Struct, frozen=True, kw_only=True):
    """`data` of a `tidemark.flush` record, keyed by the customer: its windows that start before `until_s` (Unix seconds) are emitted as they stand.

    `id` tells two flushes apart. What comes later makes a higher revision, as always.
    """

    v: int = CONTROL_VERSION
    until_s: int
    id: str


class Flush(Stored, frozen=True, kw_only=True):
    """A flush as published, key `["flush", customer, offset]`; of a customer the newest one acts: an earlier one acted already."""

    kind: str = "flush"
    customer: str
    until_s: int
    id: str
    offset: int
