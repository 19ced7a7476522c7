"""The sandbox's memory: one SQLite file in write-ahead mode, opened by one process.

`synchronous=NORMAL`: a commit reaches the operating system before the answer leaves, so a killed process loses nothing that it answered.
A power cut may lose the last commits; the sandbox is no bank.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import resources as package_files
from pathlib import Path
from typing import Any

from infra.sandbox.idempotency import Saved
from topics.errors import TidemarkError, UnknownVersion, UsageError

Json = dict[str, Any]
SCHEMA_VERSION = 2
"""1: schema.sql alone. 2: with the tables of every schema_*.sql, one file a subject."""
FILE = "sandbox.sqlite3"
PRUNE_AT_ONCE = 5000
"""Expired answers removed in one go: about 10 ms, so no call waits noticeably; the next turn goes on."""


class Store:
    """Objects, cells, saved answers and a few named facts; everything that changes happens inside `transaction()`."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        path = directory / FILE
        self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=0.5)
        try:
            self._open(path)
        except BaseException:
            self._db.close()
            raise

    def _open(self, path: Path) -> None:
        run = self._db.execute
        try:
            run("PRAGMA locking_mode=EXCLUSIVE")
            run("PRAGMA journal_mode=WAL")
            run("PRAGMA synchronous=NORMAL")
            run("BEGIN EXCLUSIVE")
        except sqlite3.OperationalError as error:
            raise UsageError(f"{path} is in use by another sandbox: stop it, or choose another directory") from error
        except sqlite3.DatabaseError as error:
            raise TidemarkError(f"{path} is damaged ({error}): put a copy of it back, or use a fresh directory") from None
        version = run("PRAGMA user_version").fetchone()[0]
        run("COMMIT")
        if not 0 <= version <= SCHEMA_VERSION:
            raise UnknownVersion(f"{path} has schema {version}, this program knows {SCHEMA_VERSION}: use the program that wrote it")
        self._db.executescript(f"BEGIN EXCLUSIVE; {_schema(version)} PRAGMA user_version = {SCHEMA_VERSION}; COMMIT;")

    def close(self) -> None:
        """Closes the file; the write-ahead log is folded in."""
        self._db.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All or nothing; committed when the block ends without an exception."""
        self._db.execute("BEGIN")
        try:
            yield
        except BaseException:
            self._db.execute("ROLLBACK")
            raise
        self._db.execute("COMMIT")

    def run(self, statement: str, values: Sequence[Any] = ()) -> sqlite3.Cursor:
        """A statement over the tables of one subject (`schema_*.sql`), whose queries stand beside its rules and not here."""
        return self._db.execute(statement, values)

    # ── objects ──────────────────────────────────────────────────────────────────────────────────────────────────────
    def put(self, body: Json, *, parent: str | None = None, ref: str | None = None) -> None:
        """Writes an object, new or changed; its place in lists is that of its first writing."""
        self._db.execute(
            "INSERT INTO objects (id, kind, parent, ref, body) VALUES (?, ?, ?, ?, ?) "
            "ON CONFLICT (id) DO UPDATE SET parent = excluded.parent, ref = excluded.ref, body = excluded.body",
            (body["id"], body["object"], parent, ref, json.dumps(body, separators=(",", ":"))),
        )

    def get(self, kind: str, object_id: str) -> Json | None:
        """The object, if there is one of this kind."""
        row = self._db.execute("SELECT body FROM objects WHERE id = ? AND kind = ?", (object_id, kind)).fetchone()
        return None if row is None else json.loads(row[0])

    def any(self, object_id: str) -> Json | None:
        """The object with this id, whatever its kind."""
        row = self._db.execute("SELECT body FROM objects WHERE id = ?", (object_id,)).fetchone()
        return None if row is None else json.loads(row[0])

    def delete(self, object_id: str) -> None:
        """Forgets an object."""
        self._db.execute("DELETE FROM objects WHERE id = ?", (object_id,))

    def seq(self, kind: str, object_id: str) -> int | None:
        """Where an object stands in the order of creation."""
        row = self._db.execute("SELECT seq FROM objects WHERE id = ? AND kind = ?", (object_id, kind)).fetchone()
        return None if row is None else int(row[0])

    def scan(
        self, kind: str, *, parent: str | None = None, ref: str | None = None, after: int | None = None, newest_first: bool = True
    ) -> Iterator[Json]:
        """Objects of a kind in order of creation or against it, from beyond the place `after`."""
        where, values = ["kind = ?"], [kind]
        if parent is not None:
            where.append("parent = ?")
            values.append(parent)
        if ref is not None:
            where.append("ref = ?")
            values.append(ref)
        bounds: list[Any] = list(values)
        if after is not None:
            where.append("seq < ?" if newest_first else "seq > ?")
            bounds.append(after)
        order = "DESC" if newest_first else "ASC"
        # The words are ours; every value is a parameter.
        statement = f"SELECT body FROM objects WHERE {' AND '.join(where)} ORDER BY seq {order}"  # noqa: S608
        for row in self._db.execute(statement, bounds):
            yield json.loads(row[0])

    # ── cells ────────────────────────────────────────────────────────────────────────────────────────────────────────
    def cell(self, item: str, second: int) -> int | None:
        """The quantity standing in a cell."""
        row = self._db.execute("SELECT quantity FROM cells WHERE item = ? AND second = ?", (item, second)).fetchone()
        return None if row is None else int(row[0])

    def set_cell(self, item: str, second: int, quantity: int) -> None:
        """Replaces the quantity of a cell."""
        self._db.execute("INSERT OR REPLACE INTO cells (item, second, quantity) VALUES (?, ?, ?)", (item, second, quantity))

    def cells(self, item: str, first: int | None = None, last: int | None = None) -> Iterator[tuple[int, int]]:
        """(second, quantity) of an item in order of time, between two seconds, both included."""
        low, high = (-(2**62) if first is None else first), (2**62 if last is None else last)
        yield from self._db.execute("SELECT second, quantity FROM cells WHERE item = ? AND second BETWEEN ? AND ? ORDER BY second", (item, low, high))

    def last_cell(self, item: str, last: int) -> tuple[int, int] | None:
        """The newest cell at or before a second."""
        row = self._db.execute(
            "SELECT second, quantity FROM cells WHERE item = ? AND second <= ? ORDER BY second DESC LIMIT 1", (item, last)
        ).fetchone()
        return None if row is None else (int(row[0]), int(row[1]))

    def sum_cells(self, item: str, first: int, last: int) -> int:
        """The exact sum between two seconds; in two halves, because SQLite's SUM stops at 64 bits."""
        high, low = self._db.execute(
            "SELECT coalesce(sum(quantity >> 32), 0), coalesce(sum(quantity & 4294967295), 0) FROM cells WHERE item = ? AND second BETWEEN ? AND ?",
            (item, first, last),
        ).fetchone()
        return (int(high) << 32) + int(low)

    def clear_cells(self, item: str, *, since: int = -(2**62)) -> None:
        """Destroys an item's usage, from a second on."""
        self._db.execute("DELETE FROM cells WHERE item = ? AND second >= ?", (item, since))

    def items_with_cells(self) -> list[str]:
        """Every item that has usage."""
        return [row[0] for row in self._db.execute("SELECT DISTINCT item FROM cells ORDER BY item")]

    # ── saved answers ────────────────────────────────────────────────────────────────────────────────────────────────
    def answer(self, key: str) -> Saved | None:
        """What was first answered under a key."""
        row = self._db.execute("SELECT key, path, fingerprint, status, body, request_id, saved_at_s FROM answers WHERE key = ?", (key,)).fetchone()
        return None if row is None else Saved(*row)

    def save_answer(self, saved: Saved) -> None:
        """Keeps an answer under its key."""
        self._db.execute(
            "INSERT OR REPLACE INTO answers (key, path, fingerprint, status, body, request_id, saved_at_s) VALUES (?, ?, ?, ?, ?, ?, ?)",
            (saved.key, saved.path, saved.fingerprint, saved.status, saved.body, saved.request_id, saved.saved_at_s),
        )

    def prune_answers(self, before_s: float) -> None:
        """Forgets answers saved at or before an instant of the sandbox's clock, a bounded number at a time."""
        self._db.execute(
            "DELETE FROM answers WHERE key IN (SELECT key FROM answers WHERE saved_at_s <= ? LIMIT ?)",
            (before_s, PRUNE_AT_ONCE),
        )

    # ── facts ────────────────────────────────────────────────────────────────────────────────────────────────────────
    def fact(self, name: str) -> Any:
        """A named fact, or None."""
        row = self._db.execute("SELECT value FROM facts WHERE name = ?", (name,)).fetchone()
        return None if row is None else json.loads(row[0])

    def set_fact(self, name: str, value: Any) -> None:
        """Writes a named fact."""
        self._db.execute("INSERT OR REPLACE INTO facts (name, value) VALUES (?, ?)", (name, json.dumps(value)))


def _schema(version: int) -> str:
    """What a file of this version still lacks: all of it, or the subjects' tables, which say IF NOT EXISTS and so may come at any opening."""
    folder = package_files.files("infra.sandbox")
    parts = sorted(each.name for each in folder.iterdir() if each.name.startswith("schema_") and each.name.endswith(".sql"))
    names = ["schema.sql", *parts] if version == 0 else parts
    return "\n".join(folder.joinpath(name).read_text(encoding="utf-8") for name in names)
