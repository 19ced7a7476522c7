"""A record on `usage.rejected`: the original key, bytes and headers, and in headers of ours why, whence and when."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from topics.batch import Headers
from topics.errors import MalformedRecord

PREFIX = "tidemark-rejected-"


class Rejected(NamedTuple):
    """A rejected event with its origin; `headers` are the producer's own."""

    key: bytes | None
    value: bytes | None
    headers: Headers
    reason: str
    sentence: str
    topic: str
    partition: int
    offset: int
    received_at_ms: int


def rejected_headers(record: Rejected) -> Headers:
    """The headers to write: the producer's, unchanged and in order, then ours; `reason` last, as scripts read it."""
    own = {
        "sentence": record.sentence.encode(),
        "topic": record.topic.encode(),
        "partition": b"%d" % record.partition,
        "offset": b"%d" % record.offset,
        "received-at": b"%d" % record.received_at_ms,
    }
    return (*record.headers, *((PREFIX + name, data) for name, data in own.items()), ("reason", record.reason.encode()))


def read_rejected(key: bytes | None, value: bytes | None, headers: Headers, where: str) -> Rejected:
    """The rejected event of a record of `usage.rejected`. Raises MalformedRecord, naming `where`."""
    named: Mapping[str, bytes | None] = dict(headers[-6:])  # a header may have no value, whatever our own writers do
    own = {name: data for name, data in named.items() if data is not None}
    try:
        return Rejected(
            key=key,
            value=value,
            headers=headers[:-6],
            reason=own["reason"].decode(),
            sentence=own[PREFIX + "sentence"].decode(),
            topic=own[PREFIX + "topic"].decode(),
            partition=int(own[PREFIX + "partition"]),
            offset=int(own[PREFIX + "offset"]),
            received_at_ms=int(own[PREFIX + "received-at"]),
        )
    except (KeyError, ValueError) as error:
        raise MalformedRecord(f"{where}: headers of a rejected record are missing or wrong: {error}") from None
