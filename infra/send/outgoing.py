"""What a reader makes of a line: an event to send, or a line that cannot be sent, with its number and why."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any, NamedTuple, Protocol

from topics.codec import encode
from topics.instants import format_us


class Outgoing(NamedTuple):
    """One event: its customer and time, and the CloudEvent without its time (`body`), or the exact bytes to send (`value`).

    `occurred_at_us` None: the event carries no time that could be moved.
    """

    line: int
    customer: str
    occurred_at_us: int | None
    body: dict[str, Any] | None
    value: bytes = b""

    def bytes_at(self, shift_us: int) -> bytes:
        """The record's value with its time moved by `shift_us`; unmoved events keep the very bytes they came with."""
        if self.body is None:
            return self.value
        if self.occurred_at_us is None:
            return encode(self.body)
        return encode(self.body | {"time": format_us(self.occurred_at_us + shift_us)})


class BadLine(NamedTuple):
    """A line that has no customer or no readable time: it cannot be sent at all."""

    line: int
    problem: str


class Reader(Protocol):
    """Reads numbered lines (without their line ends) into events."""

    def __call__(self, lines: Iterator[tuple[int, bytes]]) -> Iterator[Outgoing | BadLine]:
        """One result a line, or none where the line is empty."""
        ...


class LineIds:
    """Ids of lines: the digest of a line's bytes and its ordinal among equal lines of the file; same file, same ids."""

    def __init__(self) -> None:
        self._seen: dict[bytes, int] = {}

    def next(self, line: bytes) -> str:
        """The id of this occurrence of the line, the first being number 0.

        Sixteen bytes of SHA-256: two lines of 10¹² share one with a chance below 10⁻¹⁴.
        """
        digest = hashlib.sha256(line).digest()[:16]
        ordinal = self._seen.get(digest, 0)
        self._seen[digest] = ordinal + 1
        return f"{digest.hex()}-{ordinal}"


def cloud_event(event_id: str, source: str, event_type: str, customer: str, data: dict[str, Any]) -> dict[str, Any]:
    """A CloudEvent 1.0 without its time."""
    return {"specversion": "1.0", "id": event_id, "source": source, "type": event_type, "subject": customer, "data": data}


def shift_to(now_us: int, last_us: int) -> int:
    """By how many microseconds to move all times so that the last event is one to two seconds past; whole seconds keep fractions."""
    return (now_us - last_us) // 1_000_000 * 1_000_000 - 1_000_000
