"""Changelogs that need not be read: what delivery tells Faust's recovery of them."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from faust.types import TP

from infra.delivery_consumer import BatchConsumer

KEPT, OTHER, ODD = TP("usage.state", 0), TP("usage.state", 1), TP("usage.state", 2)


def consumer(stands: dict[tuple[str, int], tuple[int, int]]) -> Any:
    """A consumer whose recovery has asked for the ends of three changelogs, and owns two of them."""
    one: Any = object.__new__(BatchConsumer)
    one._skipped = set()
    ends, read = {KEPT: 9, OTHER: 19, ODD: 29}, {KEPT: -1, OTHER: 4, ODD: -1}
    recovery = SimpleNamespace(active_tps={KEPT, OTHER}, active_highwaters=ends, active_offsets=read)
    one.app = SimpleNamespace(tables=SimpleNamespace(recovery=recovery))
    one.__class__ = type("Consumer", (BatchConsumer,), {"delivery": SimpleNamespace(stands=lambda tp, begin, end: stands.get(tp) == (begin, end))})
    return one


def test_what_stands_is_taken_for_read_and_nothing_else_is_touched() -> None:
    """Recovery begins behind a changelog that stands with exactly its bounds, waits for nothing of it, and reads the others as Faust would."""
    one = consumer({KEPT: (3, 10), OTHER: (3, 19), ODD: (3, 30)})
    assert one._unchanged({KEPT: 3, OTHER: 3, ODD: 3}) == {KEPT: 10}
    assert one.app.tables.recovery.active_offsets == {KEPT: 9, OTHER: 4, ODD: -1}


def test_a_recovery_that_begins_anew_reads_from_the_beginning_what_no_longer_stands() -> None:
    """Between two rebalances that follow at once somebody wrote: Faust still believes to have read what stood, and must not read only the rest."""
    stands = {KEPT: (3, 10)}
    one = consumer(stands)
    one._unchanged({KEPT: 3, OTHER: 3})
    stands.clear()
    one.app.tables.recovery.active_highwaters[KEPT] = 12
    assert one._unchanged({KEPT: 3, OTHER: 3}) == {KEPT: 3}
    assert one.app.tables.recovery.active_offsets == {KEPT: 2, OTHER: 4, ODD: -1}
    assert one._unchanged({KEPT: 3, OTHER: 3}) == {}
