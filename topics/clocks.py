"""Test clocks: a customer whose binding names one lives in its time. `tidemark.clock` brings that time into the log, in band (law 0)."""

from __future__ import annotations

from typing import Final, NamedTuple

import msgspec

from topics.codec import CONTROL_VERSION, Stored

CLOCK_TYPE: Final = "tidemark.clock"


class ClockRecord(msgspec.Struct, frozen=True, kw_only=True):
    """`data` of a `tidemark.clock` record, keyed by the customer: the provider's test clock `clock` shows `now_s` (Unix seconds) from here on.

    It says nothing where the customer's binding names another clock, or where the clock already showed that time or a later one: publish the
    binding first.
    """

    v: int = CONTROL_VERSION
    clock: str
    now_s: int


class ClockVersion(Stored, frozen=True, kw_only=True):
    """A customer's time from the record at `offset` on, as the fold published it, key `["clock", customer, offset]`.

    While the customer's binding names `clock`, its now is `now_s`; what occurred more than `future_ms` after that is `future`, what occurred
    before `final_until_us` is `too_late`; timings act with the next word of the clock. `final_until_us` and `ahead_until_us` (no counted event
    lies at or after it) only grow, whichever clock is named. `log_final_s`: up to there rows were final by the log's own now when the customer
    first got a clock; those that were there then still are.
    """

    kind: str = "clock"
    customer: str
    clock: str
    now_s: int
    future_ms: int
    final_until_us: int
    ahead_until_us: int
    log_final_s: int
    offset: int

    @property
    def rank(self) -> tuple[int, int]:
        """Of two words of one customer the greater one came later."""
        return (self.ahead_until_us, self.offset)


class Time(NamedTuple):
    """What `future`, `too_late` and "received now" mean for one event."""

    received_at_ms: int
    future_from_us: int
    final_until_us: int
