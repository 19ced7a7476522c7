"""The analysts' read-only user: what it is granted, and that its password is in no statement."""

from __future__ import annotations

import base64
import re

import pytest

from infra.embedded.engine.request import understand
from sinks.clickhouse.analyst import statements
from topics.errors import TidemarkError, UsageError

PASSWORD = "a long enough password"
MADE = list(statements("analyst", PASSWORD, "tidemark", ["coverage", "usage_events"]))


def test_only_views_are_granted() -> None:
    """SELECT is granted on each view by name and on nothing else, each with its definer's rights; what was granted before goes first."""
    granted = [statement for statement in MADE if statement.startswith("GRANT SELECT")]
    assert granted == [f"GRANT SELECT ON tidemark.{view} TO tidemark_analyst" for view in ("coverage", "usage_events")]
    assert all(f"ALTER TABLE tidemark.{view} MODIFY SQL SECURITY DEFINER DEFINER = CURRENT_USER" in MADE for view in ("coverage", "usage_events"))
    assert MADE.index("REVOKE ALL ON tidemark.* FROM tidemark_analyst") < MADE.index(granted[0])
    assert not [statement for statement in MADE if "{" in statement]


def test_there_are_limits_that_a_client_cannot_lift() -> None:
    """The profile holds memory, time, rows and concurrency with a maximum each and is read-only for good; the quota counts by the hour."""
    profile = next(statement for statement in MADE if "SETTINGS PROFILE" in statement)
    assert "readonly = 2 CONST" in profile
    for name in ("max_memory_usage", "max_execution_time", "max_result_rows", "max_concurrent_queries_for_user"):
        assert re.search(rf"{name} = \d+ (MIN \d+ )?MAX \d+", profile), name
    assert next(statement for statement in MADE if "QUOTA" in statement).count("1 hour") == 1


def test_the_password_is_in_no_statement() -> None:
    """Only its SHA-256 is sent; one that is short, a name that is none and a view that is none of ours are refused before anything is sent."""
    assert not [statement for statement in MADE if PASSWORD in statement]
    for name, password in (("analyst; DROP", PASSWORD), ("", PASSWORD), ("analyst", "short")):
        with pytest.raises(UsageError):
            list(statements(name, password, "tidemark", []))
    with pytest.raises(TidemarkError, match="is none of ours"):
        list(statements("analyst", PASSWORD, "tidemark", ["a`b"]))


@pytest.mark.parametrize(
    ("arguments", "headers"),
    [
        ([("user", "analyst")], {}),
        ([], {"X-ClickHouse-User": "analyst"}),
        ([], {"Authorization": "Basic " + base64.b64encode(b"analyst:anything").decode()}),
    ],
)
def test_on_the_embedded_engine_the_name_only_reads(arguments: list[tuple[str, str]], headers: dict[str, str]) -> None:
    """A client that says it is `analyst`, in whatever way, is read-only and has the limits; any other name is as before."""
    request = understand("POST", [*arguments, ("query", "SELECT 1"), ("max_threads", "1")], headers, b"")
    assert request.readonly == 2
    assert request.settings["max_execution_time"] == "60"
    assert request.settings["max_threads"] == "1"
    asked = understand("POST", [*arguments, ("query", "SELECT 1"), ("readonly", "1"), ("max_execution_time", "5")], headers, b"")
    assert (asked.readonly, asked.settings["max_execution_time"]) == (1, "5")
    for other in ({}, {"Authorization": "Basic !"}, {"Authorization": "Bearer analyst"}, {"X-ClickHouse-User": "default"}):
        assert understand("POST", [("query", "SELECT 1")], other, b"").readonly == 0
