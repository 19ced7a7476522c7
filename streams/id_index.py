"""Where an id stands in the list of ids: a hash index of 6 bytes a slot that grows by a page at a time and is never rebuilt.

Pages of 16 slots; an id may stand in either of two pages (two words of its digest name them) and takes the emptier one, so pages can be seven
eighths full and hardly any id finds both full; one that does goes to a short sorted spill. A slot holds 16 bits of the digest, which clear
nearly all ids that were never seen without a look at their digests, and the place in the list. Pages are split one after the other (linear
hashing), a few in each call, so there is no moment at which everything is moved. A slot whose place is below `first` is free.
Digests are keyed (`streams/duplicates.py`), so nobody can choose ids that meet in one page; if they ever do, the spill is slower, never wrong.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np
from numpy.typing import NDArray

from streams import id_pages
from streams.duplicates import I64, U64
from streams.id_pages import PAGE
from streams.room import Stretching

LOAD: Final = 0.8
"""Share of slots in use: 7.5 bytes an id. Pages that are not yet split in a round fill up to the brim; fuller, every third new id would
make others move, at more than twice the cost (measured at 0.875)."""
FIRST_PAGES: Final = 16
SPLIT_SHARE: Final = 256
SPLIT_PAGES: Final = 2048
"""Pages are split by at least this part of all at a time, but no more of them than this unless a batch needs them: many cost less each, and
2,048 read 26,000 digests. (Without the second, a batch at 100 M ids waited 450 ms for the split of 30,000 pages.)"""
LEFT_FREE: Final = 2
"""An id leaves a full page only for one with more free slots than this: else it would soon be asked to move again."""
ASKED: Final = PAGE // 2
"""Of how many ids of a full page it is asked whether they can leave it; sometimes of the first ones, sometimes of the others."""
MOVED: Final = 3
"""Ids that leave a full page at once: the next ones that want it then find room."""
ROOM_SHARE: Final = 32
"""Arrays are lengthened by this part of themselves: 0.2 bytes an id on average that no id uses yet."""
PLACES: Final = 1 << 32
"""Places are below this; the table counts anew before it is reached."""
_HITS_SHARE: Final = 16
"""Room for a mark that is alike of so many ids: by chance one in 2,000 has one, and where most are known they are looked up once more."""


class IdIndex:
    """Digest → candidates for its place. Knows places, not digests: the caller compares those."""

    def __init__(self) -> None:
        self.pages = self._base = FIRST_PAGES
        """`_base`: pages when this round of splits began, a power of two; those below `pages - _base` are split already."""
        self._presize(FIRST_PAGES)

    @property
    def _marks(self) -> NDArray[np.uint16]:
        return self._mark_room.values

    @property
    def _places(self) -> NDArray[np.uint32]:
        return self._place_room.values

    @property
    def bytes(self) -> int:
        """Memory that is held."""
        return self._marks.nbytes + self._places.nbytes + self._spill.bytes

    @property
    def spilled(self) -> int:
        """Ids that found both of their pages full."""
        return len(self._spill.places)

    def candidates(self, digests: U64) -> tuple[I64, I64, I64]:
        """(row of `digests`, slot, place), ascending in nothing, where an id may stand: its own slot is among them if it has one.

        A negative slot is one of the spill.
        """
        room = len(digests) // _HITS_SHARE + _HITS_SHARE
        while True:
            rows, slots = np.empty(room, np.int64), np.empty(room, np.int64)
            hits = id_pages.candidates(self._marks, self._places, self.pages, self._base, digests, rows, slots)
            if hits <= room:
                break
            room = hits
        rows, slots = rows[:hits], slots[:hits]
        places = self._places[slots].astype(np.int64)
        if not len(self._spill.places):
            return rows, slots, places
        spilled_rows, at = self._spill.candidates(digests[:, 0])
        return (
            np.concatenate([rows, spilled_rows]),
            np.concatenate([slots, -1 - at]),
            np.concatenate([places, self._spill.places[at]]),
        )

    def move(self, slots: I64, places: I64) -> None:
        """Ids that stand in `slots` stand at other places of the list now."""
        paged = slots >= 0
        self._places[slots[paged]] = places[paged]
        self._spill.places[-1 - slots[~paged]] = places[~paged]

    def claim(self, digests: U64, places: I64, first: int, digests_at: Callable[[I64], U64]) -> None:
        """Give ids that have no slot one each; slots of places below `first` are free."""
        left = self._fill(digests, places, first)
        if len(left):
            digests, places = digests[left], places[left]
            pages = (digests[:, 0] & np.uint64(2 * self._base - 1)).view(np.int64)
            self._relieve(np.unique(np.where(pages < self.pages, pages, pages - self._base)), first, digests_at)
            left = self._fill(digests, places, first)
            self._spill.add(digests[left, 0], places[left], first)

    def _fill(self, digests: U64, places: I64, first: int) -> I64:
        """Give ids a slot of the emptier of their two pages each; returns the rows of those that found both full."""
        left = np.empty(len(digests), np.int64)
        return left[: id_pages.fill(self._marks, self._places, self.pages, self._base, digests, places, first, left)]

    def _relieve(self, pages: I64, first: int, digests_at: Callable[[I64], U64]) -> None:
        """Move some ids of full pages to their other page, where that one has room."""
        slots = (pages[:, None] * PAGE + np.arange(ASKED) + self.pages % 2 * ASKED).reshape(-1)
        places = self._places[slots].astype(np.int64)
        slots, places = slots[places >= first], places[places >= first]
        id_pages.relieve(self._marks, self._places, self.pages, self._base, digests_at(places), slots, first, LEFT_FREE, MOVED)

    def reserve(self, held: int, more: int, first: int, digests_at: Callable[[I64], U64]) -> None:
        """Split pages until `more` ids fit beside the `held` ones; `digests_at` gives the digests of places."""
        wanted = int((held + more) / (LOAD * PAGE)) + 1
        if wanted <= self.pages:
            return
        if not held:
            self._presize(wanted)
            return
        target = max(wanted, self.pages + min(self.pages // SPLIT_SHARE, SPLIT_PAGES))
        while self.pages < target:
            self._split(min(target, 2 * self._base) - self.pages, first, digests_at)
        self._again(first, digests_at)

    def _presize(self, wanted: int) -> None:
        """An empty index of `wanted` pages: recovery knows how many ids come."""
        self.pages, self._base = wanted, 1 << (wanted.bit_length() - 1)
        self._mark_room, self._place_room = Stretching(wanted * PAGE, np.uint16), Stretching(wanted * PAGE, np.uint32)
        self._spill = _Spill()

    def _split(self, count: int, first: int, digests_at: Callable[[I64], U64]) -> None:
        """Split the next `count` pages of this round: an id moves to the same slot of the new page where one more bit of its word says so."""
        start, base = self.pages - self._base, self._base
        self._lengthen((self.pages + count) * PAGE)
        held = np.flatnonzero(self._places[start * PAGE : (start + count) * PAGE] >= np.uint32(first)) + start * PAGE
        digests = digests_at(self._places[held].astype(np.int64))
        id_pages.split(self._marks, self._places, self.pages, base, count, digests, held)
        self.pages += count
        if self.pages == 2 * base:
            self._base = self.pages

    def _lengthen(self, slots: int) -> None:
        if slots > len(self._marks):
            slots += slots // (PAGE * ROOM_SHARE) * PAGE
            self._mark_room.lengthen(slots)  # no view of them outlives a call
            self._place_room.lengthen(slots)

    def _again(self, first: int, digests_at: Callable[[I64], U64]) -> None:
        """There is more room: those of the spill try their pages again."""
        places = self._spill.places[self._spill.places >= first]
        if len(self._spill.places):
            self._spill = _Spill()
            self.claim(digests_at(places), places, first, digests_at)

    def count_anew(self, less: int) -> None:
        """All places become smaller by `less`; those below it are free."""
        for start in range(0, len(self._places), 1 << 20):
            part = self._places[start : start + (1 << 20)]
            part[:] = np.where(part > np.uint32(less), part - np.uint32(less), 0)
        self._spill.places = np.maximum(self._spill.places - less, 0)


class _Spill:
    """Ids whose pages were full, sorted by the first word of their digests."""

    def __init__(self) -> None:
        self._words = np.empty(0, np.uint64)
        self._filter = np.zeros(1 << 16, bool)
        self.places = np.empty(0, np.int64)

    @property
    def bytes(self) -> int:
        return self._words.nbytes + self.places.nbytes + self._filter.nbytes

    def candidates(self, words: U64) -> tuple[I64, I64]:
        """(row of `words`, position here) of all that share the first word."""
        rows = np.flatnonzero(self._filter[words.astype(np.uint16)])
        left = np.searchsorted(self._words, words[rows], "left")
        counts = np.searchsorted(self._words, words[rows], "right") - left
        begins = np.cumsum(counts) - counts
        return np.repeat(rows, counts), np.arange(counts.sum()) + np.repeat(left - begins, counts)

    def add(self, words: U64, places: I64, first: int) -> None:
        if not len(words):
            return
        live = self.places >= first
        words, places = np.concatenate([self._words[live], words]), np.concatenate([self.places[live], places])
        order = np.argsort(words, kind="stable")
        self._words, self.places = words[order], places[order]
        self._filter[:] = False
        self._filter[self._words.astype(np.uint16)] = True
