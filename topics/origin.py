"""Headers of ours on a record of `usage.events` that was sent again: re-routed to its home (law 1) or replayed from the rejected topic."""

from __future__ import annotations

from typing import Final, NamedTuple

from topics.batch import Headers

ORIGIN_PARTITION: Final = "tidemark-origin-partition"
ORIGIN_OFFSET: Final = "tidemark-origin-offset"
RECEIVED_AT: Final = "tidemark-received-at"
ORIGIN_HEADERS: Final = (ORIGIN_PARTITION, ORIGIN_OFFSET, RECEIVED_AT)
REPLAY: Final = "tidemark-replay"
"""On a rejected event that a person sent again: who and why, as JSON. Nothing depends on it."""
MAX_REPLAY_BYTES: Final = 512
"""A name and a sentence."""


class Origin(NamedTuple):
    """Where a record came from first (None: here) and when that was, by LogAppendTime."""

    partition: int | None
    offset: int | None
    received_at_ms: int


def origin_of(headers: Headers, timestamp_ms: int) -> Origin:
    """The origin of a record appended at `timestamp_ms`; headers that are no numbers, or name a later time, are a producer's own and ignored."""
    if not headers:
        return Origin(None, None, timestamp_ms)
    found = {name: _number(data) for name, data in headers if name.startswith("tidemark-")}
    received_at_ms = found.get(RECEIVED_AT)
    if received_at_ms is None or received_at_ms > timestamp_ms:
        received_at_ms = timestamp_ms
    return Origin(found.get(ORIGIN_PARTITION), found.get(ORIGIN_OFFSET), received_at_ms)


def named_origin(headers: Headers) -> Origin | None:
    """The origin that headers name, whatever the time of their record; None where one of the three is missing or no number."""
    found = {name: _number(data) for name, data in headers if name in ORIGIN_HEADERS}
    numbers = (found.get(ORIGIN_PARTITION), found.get(ORIGIN_OFFSET), found.get(RECEIVED_AT))
    partition, offset, received_at_ms = numbers
    return None if partition is None or offset is None or received_at_ms is None else Origin(partition, offset, received_at_ms)


def _number(data: bytes | None) -> int | None:
    return int(data) if data and data.isdigit() and len(data) < 19 else None


def reroute_headers(headers: Headers, partition: int, offset: int, received_at_ms: int) -> Headers:
    """The headers of the copy that is sent to its home: the producer's own, then the origin."""
    return (*(header for header in headers if header[0] not in ORIGIN_HEADERS), *_own(partition, offset, received_at_ms))


def replay_headers(headers: Headers, partition: int, offset: int, received_at_ms: int, said: bytes) -> Headers:
    """The headers of a rejected event that is sent again: the producer's own, who sent it and why, then where it was rejected."""
    kept = (header for header in headers if header[0] not in ORIGIN_HEADERS and header[0] != REPLAY)
    return (*kept, (REPLAY, said), *_own(partition, offset, received_at_ms))


def _own(partition: int, offset: int, received_at_ms: int) -> Headers:
    return ((ORIGIN_PARTITION, b"%d" % partition), (ORIGIN_OFFSET, b"%d" % offset), (RECEIVED_AT, b"%d" % received_at_ms))
