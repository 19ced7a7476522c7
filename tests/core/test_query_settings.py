"""The settings that a query is sent with."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from sinks.clickhouse.client import BINARY_SETTINGS, JSON_SETTINGS, _reading

PARALLEL, CUT = "output_format_parallel_formatting", "set_overflow_mode"


@pytest.mark.parametrize("fixed", [(), ("readonly",), ("readonly", PARALLEL, CUT)])
def test_a_user_who_may_only_read_is_not_refused_for_what_is_dispensable(fixed: tuple[str, ...]) -> None:
    """What such a user may not set is left out where a query can do without it, and nothing else is."""
    known = {name: SimpleNamespace(readonly=name in fixed) for name in ("readonly", PARALLEL, CUT, "max_threads")}
    client = cast("Any", SimpleNamespace(server_settings=known))
    sent = {"readonly": 1, CUT: "throw", "wait_end_of_query": 1, PARALLEL: 0}
    assert _reading(client, BINARY_SETTINGS) == {name: value for name, value in sent.items() if name not in fixed}


def test_what_gives_an_answer_its_meaning_is_always_sent() -> None:
    """Decimals as text and the like are never left out: the server refuses the query sooner than that its answer is read wrongly."""
    known = {name: SimpleNamespace(readonly=1) for name in JSON_SETTINGS}
    left = {name: value for name, value in JSON_SETTINGS.items() if name not in {"readonly", CUT}}
    assert len(left) >= 4
    assert _reading(cast("Any", SimpleNamespace(server_settings=known)), JSON_SETTINGS) == left
