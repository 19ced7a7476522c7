"""Test clocks: a customer whose binding names one lives in its time. `tidemark.clock` brings that time into the log, in band (law 0)."""

from __future__ import annotations

from typing import Final

import msgspec

from topics.codec import CONTROL_VERSION

CLOCK_TYPE: Final = "tidemark.clock"


class ClockRecord(msgspec.Struct, frozen=True, kw_only=True):
    """`data` of a `tidemark.clock` record, keyed by the customer: the provider's test clock `clock` shows `now_s` (Unix seconds) from here on.

    It says nothing where the customer's binding names another clock, or where the clock already showed a later time.
    """

    v: int = CONTROL_VERSION
    clock: str
    now_s: int
