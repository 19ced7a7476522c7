"""What a preview or a replay says, for a person and for programs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from infra.letters.edits import Record
from infra.letters.listing import shares_json
from infra.letters.money import prices, worth, worth_json, worth_text
from infra.letters.plan import Next, Planned
from infra.letters.showing import change_lines, text_of

if TYPE_CHECKING:
    from infra.letters.replay import Done
    from infra.settings import Settings


def lines(planned: Iterable[Planned]) -> Iterator[str]:
    """Each letter: what it is, what changes, what the meter would say."""
    for one in planned:
        yield f"{one.letter.name}  {one.letter.reason}  {one.letter.customer}"
        yield from change_lines(one.edited.before, one.edited.after)
        yield f"  = {verdict_text(one)}"


def verdict_text(one: Planned) -> str:
    """The decision in words."""
    verdict = one.edited.verdict
    if one.next is Next.SEND and verdict is not None:
        return "counts " + ", ".join(f"{share.quantity} {share.window.meter} {_window(share)}" for share in verdict.shares)
    if one.next is Next.REJECTED:
        return f"would be rejected again, {one.sentence}"
    if one.next is Next.CANNOT_EDIT:
        return f"cannot be changed so: {one.sentence}"
    return f"is not sent: {one.sentence}"


def _window(share: Any) -> str:
    (said,) = shares_json((share,))
    return f"in {said['start']} – {said['end']}"


def summary_line(settings: Settings, done: Done, *, sent: bool) -> str:
    """How many of each, and what the sent ones come to."""
    parts = [f"{done.counts[Next.SEND]} {'sent' if sent else 'would be counted'}"]
    words = {
        Next.DONE: "done before",
        Next.COUNTED_ID: "whose id was counted",
        Next.COPY: "copies of one before",
        Next.REJECTED: "would be rejected again",
        Next.CANNOT_EDIT: "cannot be changed so",
    }
    parts += [f"{done.counts[each]} {said}" for each, said in words.items() if done.counts[each]]
    value, unpriced = _worth(settings, done)
    return ", ".join(parts) + (f"; worth {worth_text(value)}" if done.counts[Next.SEND] else "") + (f" ({unpriced})" if unpriced else "")


def _worth(settings: Settings, done: Done) -> tuple[Any, str]:
    known, unpriced = prices(settings, (share for shares in done.adds for share in shares))
    return worth(done.adds, known), unpriced


def document(settings: Settings, done: Done, limit: int, *, sent: bool) -> dict[str, Any]:
    """For programs: counts, what the sent ones come to, and the first letters."""
    value, unpriced = _worth(settings, done)
    return {
        "sent": done.counts[Next.SEND] if sent else 0,
        "counts": {each.value: done.counts[each] for each in Next},
        "worth": worth_json(value),
        "unpriced": unpriced or None,
        "letters": [_planned_json(one) for one in done.planned[:limit]],
    }


def _planned_json(one: Planned) -> dict[str, Any]:
    verdict = one.edited.verdict
    return {
        "id": one.letter.name,
        "reason": one.letter.reason,
        "customer": one.letter.customer,
        "state": one.standing.state.value,
        "next": one.next.value,
        "says": verdict_text(one),
        "before": _record_json(one.edited.before),
        "after": None if one.edited.after is None else _record_json(one.edited.after),
        "counts": shares_json(verdict.shares) if verdict is not None else [],
        "rejected": verdict.reason or None if verdict is not None else None,
        "by": None if one.by is None else one.by.name,
    }


def _record_json(record: Record) -> dict[str, Any]:
    return {"key": text_of(record.key), "value": text_of(record.value), "value_hex": None if record.value is None else record.value.hex()}
