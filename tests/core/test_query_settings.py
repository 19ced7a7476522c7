"""The settings that a query is sent with."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from sinks.clickhouse.client import BINARY_SETTINGS, JSON_SETTINGS, _reading

PARALLEL, CUT = "output_format_parallel_formatting", "set_overflow_mode"


def client(fixed: tuple[str, ...], stands: dict[str, Any]) -> Any:
    """A connection of a user who may not change some settings; what they stand at."""
    names = {"readonly", PARALLEL, CUT, *JSON_SETTINGS}
    return cast("Any", SimpleNamespace(server_settings={n: SimpleNamespace(readonly=n in fixed, value=str(stands.get(n, ""))) for n in names}))


@pytest.mark.parametrize("fixed", [(), ("readonly",), ("readonly", PARALLEL, CUT)])
def test_a_user_who_may_only_read_is_not_refused_for_what_is_dispensable(fixed: tuple[str, ...]) -> None:
    """What such a user may not set is left out where a query can do without it or it stands so already, and nothing else is."""
    sent = {"readonly": 1, CUT: "throw", "wait_end_of_query": 1, PARALLEL: 0}
    assert _reading(client(fixed, {CUT: "throw"}), BINARY_SETTINGS) == {name: value for name, value in sent.items() if name not in fixed}


def test_what_gives_an_answer_its_meaning_is_sent_where_it_does_not_stand_so() -> None:
    """A user whose profile cuts sets or writes decimals otherwise, and who may not say so, is refused sooner than that an answer is read wrongly."""
    fixed = tuple(JSON_SETTINGS)
    assert _reading(client(fixed, {CUT: "break"}), JSON_SETTINGS) == {name: value for name, value in JSON_SETTINGS.items() if name != "readonly"}
    assert _reading(client(fixed, JSON_SETTINGS), JSON_SETTINGS) == {}
