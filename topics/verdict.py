"""Verdicts: one record for every event that was not counted, and after each durable flush a mark with the partition's counters."""

from __future__ import annotations

from typing import Literal

import msgspec

from topics.codec import Stored, decode


class Counters(msgspec.Struct, kw_only=True, gc=False):
    """Law 7, of one partition and generation: `next_offset − base` = the sum of all the others but `postings` and `retired`."""

    base: int = 0
    next_offset: int = 0
    counted: int = 0
    duplicate: int = 0
    rejected: int = 0
    too_late: int = 0
    rerouted: int = 0
    control: int = 0
    skipped: int = 0
    postings: int = 0

    @property
    def residual(self) -> int:
        """Offsets without exactly one fate: 0, or something is wrong."""
        fates = self.counted + self.duplicate + self.rejected + self.too_late + self.rerouted + self.control + self.skipped
        return self.next_offset - self.base - fates


class Verdict(Stored, frozen=True, kw_only=True):
    """Why the event at (`partition`, `offset`) of `usage.events` was not counted; `first_offset` names a duplicate's first copy if known."""

    verdict: Literal["duplicate", "rejected", "too_late", "rerouted"]
    generation: int
    partition: int
    offset: int
    reason: str = ""
    sentence: str = ""
    customer: str = ""
    source: str = ""
    event_id: str = ""
    home: int | None = None


class Mark(Stored, frozen=True, kw_only=True):
    """All events of `partition` below `next_offset` have their verdict on this topic."""

    verdict: Literal["mark"] = "mark"
    generation: int
    partition: int
    next_offset: int
    counters: Counters


class _Any(msgspec.Struct):
    verdict: str


_any = msgspec.json.Decoder(_Any)
_verdict = msgspec.json.Decoder(Verdict)
_mark = msgspec.json.Decoder(Mark)


def decode_verdict(data: bytes | None, where: str) -> Verdict | Mark:
    """A record of `usage.verdicts`. Raises MalformedRecord or UnknownVersion, naming `where`."""
    if decode(data, _any, where).verdict == "mark":
        return decode(data, _mark, where)
    return decode(data, _verdict, where)
