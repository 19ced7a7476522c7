"""The sandbox's state over versions of the program: an older directory opens, and keeps what it holds."""

from __future__ import annotations

from pathlib import Path

import pytest

from infra.sandbox.store import SCHEMA_VERSION, Store

FIRST = frozenset({"objects", "cells", "answers", "facts"})
"""The tables of schema 1."""


def _tables(store: Store) -> set[str]:
    rows = store.run("SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'")
    return {name for (name,) in rows}


def _aged(store: Store, version: int, keep: frozenset[str]) -> None:
    """Makes a new file one of an older program: the version it wrote, and only the tables that it knew."""
    for name in _tables(store) - keep:
        store.run(f"DROP TABLE {name}")
    store.run(f"PRAGMA user_version = {version}")


@pytest.mark.parametrize("version", [1, SCHEMA_VERSION])
def test_an_older_directory_opens_with_what_it_holds(tmp_path: Path, version: int) -> None:
    """A file of schema 1, or one from before a subject's tables came, gets what it lacks and loses nothing."""
    new = Store(tmp_path)
    tables = _tables(new)
    new.put({"id": "cus_1", "object": "customer"})
    new.set_cell("si_1", 7, 5)
    _aged(new, version, FIRST)
    new.close()
    opened = Store(tmp_path)
    assert _tables(opened) == tables > FIRST
    assert opened.run("PRAGMA user_version").fetchone() == (SCHEMA_VERSION,)
    assert (opened.any("cus_1"), dict(opened.cells("si_1"))) == ({"id": "cus_1", "object": "customer"}, {7: 5})
    opened.close()


def test_opening_again_keeps_the_subjects_tables(tmp_path: Path) -> None:
    """The tables that may come at any opening are not made anew by the next one."""
    first = Store(tmp_path)
    first.run(
        "INSERT INTO meter_events (identifier, event_name, request, payload, second, received_s, due_s) VALUES ('i', 'e', 'r', '{}', 1, 1, 1)"
    )
    first.close()
    second = Store(tmp_path)
    assert second.run("SELECT identifier, state FROM meter_events").fetchall() == [("i", "pending")]
    second.close()
