"""Reconcile on the real engine: of many ids with copies none is hidden by those that are dealt with, or that say the same in other bytes."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from infra.embedded.testing import engine_server
from infra.reconciling import archive as asked
from infra.reconciling.archive import Archive
from infra.reconciling.books import Copies
from tests.contract.test_archive_amendments import archived
from tests.core.amend_world import FIRST, LATER_MS, NOW_S, Bench, voided

AGAIN_MS = (NOW_S + 9 * 86_400) * 1000
"""Beyond `dedup`, and within the horizon of late events."""


@pytest.fixture(scope="module")
def engine_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """One engine for the module."""
    with engine_server(tmp_path_factory.mktemp("engine")) as engine:
        yield engine.url


def _doubled(found: list[Copies]) -> list[str]:
    """Ids of which two copies that no amendment names were counted."""
    return [each.event_id for each in found if sum(copy.verdict == "counted" and not copy.is_amended for copy in each.copies) > 1]


def test_what_is_dealt_with_hides_no_other_copy(engine_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """With room for two ids, four that were counted twice are all found, two after the other; copies of other bytes come after them."""
    monkeypatch.setattr(asked, "MOST_COPIES", 2)
    bench = Bench()
    firsts = [bench.event(7) for _ in range(6)]
    for offset in firsts[:2]:  # duplicates with a space more: the first by name
        record = bench.log.records[offset]
        assert record.value is not None
        bench.log.add(record.key, record.value + b" ", LATER_MS)
    for offset in firsts[2:]:
        record = bench.log.records[offset]
        bench.log.add(record.key, record.value, AGAIN_MS)
    found, problems = _asked(engine_url, "copies_before", bench)
    assert len(_doubled(found)) == 2
    assert len(problems) == 1
    names = _doubled(found)
    for name in names:
        bench.amend(voided(int(name[1:]), 7), at_ms=AGAIN_MS)
    found, _ = _asked(engine_url, "copies_after", bench)
    assert len(_doubled(found)) == 2
    assert not set(_doubled(found)) & set(names)


def _asked(url: str, name: str, bench: Bench) -> tuple[list[Copies], list[str]]:
    clickhouse, _ = archived(url, name, bench.log)
    problems: list[str] = []
    return list(Archive(clickhouse).copies(FIRST, 0, problems)), problems
