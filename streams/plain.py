"""What lets a record with headers be read without the reference: the test may refuse too much, never too little."""

from __future__ import annotations

from topics.batch import Headers
from topics.scanning import MAX_PLAIN_BYTES


def is_foreign(headers: Headers) -> bool:
    """True where headers are a producer's own, and not many: nothing depends on them."""
    size = sum(4 * len(name) + len(data or b"") for name, data in headers)
    return size <= MAX_PLAIN_BYTES and not any(name.startswith("tidemark-") for name, _ in headers)
