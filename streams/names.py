"""The ids of a stretch as columns of bytes: what is digested twice for each event, for its duplicates and for its window's hash."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

U8 = NDArray[np.uint8]


class Names:
    """Texts in UTF-8. Where all have one length, as most ids have, `matrix` holds one a row; else `each` holds them one by one."""

    __slots__ = ("each", "lengths", "matrix")

    def __init__(self, each: list[bytes] | None, lengths: NDArray[np.int64], matrix: U8 | None) -> None:
        self.each = each
        self.lengths = lengths
        self.matrix = matrix

    @staticmethod
    def of(texts: list[str]) -> Names:
        """Of one text or more."""
        joined = "".join(texts)
        lengths = np.fromiter(map(len, texts), np.int64, len(texts))
        if joined.isascii() and (lengths == lengths[0]).all():
            return Names(None, lengths, np.frombuffer(joined.encode(), np.uint8).reshape(len(texts), lengths[0]))
        return Names.of_bytes([text.encode() for text in texts])

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
