"""Events under one (customer, source, id): copies that were counted twice, and copies that say different things. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from infra.reconciling.books import Books, Copies, Copy
from infra.reconciling.drift import Drift
from topics.instants import US_PER_MS, format_us
from topics.quantity import format_scaled
from topics.windows import Window


def in_ids(books: Books) -> Iterator[Drift]:
    """`old_duplicate` and `conflicting_body`, one a further event. About a copy that an amendment names a person has decided; not about others."""
    for copies in books.copies:
        yield from _of(books, copies)


def _of(books: Books, copies: Copies) -> Iterator[Drift]:
    open_ = [copy for copy in copies.copies if not copy.is_amended]
    first = next((copy for copy in open_ if copy.verdict == "counted"), None)
    if first is None:
        return
    for copy in open_:
        if copy is first:
            continue
        if copy.body != first.body:
            yield _conflict(books, copies, first, copy)
        elif copy.verdict == "counted":
            yield _twice(books, copies, first, copy)


def _posting(books: Books, copy: Copy) -> tuple[Window | None, int]:
    """The copy's window and quantity in the books' meter."""
    mine = next((each for each in copy.postings if each[0] == books.meter), None)
    return (None, 0) if mine is None else (Window(books.customer, mine[0], mine[1], mine[2]), mine[3])


def _twice(books: Books, copies: Copies, first: Copy, copy: Copy) -> Drift:
    window, scaled = _posting(books, copy)
    apart = f"{(copy.received_at_ms - first.received_at_ms) // 3_600_000} hours"
    return Drift(
        kind="old_duplicate",
        customer=books.customer,
        meter=books.meter,
        window=window,
        events=(first.at, copy.at),
        numbers={"counted": format_scaled(2 * scaled)},
        difference_scaled=scaled,
        sentence=f"event {copies.event_id!r} of source {copies.source!r} was counted at {_at(first)} and again at {_at(copy)}, {apart} "
        "later: further apart than `dedup` promises",
        advice="--repair voids the later copy by an amendment; or make `dedup` longer than the producer's longest repetition",
        repair="amend",
    )


def _conflict(books: Books, copies: Copies, first: Copy, copy: Copy) -> Drift:
    window, scaled = _posting(books, first)
    _, other = _posting(books, copy)
    both = copy.verdict == "counted"
    return Drift(
        kind="conflicting_body",
        customer=books.customer,
        meter=books.meter,
        window=window,
        events=(first.at, copy.at),
        numbers={"counted": format_scaled(scaled + other if both else scaled)},
        difference_scaled=other if both else scaled - other,
        sentence=f"two events have id {copies.event_id!r} of source {copies.source!r} and different content: {_at(first)} was counted with "
        f"{format_scaled(scaled)}, {_at(copy)} {'was counted too' if both else 'was a duplicate'}, with {format_scaled(other)}",
        advice="ask the producer which one is right, then void or set the other by an amendment; a correction needs an id of its own",
        repair="amend",
    )


def _at(copy: Copy) -> str:
    return f"{copy.at.partition}:{copy.at.offset} ({format_us(copy.received_at_ms * US_PER_MS)})"
