"""A column of bytes over one buffer: where each value begins and how long it is, so that a record costs no object until somebody asks for it.

To its readers it is a sequence of `bytes | None`; compiled functions read `buffer`, `starts` and `lengths`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final, TypeAlias, overload

import numpy as np
from numpy.typing import NDArray

Places: TypeAlias = NDArray[np.int64]

NULL: Final = -1
"""The length of a value that is None."""


class Spans(Sequence[bytes | None]):
    """Values of one buffer. Every span lies within it: whoever makes one has checked that.

    `buffer`: its bytes, one dimension, contiguous, read-only. `starts` and `lengths`: int64, contiguous, read-only, a place each; None has the
    length -1 (`NULL`) and a start that means nothing but lies within the buffer. A slice shares the buffer.
    Whoever goes through all of it makes the values, once; one by one they are made each time.
    """

    __slots__ = ("_data", "_list", "buffer", "lengths", "starts")
    __hash__ = None  # type: ignore[assignment]  # as a list's: it is equal to one

    def __init__(self, data: bytes, starts: Places, lengths: Places) -> None:
        self._data = data
        self._list: list[bytes | None] | None = None
        self.buffer: NDArray[np.uint8] = np.frombuffer(data, np.uint8)
        self.starts = _kept(starts)
        self.lengths = _kept(lengths)

    @classmethod
    def of(cls, values: Sequence[bytes | None]) -> Spans:
        """The column of these values; one that is a column already is returned as it is."""
        if isinstance(values, Spans):
            return values
        lengths = np.fromiter((NULL if value is None else len(value) for value in values), np.int64, len(values))
        starts = np.zeros(len(values), np.int64)
        np.cumsum(np.maximum(lengths, 0)[:-1], out=starts[1:])
        return cls(b"".join(value for value in values if value is not None), starts, lengths)

    def __len__(self) -> int:
        return len(self.starts)

    @overload
    def __getitem__(self, at: int) -> bytes | None: ...

    @overload
    def __getitem__(self, at: slice) -> Spans: ...

    def __getitem__(self, at: int | slice) -> bytes | Spans | None:
        if isinstance(at, slice):
            if at.indices(len(self)) == (0, len(self), 1):
                return self
            return Spans(self._data, self.starts[at], self.lengths[at])
        if self._list is not None:
            return self._list[at]
        length = int(self.lengths[at])
        if length < 0:
            return None
        start = int(self.starts[at])
        return self._data[start : start + length]

    def __iter__(self) -> Iterator[bytes | None]:
        return iter(self._listed())

    def __eq__(self, other: object) -> Any:
        if isinstance(other, Sequence) and not isinstance(other, str | bytes):
            return len(self) == len(other) and self._listed() == list(other)
        return NotImplemented

    def __repr__(self) -> str:
        return f"Spans.of({self._listed()!r})"

    def _listed(self) -> list[bytes | None]:
        if self._list is not None:
            return self._list
        data = self._data
        ends = self.starts + self.lengths
        found: list[bytes | None] = [data[start:end] for start, end in zip(self.starts.tolist(), ends.tolist(), strict=True)]
        for at in np.flatnonzero(self.lengths < 0).tolist():
            found[at] = None
        self._list = found
        return found


def _kept(places: Places) -> Places:
    """The same, contiguous and read-only; whoever gave it may go on writing to its own view."""
    kept = np.ascontiguousarray(places, np.int64).view()
    kept.flags.writeable = False
    return kept
