"""What the raw events say of the windows: a recount that is not what was emitted, and windows that were never emitted at all. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from infra.reconciling.books import Books, Emitted, WindowBook
from infra.reconciling.drift import Coordinate, Drift, Stage
from topics.instants import format_s
from topics.quantity import format_scaled


def in_windows(books: Books) -> Iterator[Drift]:
    """`raw_event` and `missing_window`, at most one a window."""
    for book in books.windows:
        wrong = next((each for each in book.revisions if each.recount is not None and each.recount != each.total), None)
        if wrong is not None:
            yield _raw(books, book, wrong)
        elif book.must_be_emitted and not book.revisions and book.counted is not None:
            yield _missing(books, book)
        elif book.must_be_emitted and book.revisions and book.newest_event > book.revisions[-1].revision:
            yield _behind(books, book)


def _raw(books: Books, book: WindowBook, wrong: Emitted) -> Drift:
    """The first revision that does not follow from its events; later ones of the window hold the same fault."""
    newest = book.revisions[-1]
    recount = newest.recount if newest.recount is not None and newest.recount != newest.total else wrong.recount
    told = newest if newest.recount is not None and newest.recount != newest.total else wrong
    if recount is None:
        raise ValueError("a revision without a recount is not judged")
    short, gone = told.total.scaled - recount.scaled, told.total.events - recount.events
    if gone > 0:
        what = f"{gone} of its {told.total.events} events are missing from ClickHouse"
    elif gone < 0:
        what = f"ClickHouse holds {-gone} events more than were counted"
    else:
        what = "one of its events in ClickHouse is not what was counted: the content hash differs"
    return Drift(
        kind="raw_event",
        customer=books.customer,
        meter=books.meter,
        window=book.window,
        events=tuple(book.suspects),
        numbers=stages(book) | {"raw": format_scaled(recount.scaled), "emitted": format_scaled(told.total.scaled)},
        difference_scaled=-short,
        sentence=f"window {format_s(book.window.start_s)}: {format_scaled(told.total.scaled)} from {told.total.events} events was emitted, and the "
        f"raw events in ClickHouse give {format_scaled(recount.scaled)} from {recount.events}: {what}{_where(book.suspects)}",
        advice="what was billed is what was counted; the proof is broken. --repair takes the rows from Kafka again while the log has them, "
        "else from a backup; find out who writes to the archive's tables",
        repair="restore",
        lacks=max(0, gone),
    )


def _where(suspects: tuple[Coordinate, ...]) -> str:
    shown = ", ".join(f"{each.partition}:{each.offset}" for each in suspects[:5])
    return f" (partition:offset {shown}{', …' if len(suspects) > 5 else ''})" if suspects else ""


def _missing(books: Books, book: WindowBook) -> Drift:
    counted = book.counted
    if counted is None:
        raise ValueError("a window without events cannot be missing")
    return Drift(
        kind="missing_window",
        customer=books.customer,
        meter=books.meter,
        window=book.window,
        numbers=stages(book) | {"emitted": "0"},
        difference_scaled=-counted.scaled,
        sentence=f"window {format_s(book.window.start_s)} … {format_s(book.window.end_s)} holds {counted.events} counted events "
        f"({format_scaled(counted.scaled)}), was due, and the archive has no revision of it",
        advice="--repair takes its revisions from usage.windows again, or emits it anew",
        repair="emit",
    )


def _behind(books: Books, book: WindowBook) -> Drift:
    newest, counted = book.revisions[-1], book.counted
    scaled = 0 if counted is None else counted.scaled
    return Drift(
        kind="missing_window",
        customer=books.customer,
        meter=books.meter,
        window=book.window,
        numbers=stages(book),
        difference_scaled=newest.total.scaled - scaled,
        sentence=f"window {format_s(book.window.start_s)}: {format_scaled(newest.total.scaled)} was emitted last, its counted events give "
        f"{format_scaled(scaled)}, and the archive has no revision of the later ones, though it was due",
        advice="--repair takes its revisions from usage.windows again, or emits it anew",
        repair="emit",
    )


def stages(book: WindowBook) -> dict[Stage, str]:
    """What the stages before the delivery say of a window."""
    found: dict[Stage, str] = {"counted": format_scaled(0 if book.counted is None else book.counted.scaled)}
    if book.revisions:
        newest = book.revisions[-1]
        found["emitted"] = format_scaled(newest.total.scaled)
        if newest.recount is not None:
            found["raw"] = format_scaled(newest.recount.scaled)
    return found
