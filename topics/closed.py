"""How far a partition's counting has come: what the report must know before it may say that nothing of a billing period is missing."""

from __future__ import annotations

from topics.codec import Stored


class Closed(Stored, frozen=True, kw_only=True):
    """The meter's word on `usage.definitions`, key `["closed", partition]`: all that its partition of the log held at wall clock `until_ms` is
    counted, and every window that was due by then stands on `usage.windows`, with what was late and waited to be merged.

    It is written after those totals are acknowledged. So whoever reads it, then asks where `usage.windows` ends, and reads up to there, has them
    all. `offset` is the barrier: everything below it is counted. It says nothing of customers who live by a test clock.
    """

    kind: str = "closed"
    partition: int
    generation: int
    until_ms: int
    offset: int
