"""What an operator found a provider to hold of one cell: `tidemark reconcile --repair` writes it, and the report puts the cell right by itself.

It is no side door: nothing is called for it but what the cell's next intent says (law 13), and of a final cell nothing at all (law 16).
"""

from __future__ import annotations

import re
from typing import Final

import msgspec

from topics.codec import CONTROL_VERSION, Stored

RESTATE_TYPE: Final = "tidemark.restate"
_UNITS: Final = re.compile(r"-?\d{1,40}(\.\d{1,12})?", re.ASCII)
WHOLE: Final = re.compile(r"\d{1,19}", re.ASCII)
"""What a usage record can hold, as a receipt keeps it."""


class RestateRecord(msgspec.Struct, frozen=True, kw_only=True):
    """`data` of a `tidemark.restate` record, keyed by the customer.

    `target` is the key of the cell's receipt, `revision` and `attempt` those of the receipt that was seen (0 and 0: there is none): where it is
    another one by now the record changes nothing, since what was read may be older than it. `stands` is how much of the cell the provider holds,
    in its units; of these `beside` stand at another second of the cell's period, where nothing of ours can be (usage records only: a report says
    so much less). `meter` and `start_s` say which cell it is where there is no receipt. `read_at_ms` is when the provider was asked: a receipt
    keeps its revision and attempt when its answer, or the proof that it counts, is written, and what was read before that says nothing of it
    (None: not said; then only the revision and the attempt are compared). `reason` and `who` are for people.
    """

    v: int = CONTROL_VERSION
    target: str
    revision: int
    attempt: int
    stands: str
    beside: str = "0"
    meter: str = ""
    start_s: int | None = None
    read_at_ms: int | None = None
    reason: str = ""
    who: str = ""


class Restatement(Stored, frozen=True, kw_only=True):
    """A restatement as published to `usage.definitions`, key `["restatement", target, offset]`."""

    kind: str = "restatement"
    customer: str
    said: RestateRecord
    offset: int


def restate_problem(record: RestateRecord) -> str | None:
    """Why a restatement cannot be used; None where it can."""
    for name, units in (("stands", record.stands), ("beside", record.beside)):
        if not _UNITS.fullmatch(units):
            return f"{name} {units[:40]!r} is no decimal number"
    if record.revision < 0 or record.attempt < 0:
        return "revision and attempt count from 1; 0 says that there was no receipt"
    if not WHOLE.fullmatch(record.beside):
        return f"beside {record.beside[:40]!r} is no whole number of units: what stands at another second is something, and usage records are whole"
    if record.read_at_ms is not None and record.read_at_ms < 0:
        return f"read_at_ms {record.read_at_ms} is no instant after 1970"
    if (record.revision == 0) != (record.start_s is not None):
        return "start_s is said where there is no receipt, and only there"
    return None
