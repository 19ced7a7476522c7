"""The archive's copy of a partition folded from its base with the product's own `step`, and whether the copy is whole."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Final, NamedTuple

from infra.replaying.archived import Generation
from streams.rebuild import Emitted, Rebuild
from streams.rows import Row, revision
from streams.state import Facts
from topics.batch import Batch
from topics.errors import Halt, TidemarkError
from topics.verdict import Counters

LET_GO_EVERY: Final = 200_000
"""Records between two looks for rows that are final: each look asks ClickHouse once, and between two of them rows are 100 MB at most."""
FATES: Final = ("counted", "duplicate", "rejected", "too_late", "rerouted", "control", "skipped", "postings")

Batches = Callable[[int, int, int], Iterator[Batch]]
"""Records [start, end) of a generation."""


class NotWhole(TidemarkError):
    """The archive's copy of a partition is not what the meter counted, so nothing exact can be built from it."""


class Reach(NamedTuple):
    """Up to where a partition is folded: a generation and the offset that ends it there."""

    generation: int
    offset: int

    @property
    def rev(self) -> int:
        """As a revision: events below it are folded."""
        return revision(self.generation, self.offset)


def reach_of(generations: Sequence[Generation], until: Reach | None = None) -> Reach:
    """How far the archive is whole, or as far as `until` where that is less. Raises NotWhole where nothing is archived."""
    if not generations:
        raise NotWhole("the archive has no mark of it: nothing of this partition was ever archived")
    archived = Reach(generations[-1].number, generations[-1].whole_to)
    return archived if until is None else min(archived, until)


def fold_archived(
    rebuild: Rebuild,
    generations: Sequence[Generation],
    batches: Batches,
    end: Reach,
    *,
    emitted: Emitted,
    final: Callable[[list[Row]], None] = lambda _: None,
    facts: Callable[[Facts], None] = lambda _: None,
    step: Callable[[int], None] = lambda _: None,
) -> list[str]:
    """Fold everything below `end`; returns what the copy lacks of what the meter counted, in sentences (none: it is whole).

    `final` is shown rows that no event can change any more, perhaps more than once. Raises NotWhole where the copy does not begin where the log did.
    """
    since, wrong = 0, list[str]()
    for generation in generations[: end.generation + 1]:
        if generation.number:
            rebuild.begin_generation(generation.base)
        stop = end.offset if generation.number == end.generation else generation.whole_to
        for batch in batches(generation.number, generation.base, stop):
            facts(_folded(rebuild, batch, generation.number))
            step(len(batch))
            since += len(batch)
            if since >= LET_GO_EVERY:
                since = 0
                final(rebuild.let_go(emitted))
        # Postings are counted on through all logs: behind one that is not archived to its end they say nothing more.
        has_gap = any(before.archived < before.marked for before in generations[: generation.number])
        if stop >= generation.whole_to and (differing := disagreements(generation, rebuild.state.counters, has_gap=has_gap)):
            place = f"partition {rebuild.state.partition}, generation {generation.number}"
            wrong.append(f"{place}: ClickHouse's copy of the log up to offset {stop} is not what was counted: {'; '.join(differing)}")
    return wrong


def _folded(rebuild: Rebuild, batch: Batch, generation: int) -> Facts:
    try:
        return rebuild.fold(batch)
    except Halt as halt:
        place = f"partition {batch.partition}, generation {generation}"
        raise NotWhole(
            f"{place}: what ClickHouse has of the log does not begin with its meters, so nothing can be counted again from it ({type(halt).__name__} "
            f"below offset {batch.next_offset}): the archive is younger than the log, or its oldest rows were dropped"
        ) from halt


def disagreements(generation: Generation, found: Counters, *, has_gap: bool = False) -> list[str]:
    """What the meter's own counters at the mark say otherwise. Below the mark only what can be no more than there."""
    said = generation.counters
    exact = found.next_offset == said.next_offset
    return [
        f"{name} {getattr(found, name)}, the meter had {getattr(said, name)}{'' if exact else ' at most'}"
        for name in FATES
        if not (has_gap and name == "postings")
        and (getattr(found, name) != getattr(said, name) if exact else getattr(found, name) > getattr(said, name))
    ]
