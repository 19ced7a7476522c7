"""Schema migrations: numbered files, forward only, each applied once and never changed afterwards. Pure: plans and checks.

A file's statements are idempotent (IF NOT EXISTS, OR REPLACE), so a crash in the middle is repaired by running it again; its row in
`schema_migrations` is written after its last statement.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from importlib import resources
from typing import Final, NamedTuple

from topics.errors import TidemarkError

MIGRATIONS_TABLE: Final = """
CREATE TABLE IF NOT EXISTS schema_migrations
(number UInt32, name String, checksum String, applied_at DateTime DEFAULT now())
ENGINE = ReplacingMergeTree(applied_at) ORDER BY number
"""
_NAME = re.compile(r"(\d{4})_[a-z0-9_]+\.sql")


class SchemaMismatch(TidemarkError):
    """The database holds another schema than this program's files say."""


class Migration(NamedTuple):
    """One file of `schema/`; `checksum` is the SHA-256 of its bytes."""

    number: int
    name: str
    checksum: str
    statements: tuple[str, ...]


def migrations() -> tuple[Migration, ...]:
    """The program's own migrations, by number."""
    folder = resources.files("sinks.clickhouse") / "schema"
    found = [parse_migration(file.name, file.read_bytes()) for file in folder.iterdir() if _NAME.fullmatch(file.name)]
    return tuple(sorted(found, key=lambda migration: migration.number))


def parse_migration(name: str, data: bytes) -> Migration:
    """A file's statements. Raises SchemaMismatch where its name has no number."""
    match = _NAME.fullmatch(name)
    if match is None:
        raise SchemaMismatch(f"{name!r} is no migration: NNNN_words.sql")
    return Migration(int(match[1]), name, hashlib.sha256(data).hexdigest(), split_statements(data.decode()))


def split_statements(text: str) -> tuple[str, ...]:
    """Statements end with `;` at a line's end; whole-line comments are dropped. Our own files keep to that."""
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("--")]
    return tuple(statement.strip() for statement in re.split(r";[ \t]*$", "\n".join(lines), flags=re.MULTILINE) if statement.strip())


def pending(own: Sequence[Migration], applied: Mapping[int, tuple[str, str]]) -> list[Migration]:
    """What is to be applied, in order; `applied`: number → (name, checksum).

    Raises SchemaMismatch where an applied file has changed since (it must never: a change is a new file), where the database is ahead of
    this program, where a file that was applied is missing, or where one was put in before one that is applied already.
    """
    numbers = {migration.number for migration in own}
    for number in sorted(applied.keys() - numbers):
        name = applied[number][0]
        if number < max(numbers, default=0):
            raise SchemaMismatch(f"migration {name} was applied, and this program has later ones but not that file: install tidemark anew")
        raise SchemaMismatch(f"the database has migration {name}, which this program does not know: upgrade tidemark")
    for migration in own:
        if migration.number in applied and applied[migration.number][1] != migration.checksum:
            raise SchemaMismatch(
                f"migration {migration.name} was applied with checksum {applied[migration.number][1][:12]}…, the file now has "
                f"{migration.checksum[:12]}…: an applied file never changes, put the change into a new one"
            )
    last = max(applied, default=0)
    waiting = [migration for migration in own if migration.number not in applied]
    for migration in waiting:
        if migration.number < last:
            raise SchemaMismatch(f"migration {migration.name} comes before {last:04d}, which is applied already: give it the next number")
    return waiting
