"""The one tree of errors.

    TidemarkError                 exit 1: said in one sentence, never a traceback
    ├── UsageError                exit 2: wrong use of a command
    ├── ConfigurationFault        exit 2: every fault of a configuration, all at once
    ├── Unreachable               exit 3: a server cannot be reached
    ├── MalformedRecord           a stored record of ours that cannot be read; names the place
    │   └── UnknownVersion        written by a newer program
    └── Halt                      a worker must stop and say which command goes on
        ├── LostLog               the log no longer has what must be read again
        ├── ForeignLog            recreated, truncated or mirrored topic
        └── CorruptState          the changelog contradicts itself

Outcomes that a caller must handle (a refused report, a bad event) are values, not exceptions.
"""

from __future__ import annotations

from dataclasses import dataclass


class TidemarkError(Exception):
    """Base of all errors; its text is one sentence for a person: what, where, what to do."""

    exit_code = 1


class UsageError(TidemarkError):
    """A command was called in a way that cannot work."""

    exit_code = 2


@dataclass(frozen=True)
class Fault:
    """One fault of a configuration: `place` (section.key), what is wrong, and a remedy."""

    place: str
    problem: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.place}: {self.problem}. {self.remedy}"


class ConfigurationFault(TidemarkError):
    """Everything that is wrong with a configuration, reported together."""

    exit_code = 2

    def __init__(self, faults: list[Fault]) -> None:
        super().__init__("\n".join(str(fault) for fault in faults))
        self.faults = faults


class Unreachable(TidemarkError):
    """Kafka, ClickHouse, Stripe or a stack's process does not answer."""

    exit_code = 3


class MalformedRecord(TidemarkError):
    """A stored record cannot be read; the message names the topic or field."""


class UnknownVersion(MalformedRecord):
    """A stored record was written by a newer program; reading on would be guessing."""


class Halt(TidemarkError):
    """A worker stops billing rather than guess; the message names the command that goes on."""


class LostLog(Halt):
    """Events that were never counted are gone from the log."""


class ForeignLog(Halt):
    """The log is not the one that the state was built from."""


class CorruptState(Halt):
    """Two records of the changelog contradict each other, or a checksum is wrong."""
