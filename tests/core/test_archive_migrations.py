"""Migrations: numbered, forward only, never changed once applied."""

from __future__ import annotations

import pytest

from sinks.clickhouse.migrate import Migration, SchemaMismatch, migrations, parse_migration, pending, split_statements


def applied(*found: Migration) -> dict[int, tuple[str, str]]:
    """As `schema_migrations` has them."""
    return {migration.number: (migration.name, migration.checksum) for migration in found}


ONE = parse_migration("0001_a.sql", b"CREATE TABLE IF NOT EXISTS a (x UInt8) ENGINE = Memory;\n")
TWO = parse_migration("0002_b.sql", b"-- why\nSELECT 1;\nSELECT ';' AS semicolon;\n")
THREE = parse_migration("0003_c.sql", b"SELECT 3;\n")


def test_own_migrations_are_numbered_without_a_gap() -> None:
    """The files are 0001, 0002 … and every statement of theirs may be run again."""
    own = migrations()
    assert [migration.number for migration in own] == list(range(1, len(own) + 1))
    for migration in own:
        for statement in migration.statements:
            assert statement.startswith(("CREATE TABLE IF NOT EXISTS", "CREATE VIEW IF NOT EXISTS", "CREATE OR REPLACE VIEW", "ALTER TABLE")), (
                statement
            )


def test_only_what_is_missing_is_applied() -> None:
    """What is applied stays, what is not follows in order."""
    assert pending([ONE, TWO, THREE], applied(ONE)) == [TWO, THREE]
    assert pending([ONE, TWO], applied(ONE, TWO)) == []


def test_an_applied_file_never_changes() -> None:
    """A file that differs from what was applied is named, with what to do instead."""
    changed = parse_migration("0001_a.sql", b"CREATE TABLE a (x UInt16) ENGINE = Memory;\n")
    with pytest.raises(SchemaMismatch, match=r"0001_a\.sql was applied with checksum .* put the change into a new one"):
        pending([changed, TWO], applied(ONE))


def test_a_database_of_a_newer_program_is_left_alone() -> None:
    """A migration that this program does not know says: upgrade."""
    with pytest.raises(SchemaMismatch, match="upgrade tidemark"):
        pending([ONE], applied(ONE, TWO))


def test_a_file_cannot_be_taken_away() -> None:
    """A file that was applied and is missing among this program's, which has later ones, is named: the installation is broken, not old."""
    with pytest.raises(SchemaMismatch, match=r"0002_b\.sql was applied, and this program has later ones but not that file"):
        pending([ONE, THREE], applied(ONE, TWO))


def test_a_file_cannot_be_put_in_between() -> None:
    """A number below one that is applied is refused: two databases would have another history."""
    with pytest.raises(SchemaMismatch, match="give it the next number"):
        pending([ONE, TWO, THREE], applied(ONE, THREE))


def test_statements_end_at_a_line_end() -> None:
    """Comments go, a semicolon inside a line stays."""
    assert split_statements("-- a;\nSELECT 1\n  , 2;\n\nSELECT ';' AS x;  \n") == ("SELECT 1\n  , 2", "SELECT ';' AS x")
    with pytest.raises(SchemaMismatch):
        parse_migration("first.sql", b"")
