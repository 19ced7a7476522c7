"""Lists: newest first, a page after or before an object, `has_more` when the next page in that direction is not empty.

Source: https://docs.stripe.com/api/pagination ; default 10, at most 100 (the limit is checked by `specs.PAGE`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import islice
from typing import TypeVar

from infra.sandbox import errors, shapes
from infra.sandbox.call import Call, Json

DEFAULT_LIMIT = 10
Row = TypeVar("Row")


def cursor(call: Call) -> tuple[str | None, bool]:
    """The object that the page starts from, if any, and whether the page lies before it (on the newer side)."""
    after, before = call.params.get("starting_after"), call.params.get("ending_before")
    if after is not None and before is not None:
        raise errors.refused("You can only use one of `starting_after` and `ending_before`.", rule="lists.page", param="starting_after")
    return (before, True) if before is not None else (after, False)


def cut(rows: Iterable[Row], call: Call, *, backwards: bool) -> tuple[list[Row], bool]:
    """One page of rows that come in the direction of reading, put back into list order, and whether there are more."""
    limit = call.params.get("limit", DEFAULT_LIMIT)
    taken = list(islice(rows, limit + 1))
    data = taken[:limit]
    return (data[::-1] if backwards else data), len(taken) > limit


def listed(
    call: Call,
    kind: str,
    shape: Callable[[Json], Json],
    *,
    parent: str | None = None,
    ref: str | None = None,
    keep: Callable[[Json], bool] = lambda _: True,
    newest_first: bool = True,
) -> Json:
    """A page of stored objects of one kind."""
    at, backwards = cursor(call)
    place = None
    if at is not None:
        place = call.store.seq(kind, at)
        if place is None:
            raise errors.no_such(kind, at, param="ending_before" if backwards else "starting_after", in_url=False)
    rows = call.store.scan(kind, parent=parent, ref=ref, after=place, newest_first=newest_first != backwards)
    data, has_more = cut((row for row in rows if keep(row)), call, backwards=backwards)
    return shapes.page(call.url, [shape(row) for row in data], has_more=has_more)
