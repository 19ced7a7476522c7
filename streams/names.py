"""The ids of a stretch as columns of bytes: what is digested twice for each event, for its duplicates and for its window's hash."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from topics.compiled import compiled
from topics.scan_values import BYTES

U8 = NDArray[np.uint8]
I64 = NDArray[np.int64]


@compiled(f"void({BYTES}, Array(int64, 1, 'C', readonly=True), Array(uint8, 2, 'C'))")
def _gather(data: U8, starts: I64, found: U8) -> None:
    """Stretches of one length, one a row."""
    for row in range(len(starts)):
        for place in range(found.shape[1]):
            found[row, place] = data[starts[row] + place]


class Names:
    """Texts in UTF-8. Where all have one length, as most ids have, `matrix` holds one a row; else `each` holds them one by one."""

    __slots__ = ("each", "lengths", "matrix")

    def __init__(self, each: list[bytes] | None, lengths: NDArray[np.int64], matrix: U8 | None) -> None:
        self.each = each
        self.lengths = lengths
        self.matrix = matrix

    @staticmethod
    def within(data: U8, starts: I64, lengths: I64) -> Names:
        """Of stretches of one buffer."""
        if (lengths == lengths[0]).all():
            matrix = np.empty((len(starts), int(lengths[0])), np.uint8)
            _gather(data, starts, matrix)
            return Names(None, lengths, matrix)
        pairs = zip(starts.tolist(), (starts + lengths).tolist(), strict=True)
        text = data.data
        return Names([bytes(text[begin:end]) for begin, end in pairs], lengths, None)

    @staticmethod
    def of_bytes(each: list[bytes]) -> Names:
        """Of texts that are encoded already."""
        return Names(each, np.fromiter(map(len, each), np.int64, len(each)), None)

    def some(self, where: NDArray[np.intp]) -> Names:
        """Those at these places."""
        if self.matrix is not None:
            return Names(None, self.lengths[where], self.matrix[where])
        each = self.each or []
        return Names([each[place] for place in where.tolist()], self.lengths[where], None)

    def __len__(self) -> int:
        return len(self.lengths)
