"""The first hashed bytes of postings: the fields customer, meter and source, laid out for a whole batch without an object each."""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from topics.compiled import compiled
from topics.content_hash import field
from topics.numbering import Numbering
from topics.scan_values import BYTES, Bytes

I64 = NDArray[np.int64]
U8 = NDArray[np.uint8]
_INTS: Final = "Array(int64, 1, 'C', readonly=True)"
_LENGTH_BYTES: Final = 4


class Heads(NamedTuple):
    """Heads one behind the other, and where each ends."""

    buffer: U8
    ends: I64

    @property
    def sizes(self) -> I64:
        """Bytes of each."""
        return np.diff(self.ends, prepend=0)

    def at(self, place: int) -> bytes:
        """One of them."""
        return self.buffer[self.ends[place - 1] if place else 0 : self.ends[place]].tobytes()

    @staticmethod
    def of(heads: list[bytes]) -> Heads:
        """Of heads that are there already."""
        return Heads(np.frombuffer(b"".join(heads), np.uint8), np.cumsum(np.fromiter(map(len, heads), np.int64, len(heads))))


def heads_of(meter: str, customers: I64, sources: I64, names: Numbering, source_names: Numbering) -> Heads:
    """Of postings of a meter, by the numbers of their customers and sources."""
    if sources.min() == sources.max():
        distinct, of = sources[:1], np.zeros(len(sources), np.int64)
    else:
        distinct, of = np.unique(sources, return_inverse=True)
    tails = Heads.of([field(meter) + field(source_names.name(number).decode()) for number in distinct.tolist()])
    arena, ends = names.held
    sizes = _LENGTH_BYTES + ends[customers + 1] - ends[customers] + tails.sizes[of]
    found = Heads(np.empty(int(sizes.sum()), np.uint8), np.cumsum(sizes))
    _lay_out(customers, arena, ends, of, tails.buffer, tails.ends, found.buffer)
    return found


@compiled(f"void({_INTS}, {BYTES}, {_INTS}, {_INTS}, {BYTES}, {_INTS}, Array(uint8, 1, 'C'))")
def _lay_out(customers: I64, arena: Bytes, ends: I64, of: I64, tails: Bytes, tail_ends: I64, found: U8) -> None:
    """`found` has room for exactly all of them."""
    at = 0
    for index in range(len(customers)):
        begin, end = ends[customers[index]], ends[customers[index] + 1]
        length = end - begin
        for byte in range(4):
            found[at + byte] = (length >> (8 * byte)) & 0xFF
        at += 4
        for place in range(begin, end):
            found[at] = arena[place]
            at += 1
        begin = tail_ends[of[index] - 1] if of[index] else 0
        for place in range(begin, tail_ends[of[index]]):
            found[at] = tails[place]
            at += 1
