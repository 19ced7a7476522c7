"""The settings that a query is sent with."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from sinks.clickhouse.client import BINARY_SETTINGS, JSON_SETTINGS, _reading

PARALLEL = "output_format_parallel_formatting"


@pytest.mark.parametrize(("fixed", "left"), [((), set()), (("readonly",), {"readonly"}), (("readonly", PARALLEL), {"readonly", PARALLEL})])
def test_a_user_who_may_only_read_is_not_refused_for_a_comfort(fixed: tuple[str, ...], left: set[str]) -> None:
    """What such a user may not set is left out where a query can do without it, and nothing else is."""
    known = {name: SimpleNamespace(readonly=name in fixed) for name in ("readonly", PARALLEL, "max_threads")}
    client = cast("Any", SimpleNamespace(server_settings=known))
    assert _reading(client, BINARY_SETTINGS) == {name: value for name, value in BINARY_SETTINGS.items() if name not in left}


def test_what_gives_an_answer_its_meaning_is_always_sent() -> None:
    """Decimals as text and the like are never left out: the server refuses the query sooner than that its answer is read wrongly."""
    known = {name: SimpleNamespace(readonly=1) for name in JSON_SETTINGS}
    assert _reading(cast("Any", SimpleNamespace(server_settings=known)), JSON_SETTINGS) == {n: v for n, v in JSON_SETTINGS.items() if n != "readonly"}
