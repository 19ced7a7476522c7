"""What puts each drift right, proposed from the books that it was found in. Pure: nothing is done here, and the same books give the same proposals.

    report, clear   the report is told what stands, and sets the cell again (`sinks/restated.py`), or adjusts it where it is final
    settle          the cell is final: the same, and what is then open is billed by its policy, or by a person
    restore, emit   the archive takes rows from the log again; what the log has lost is emitted anew
    amend           a copy beyond the promise is voided; a second body that was not counted is accepted, with who and why
    review          said with the command that a person runs
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from infra.amending.drafts import Original, Share, accept, correct, void
from infra.reconciling.books import Books, Copies, Copy
from infra.reconciling.drift import Drift
from infra.reconciling.restating import Cells, beside_is_gone, beside_steps, set_steps, standing_of, unbilled_steps
from infra.reconciling.steps import WHO, Amend, Proposal, Restate, RestoreEvents, RestoreRecords, RestoreWindow, coordinate_name
from sinks.units import plus
from topics.amendments import Of
from topics.instants import US_PER_MS, US_PER_S, format_s
from topics.quantity import format_scaled
from topics.windows import Window


def propose(books: Books, drifts: Iterable[Drift], reason: str, read_at_ms: int) -> list[Proposal]:
    """One proposal a drift of these books, in their order. `reason` is kept with what is written; a dry run may leave it empty. `read_at_ms`: our own
    clock before the provider was asked (a customer's may be a test clock's)."""
    said = reason.strip() or "dry run"
    return [_proposal(books, drift, said, read_at_ms) for drift in drifts]


def _proposal(books: Books, drift: Drift, reason: str, read_at_ms: int) -> Proposal:
    if drift.kind == "late_after_finality" and drift.repair == "settle":
        return _late(books, drift, reason, read_at_ms)
    if drift.repair == "review":
        return _review(drift)
    if drift.repair in {"restore", "emit"}:
        return _restored(books, drift, reason)
    if drift.repair == "amend":
        return _amended(books, drift, reason)
    return _at_provider(books, drift, reason, read_at_ms)


# ── what stands at the provider ──────────────────────────────────────────────────────────────────────────────────────


def _at_provider(books: Books, drift: Drift, reason: str, read_at_ms: int) -> Proposal:
    cells = Cells(books, reason, read_at_ms)
    if drift.kind == "double_report" and (here := cells.metered_in(drift.cells, drift.period or (0, 0))):
        # An hour or day is set anew, or is told the difference; what stands in another one than the cell's own is not the cell's.
        steps = set_steps(cells, here, plus(standing_of(here[0]), format_scaled(drift.difference_scaled)))
        said = f"tells the report that {format_scaled(drift.difference_scaled)} units too many stand there, and it takes them off"
    elif drift.kind == "double_report":
        steps = beside_steps(cells, cells.named(drift.cells), drift.difference_scaled)
        said = f"leaves {format_scaled(drift.difference_scaled)} units out of the report of its cell, as they stand at another second"
    elif drift.kind == "wrong_period" and drift.candidates:
        item, start_s, end_s = drift.candidates[0].rsplit("|", 2)
        there = cells.between(item, int(start_s), int(end_s))
        over = beside_steps(cells, there, -drift.difference_scaled)
        steps = [*set_steps(cells, cells.named(drift.cells), drift.holds), *over] if over else []
        said = f"sets the cell where it belongs, and leaves its units out of the reports of the period from {format_s(int(start_s))}"
    elif drift.kind == "provider_edit":
        steps, said = _edited(cells, drift)
    else:
        steps = set_steps(cells, cells.named(drift.cells), drift.holds)
        others = cells.open(cells.named(drift.candidates))
        steps += set_steps(cells, others, "")
        said = "sets the cell again" + (f", and {len(others)} others that would explain the difference too" if others else "")
    if not steps:
        return _review(drift)
    if cells.any_final:
        said = "lists the difference as an adjustment, since the cell is final; its policy bills it, or a person"
    return Proposal(drift=drift, steps=tuple(steps), sentence=said, units=-drift.difference_scaled, amount=_back(drift))


def _edited(cells: Cells, drift: Drift) -> tuple[list[Restate], str]:
    """A total that no report of ours explains. All its cells are set again; what is still too much after that stands at a second of nobody's."""
    start_s, end_s = drift.period or (0, 0)
    if drift.repair == "settle" and not drift.line:
        return unbilled_steps(cells, cells.between(drift.item, start_s, end_s)), "tells the report that no invoice bills the period"
    there = cells.named(drift.candidates or drift.cells) or cells.between(drift.item, start_s, end_s)
    open_ = cells.open(there)
    is_beside = drift.difference_scaled > 0 and all(cells.was_set_again(one) and one.meter_target is None for one in open_)
    if drift.difference_scaled < 0 and open_ and all(map(cells.was_set_again, open_)):
        gone = beside_is_gone(cells, open_, -drift.difference_scaled)
        if gone:
            return gone, f"sends the {format_scaled(-drift.difference_scaled)} units again that stood at another second and are gone"
    if there and (not open_ or is_beside):
        steps = beside_steps(cells, there, drift.difference_scaled)
        return steps, f"counts {format_scaled(drift.difference_scaled)} units that stand at no second of ours to the cells of the period"
    if not there:
        return cells.stray(drift), "sets to 0 what stands where nothing of ours is"
    said = "sets the cell again" if len(open_) == 1 else f"sets all {len(open_)} cells of the period again"
    return set_steps(cells, open_, drift.holds if len(open_) == 1 else ""), said


def propose_rows(drifts: Iterable[Drift]) -> list[Proposal]:
    """Proposals for records that the archive lacks and no window shows, of whichever customers."""
    found = []
    for drift in drifts:
        at: dict[tuple[int, int], list[int]] = {}
        for event in drift.events:
            at.setdefault((event.partition, event.generation), []).append(event.offset)
        steps = tuple(RestoreRecords(*place, tuple(offsets)) for place, offsets in at.items())
        said = "takes the records from usage.events again; what the log has lost is in a backup only"
        found.append(Proposal(drift=drift, steps=steps, sentence=said, by_hand="" if steps else "restore raw_events from a backup", amount=0))
    return found


def _late(books: Books, drift: Drift, reason: str, read_at_ms: int) -> Proposal:
    """An adjustment that is open is billed by its policy or settled by a person; one that is missing is opened."""
    cells = Cells(books, reason, read_at_ms)
    found = cells.named(drift.cells)
    said = next((cell.adjustment for cell in found if cell.adjustment is not None), None)
    if said is None:
        steps = set_steps(cells, found, drift.holds)
        return Proposal(drift=drift, steps=tuple(steps), sentence="opens the adjustment that is missing", by_hand="tidemark adjustments")
    by_hand = f'tidemark adjustments settle {said.id} --all --how "…"'
    sentence = f"adjustment {said.id} is open with {said.units} units: bill or waive it, and say so; a policy (`late`) would bill it by itself"
    return Proposal(drift=drift, sentence=sentence, by_hand=by_hand)


def _back(drift: Drift) -> int | None:
    return None if drift.amount is None else -drift.amount


def _review(drift: Drift) -> Proposal:
    where = f" {drift.line}" if drift.line else ""
    by_hand = f"tidemark explain --invoice-line{where}" if drift.line else f"tidemark explain {drift.customer!r} {drift.meter} {_start(drift)}"
    return Proposal(drift=drift, sentence=f"a person must decide: {drift.advice}", by_hand=by_hand)


def _start(drift: Drift) -> str:
    return format_s(drift.window.start_s) if drift.window else format_s(drift.period[0]) if drift.period else ""


# ── the archive and the log ──────────────────────────────────────────────────────────────────────────────────────────


def _restored(books: Books, drift: Drift, reason: str) -> Proposal:
    window = drift.window
    book = next((book for book in books.windows if book.window == window), None)
    if window is None or book is None:
        return _review(drift)
    if drift.kind == "raw_event":
        said = "takes the window's raw rows and revisions from the log again; what it has lost is in a backup only"
        return Proposal(drift=drift, steps=(RestoreEvents(window), RestoreWindow(window)), sentence=said, amount=0)
    revision = book.newest_event if book.counted is not None else None
    anew = Amend(correct(window, 0, revision, reason, WHO))
    if drift.kind == "missing_window":
        said = "takes the window's revisions from usage.windows again; where they are gone, emits the window anew by a correction of 0"
        return Proposal(drift=drift, steps=(RestoreWindow(window, anew),), sentence=said, units=-drift.difference_scaled, amount=0)
    said = "emits the window again under a higher revision, by a correction of 0, and the report takes it from there"
    return Proposal(drift=drift, steps=(anew,), sentence=said, units=-drift.difference_scaled, amount=_back(drift))


def _amended(books: Books, drift: Drift, reason: str) -> Proposal:
    found = next(((each, copy) for each in books.copies for copy in each.copies if drift.events and copy.at == drift.events[-1]), None)
    if found is None:
        return _review(drift)
    copies, copy = found
    where = coordinate_name(copy.at)
    if copy.verdict != "counted":
        draft = accept(_original(copies, copy), reason, WHO)
        said = f"accepts {where}: the first one counts, and this one does not; `tidemark amend set` where the producer says otherwise"
        return Proposal(drift=drift, steps=(Amend(draft),), sentence=said, units=0, amount=0)
    if drift.kind == "conflicting_body":
        said = "both were counted, with different content: a person must say which one is right, and void or set the other"
        return Proposal(drift=drift, sentence=said, by_hand=f'tidemark amend void {where} --reason "…"')
    if not any(scaled for *_, scaled in copy.postings):
        draft = accept(_original(copies, copy), reason, WHO)
        said = f"accepts {where}: it was counted beside the first one, with quantity 0, so there is nothing to void"
        return Proposal(drift=drift, steps=(Amend(draft),), sentence=said, units=0, amount=0)
    draft = void(_original(copies, copy), reason, WHO)
    said = f"voids {where}, which was counted beside the first one, by an amendment; the window follows with a new revision"
    return Proposal(drift=drift, steps=(Amend(draft),), sentence=said, units=-drift.difference_scaled, amount=_back(drift))


def _original(copies: Copies, copy: Copy) -> Original:
    """The copy, as an amendment names it. Its instant lies in all of its windows, and so does the latest of their starts."""
    of = Of(source=copies.source, id=copies.event_id, partition=copy.at.partition, generation=copy.at.generation, offset=copy.at.offset)
    shares = tuple(
        Share(Window(copies.customer, meter, start_s, end_s), scaled, scaled) for meter, start_s, end_s, scaled in copy.postings
    )
    time_us = max((share.window.start_s * US_PER_S for share in shares), default=copy.received_at_ms * US_PER_MS)
    return Original(of, copies.customer, "", time_us, copy.received_at_ms, copy.verdict, "", shares)


def summary(proposals: Sequence[Proposal]) -> dict[str, int]:
    """What the proposals come to in money, by currency; what has no known amount is left out."""
    sums: dict[str, int] = {}
    for each in proposals:
        if each.steps and each.amount is not None and each.drift.currency:
            sums[each.drift.currency] = sums.get(each.drift.currency, 0) + each.amount
    return sums
