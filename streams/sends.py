"""A record that the core wants written; the shell sends it and waits for its acknowledgement."""

from __future__ import annotations

from typing import NamedTuple

from topics.batch import Headers


class Send(NamedTuple):
    """One record for an explicit partition; `value` None is a tombstone."""

    topic: str
    partition: int
    key: bytes | None
    value: bytes | None
    headers: Headers = ()
