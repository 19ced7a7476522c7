"""A read-only user for analysts on a ClickHouse server: statements of `queries/analyst_*.sql`. Pure but for `grant`.

Only views are granted: they are what stays as it is (README). The password is set by its SHA-256, so that it is in no statement and no query log.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Final

from sinks.clickhouse.explain import query
from sinks.clickhouse.migrate import split_statements
from topics.errors import TidemarkError, UsageError

if TYPE_CHECKING:
    from sinks.clickhouse.client import ClickHouse

_NAME: Final = re.compile(r"[a-z_][a-z0-9_]{0,62}", re.ASCII)
MIN_PASSWORD: Final = 12
"""Characters. A user whom a network can reach must not be guessed within its quota."""
VIEWS: Final = "SELECT name FROM system.tables WHERE database = currentDatabase() AND engine = 'View' ORDER BY name"


def statements(analyst: str, password: str, database: str, views: Iterable[str]) -> Iterator[str]:
    """Every statement, in order. Raises UsageError for a name that is none, or a password that is too short."""
    if not _NAME.fullmatch(analyst):
        raise UsageError(f"{analyst!r} is no name of a user: a-z, 0-9 and _, at most 63")
    if len(password) < MIN_PASSWORD:
        raise UsageError(f"the analyst's password has less than {MIN_PASSWORD} characters")
    digest = hashlib.sha256(password.encode()).hexdigest()
    for statement in split_statements(query("analyst_access")):
        yield statement.replace("{analyst}", analyst).replace("{database}", database).replace("{password_sha256}", digest)
    for view in views:
        if not _NAME.fullmatch(view):
            raise TidemarkError(f"view {view!r} of database {database} is none of ours: it is not granted, and nothing after it; drop or rename it")
        for statement in split_statements(query("analyst_view")):
            yield statement.replace("{view}", view).replace("{database}", database)


def grant(clickhouse: ClickHouse, analyst: str, password: str) -> list[str]:
    """Makes or renews the user; the views that it may read. Raises UsageError, Unreachable, Refused (whoever migrates may not make users).

    Numbered effects: 1 role, limits, quota, user; 2 each view. A crash in between leaves a user who may read fewer views; run it again.
    """
    views = [str(row["name"]) for row in clickhouse.read(VIEWS)]
    for statement in list(statements(analyst, password, clickhouse.address.database, views)):
        clickhouse.command(statement)  # 1, 2
    return views
