"""The only file that talks to ClickHouse: over HTTP, the same for a server and for the embedded engine.

Inserts are synchronous (`async_insert=0`: newer servers would otherwise answer before the rows are in), columns with times as integer
epochs, and each is checked by the rows the server says it wrote: a client and a server that disagree about a body's end have stored
16,384 of 20,000 rows without an error. No deduplication token is relied on: the engine writes it before the rows are visible, so a kill
in between turns the retry into silent loss. clickhouse-connect itself re-sends an insert whose connection broke; ReplacingMergeTree
makes that one row.
"""

from __future__ import annotations

import asyncio
import json
import logging
import re
import threading
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

import clickhouse_connect
import lz4.frame  # type: ignore[import-untyped]
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import ClickHouseError, OperationalError

from sinks.clickhouse.migrate import MIGRATIONS_TABLE, Migration, migrations, pending
from sinks.clickhouse.ports import ArchivedMark, Progress, Refused
from sinks.clickhouse.tables import RAW, RECEIPT, Columns, Table
from topics.errors import TidemarkError, Unreachable, UsageError

if TYPE_CHECKING:
    # What writes rows brings compiled functions, which take seconds to load: imported where it writes, so that whoever only asks does not wait.
    from sinks.clickhouse.raw_block import Piece
    from sinks.clickhouse.rows import RawRecord

CONNECT_TIMEOUT_S: Final = 5
"""A server on the same network answers in milliseconds; longer only delays the sentence that says it is down."""
ANSWER_TIMEOUT_S: Final = 120
"""An insert of 50,000 rows takes 0.3 s, a scan of 10⁸ rows some seconds; what takes longer than this has lost its server."""
INSERT_SETTINGS: Final[dict[str, Any]] = {
    "async_insert": 0,
    "wait_end_of_query": 1,
    "insert_deduplicate": 0,  # one net is enough, and this one would drop a block by its content
    "max_partitions_per_insert_block": 0,  # a broker whose clock jumped over a hundred months must not block its partition (error 252)
}
REPLACED_TRIES: Final = 20
"""How often a statement of a migration finds the view replaced under it: another worker does that once a file, and there are few of them."""
READ_ONLY: Final[dict[str, Any]] = {
    "readonly": 1,
    "set_overflow_mode": "throw",  # verdicts that are cut would leave refused events among the counted
}
JSON_SETTINGS: Final[dict[str, Any]] = {
    **READ_ONLY,
    "output_format_json_quote_decimals": 1,  # a decimal as a JSON number would be read as a binary float
    "output_format_decimal_trailing_zeros": 0,
    "output_format_json_quote_64bit_integers": 0,
    "output_format_json_validate_utf8": 1,  # bytes that are no UTF-8 become U+FFFD instead of a broken document
}
BINARY_SETTINGS: Final[dict[str, Any]] = {
    **READ_ONLY,
    "wait_end_of_query": 1,  # RowBinary has no end of its own: an error must come before the first row, as an error
    "output_format_parallel_formatting": 0,  # of few rows: threads and buffers for many are half a millisecond
}
COMFORTS: Final = frozenset({"readonly", "output_format_parallel_formatting"})
"""Settings that a query can do without: a user who may set none is refused when it says one of them."""
PLAIN_JSON: Final[dict[str, Any]] = {"output_format_json_escape_forward_slashes": 0}
_READING_WORDS: Final = ("select", "with", "show", "describe", "desc", "explain", "exists")


@dataclass(frozen=True, kw_only=True)
class Address:
    """Where the archive is. The password is in no message, no URL and no repr."""

    url: str
    database: str = "tidemark"
    user: str = "default"
    password: str = field(default="", repr=False)


class ClickHouse:
    """A connection, made when it is first needed. Calls block; `ClickHouseStore` runs them in threads."""

    def __init__(self, address: Address) -> None:
        # Both warn at every try of an outage that is said once by whoever tries (`app_patience.py`).
        for noisy in ("urllib3.connectionpool", "clickhouse_connect"):
            logging.getLogger(noisy).setLevel(logging.ERROR)
        self.address = address
        self._client: Client | None = None
        self._lock = threading.Lock()

    @property
    def _is_near(self) -> bool:
        """Whether ClickHouse runs on this machine: then packing costs more than it saves."""
        return urlsplit(self.address.url).hostname in {"127.0.0.1", "localhost", "::1"}

    def _connect(self, database: str | None) -> Client:
        parts = urlsplit(self.address.url)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise UsageError(f"{self.address.url!r} is no ClickHouse address: http://host:port")
        return clickhouse_connect.get_client(
            interface=parts.scheme,
            host=parts.hostname,
            port=parts.port or (8443 if parts.scheme == "https" else 8123),
            username=self.address.user,
            password=self.address.password,
            database=database or "default",
            connect_timeout=CONNECT_TIMEOUT_S,
            send_receive_timeout=ANSWER_TIMEOUT_S,
            autogenerate_session_id=False,  # a session allows one query at a time; several threads ask here
            compress=not self._is_near,
        )

    def _called(self, call: Any, *arguments: Any, **named: Any) -> Any:
        """One call, with the driver's errors turned into ours; a broken connection is made anew by the next call."""
        with self._errors():
            with self._lock:
                if self._client is None:
                    self._client = self._connect(self.address.database)
                client = self._client
            return call(client, *arguments, **named)

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except TidemarkError:
            raise
        except OperationalError as error:
            self.close()
            raise Unreachable(self._sentence("does not answer", error)) from None
        except ClickHouseError as error:
            raise Refused(self._sentence("refused", error)) from None
        except OSError as error:
            self.close()
            raise Unreachable(self._sentence("does not answer", error)) from None
        except Exception as error:  # noqa: BLE001 - the driver, given an answer that was cut or is not ClickHouse's, fails with whatever comes
            self.close()
            raise Unreachable(self._sentence(f"answers with what cannot be read ({type(error).__name__})", error)) from None

    def _sentence(self, what: str, error: Exception) -> str:
        words = " ".join(str(error).split())
        if self.address.password:
            words = words.replace(self.address.password, "…")
        # Of a broken connection only the system's own word for it matters, not the request that met it.
        system = re.search(r"\[Errno -?\d+\] ([^'\")]+)|(timed out)|(reset by peer)|(Remote end closed)", words)
        return f"ClickHouse at {self.address.url} {what}: {system[0] if system and isinstance(error, OperationalError) else words[:400]}"

    def close(self) -> None:
        """Let go of the connection; the next call makes a new one."""
        with self._lock:
            client, self._client = self._client, None
        if client is not None:
            client.close()

    def insert(self, table: Table, columns: Columns) -> None:
        """Insert all rows, and believe it only when the server says it wrote as many."""
        count = len(columns[0])
        if not count:
            return
        if table is RAW:
            from sinks.clickhouse.raw_block import piece_of, raw_block

            self.insert_packed(raw_block([piece_of(columns)]), count)
        else:
            _believe(table, self._called(self._insert, table, columns), count)

    def insert_packed(self, block: bytes, count: int) -> None:
        """Insert a block of `raw_block.py` that holds `count` rows, as `insert` would."""
        _believe(RAW, self.insert_raw_block(block), count)

    @staticmethod
    def _insert(client: Client, table: Table, columns: Columns) -> int:
        return client.insert(
            table.name,
            columns,
            column_names=table.names,
            column_type_names=table.types,
            column_oriented=True,
            settings=INSERT_SETTINGS,
        ).written_rows

    def insert_raw_block(self, block: bytes) -> int:
        """Insert a finished block of `raw_block.py`; how many rows the server says it wrote."""
        return int(self._called(self._send_raw, block))

    def _send_raw(self, client: Client, block: bytes) -> int:
        """The bulk of all rows: written by `native.py`, which takes a third of what the driver's own writer takes."""
        from sinks.clickhouse.raw_block import NAMES

        body, compression = (block, None) if self._is_near else (lz4.frame.compress(block), "lz4")
        return client.raw_insert(RAW.name, list(NAMES), body, INSERT_SETTINGS, "Native", compression).written_rows

    def rows(self, sql: str, parameters: Mapping[str, Any] | None = None) -> list[tuple[Any, ...]]:
        """Rows of a query; String columns as exact bytes."""
        result = self._called(
            lambda client: client.query(
                sql, parameters=dict(parameters or {}), query_formats={"*String": "bytes"}, settings=_reading(client, READ_ONLY)
            )
        )
        return [tuple(row) for row in result.result_rows]

    def binary(self, sql: str, parameters: Mapping[str, Any] | None = None) -> bytes:
        """Rows of a query as RowBinary, for who reads them himself: the driver takes 1 ms for the first row of an answer."""
        bound = dict(parameters or {})
        found: bytes = self._called(
            lambda client: client.raw_query(sql, parameters=bound, settings=_reading(client, BINARY_SETTINGS), fmt="RowBinary")
        )
        return found

    def command(self, sql: str, parameters: Mapping[str, Any] | None = None) -> None:
        """A statement without rows."""
        self._called(lambda client: client.command(sql, parameters=dict(parameters or {})))

    def read(self, sql: str, parameters: Mapping[str, Any] | None = None) -> list[dict[str, Any]]:
        """A person's query, read-only: `[{column: value}]`, decimals and times as text. Raises UsageError where it would change something."""
        statement = sql.strip().rstrip(";").strip()
        if not statement.lower().startswith(_READING_WORDS):
            raise UsageError("only queries that read can be asked here: SELECT, WITH, SHOW, DESCRIBE, EXPLAIN, EXISTS")
        named: dict[str, Any] = {"parameters": dict(parameters or {}), "fmt": "JSONEachRow"}
        found: list[dict[str, Any]] = self._called(
            lambda client: _objects(client.raw_query(statement, settings=_reading(client, JSON_SETTINGS), **named))
        )
        return found

    def lines(self, sql: str, parameters: Mapping[str, Any] | None = None) -> list[bytes]:
        """Rows of a query as the engine writes them, one JSON object each: for files whose bytes are hashed as they are."""
        named: dict[str, Any] = {"parameters": dict(parameters or {}), "settings": {**JSON_SETTINGS, **PLAIN_JSON}, "fmt": "JSONEachRow"}
        found: bytes = self._called(lambda client: client.raw_query(sql, **named))
        return [line for line in found.split(b"\n") if line]

    def applied(self) -> dict[int, tuple[str, str]]:
        """Migrations that were applied: number → (name, checksum)."""
        rows = self.rows("SELECT number, argMin(name, applied_at), argMin(checksum, applied_at) FROM schema_migrations GROUP BY number")
        return {number: (name.decode(), checksum.decode()) for number, name, checksum in rows}

    def migrate(self, own: Sequence[Migration] | None = None) -> list[str]:
        """Create the database and apply what is pending; returns the names applied now. Raises SchemaMismatch.

        1. the statements of a file, each idempotent: a crash among them is repaired by running them again;
        2. the file's row: a crash before it costs running the file again.

        Several workers may do this at once. Before each statement a worker looks whether another one has finished the file: one that was slow, and
        then died, would otherwise leave an old file's view where the newer one's already stood.
        """
        self._create_database()
        self.command(MIGRATIONS_TABLE)
        done: list[str] = []
        for migration in pending(own if own is not None else migrations(), self.applied()):
            if not self._apply(migration):
                continue
            row: Columns = [[migration.number], [migration.name], [migration.checksum]]
            names = Table("schema_migrations", (("number", "UInt32"), ("name", "String"), ("checksum", "String")))
            self.insert(names, row)
            done.append(migration.name)
        return done

    def _apply(self, migration: Migration) -> bool:
        """Run a file's statements; False where another worker finished it meanwhile."""
        for statement in migration.statements:
            if migration.number in self.applied():
                return False
            self._run(statement)
        return True

    def _run(self, statement: str) -> None:
        """One statement of a file, again where another worker replaced the view while it ran: each is idempotent (error 218, TABLE_IS_DROPPED)."""
        for _ in range(REPLACED_TRIES):
            try:
                self.command(statement)
            except Refused as refused:
                if "TABLE_IS_DROPPED" not in str(refused):
                    raise
            else:
                return
        self.command(statement)

    def _create_database(self) -> None:
        with self._errors(), closing(self._connect(None)) as client:
            client.command(f"CREATE DATABASE IF NOT EXISTS `{self.address.database}`")


def _believe(table: Table, written: int, count: int) -> None:
    if written != count:
        raise Refused(f"ClickHouse wrote {written} of {count} rows into {table.name}; the batch is sent again")


def _reading(client: Client, settings: dict[str, Any]) -> dict[str, Any]:
    """The settings of a query, without what this user may not say and need not: COMFORTS, and what stands so already. The rest the server refuses."""

    def needs_saying(name: str, value: Any) -> bool:
        known = client.server_settings.get(name)
        return known is None or not known.readonly or not (name in COMFORTS or known.value == str(value))

    return {name: value for name, value in settings.items() if needs_saying(name, value)}


def _objects(data: bytes) -> list[dict[str, Any]]:
    """Lines of JSON; \\n alone ends one, since text may hold other ends of lines. Raises ValueError where one is no object."""
    found = [json.loads(line.decode("utf-8", "replace")) for line in data.split(b"\n") if line]
    if not all(isinstance(row, dict) for row in found):
        raise ValueError("a row is no JSON object")
    return found


class ClickHouseStore:
    """`ports.Store` over `ClickHouse`: each call in a thread, so that the event loop goes on."""

    def __init__(self, clickhouse: ClickHouse) -> None:
        self.clickhouse = clickhouse

    async def prepare(self) -> None:
        """See `ports.Store.prepare`."""
        await asyncio.to_thread(self.clickhouse.migrate)

    async def insert(self, table: Table, columns: Columns) -> None:
        """See `ports.Store.insert`."""
        await asyncio.to_thread(self.clickhouse.insert, table, columns)

    async def packed(self, pieces: Sequence[Piece]) -> Callable[[], Awaitable[None]]:
        """See `ports.Store.packed`."""
        from sinks.clickhouse.raw_block import raw_block

        block, count = await asyncio.to_thread(raw_block, pieces), sum(piece.rows for piece in pieces)
        return lambda: asyncio.to_thread(self.clickhouse.insert_packed, block, count)

    async def _rows(self, sql: str, **parameters: Any) -> list[tuple[Any, ...]]:
        return await asyncio.to_thread(self.clickhouse.rows, sql, parameters)

    async def progress(self, topic: str, partition: int) -> Progress | None:
        """See `ports.Store.progress`."""
        rows = await self._rows(
            "SELECT generation, max(next_offset) FROM progress WHERE topic = {topic:String} AND kafka_partition = {p:UInt32}"
            " GROUP BY generation ORDER BY generation DESC LIMIT 1",
            topic=topic,
            p=partition,
        )
        return Progress(*rows[0]) if rows else None

    async def present(self, table: Table, partition: int, from_offset: int) -> set[int]:
        """See `ports.Store.present`."""
        # A receipt without its record was archived by an older program, and is to be archived again.
        whole = " AND record != ''" if table is RECEIPT else ""
        rows = await self._rows(
            f"SELECT DISTINCT log_offset FROM {table.name} WHERE log_partition = {{p:UInt32}} AND log_offset >= {{o:UInt64}}{whole}",
            p=partition,
            o=from_offset,
        )
        return {row[0] for row in rows}

    async def present_raw(self, partition: int, generation: int, from_offset: int) -> set[int]:
        """See `ports.Store.present_raw`."""
        rows = await self._rows(
            "SELECT DISTINCT kafka_offset FROM raw_events"
            " WHERE kafka_partition = {p:UInt32} AND generation = {g:UInt32} AND kafka_offset >= {o:UInt64}",
            p=partition,
            g=generation,
            o=from_offset,
        )
        return {row[0] for row in rows}

    async def mark(self, partition: int) -> ArchivedMark | None:
        """See `ports.Store.mark`."""
        rows = await self._rows(
            "SELECT generation, next_offset, base FROM mark_log FINAL WHERE kafka_partition = {p:UInt32} ORDER BY generation DESC LIMIT 1",
            p=partition,
        )
        return ArchivedMark(*rows[0]) if rows else None

    async def definitions(self, partition: int) -> list[bytes]:
        """See `ports.Store.definitions`."""
        rows = await self._rows("SELECT body FROM definition_log FINAL WHERE log_partition = {p:UInt32} ORDER BY log_offset", p=partition)
        return [row[0] for row in rows]

    async def last_raw(self, partition: int, generation: int, below: int) -> RawRecord | None:
        """See `ports.Store.last_raw`."""
        rows = await self._rows(
            "SELECT kafka_offset, toUnixTimestamp64Milli(log_time), customer, key_is_null, record_value, value_is_null FROM raw_events"
            " WHERE kafka_partition = {p:UInt32} AND generation = {g:UInt32} AND kafka_offset = (SELECT max(kafka_offset) FROM raw_events"
            " WHERE kafka_partition = {p:UInt32} AND generation = {g:UInt32} AND kafka_offset < {o:UInt64}) LIMIT 1",
            p=partition,
            g=generation,
            o=below,
        )
        if not rows:
            return None
        from sinks.clickhouse.rows import RawRecord

        offset, timestamp_ms, key, key_is_null, value, value_is_null = rows[0]
        return RawRecord(offset, timestamp_ms, None if key_is_null else key, None if value_is_null else value, ())
