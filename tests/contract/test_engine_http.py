"""ClickHouse's HTTP protocol as the standard client speaks it, against the embedded engine."""

from __future__ import annotations

import asyncio
import gzip
import http.client
import resource
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from urllib.parse import quote

import clickhouse_connect
import psutil
import pyarrow as pa
import pytest
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import DatabaseError, StreamFailureError

from infra.embedded import process
from infra.embedded.testing import EngineServer, engine_server, unique

ROWS = [[number, f"name '{number}' \\ ü", Decimal(number) / 8, datetime(2026, 11, 1, tzinfo=UTC)] for number in range(20_000)]
COLUMNS = ["id", "name", "quantity", "at"]


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EngineServer]:
    """One engine for all tests of this file."""
    with engine_server(tmp_path_factory.mktemp("engine")) as running:
        yield running


@pytest.fixture
def client(engine: EngineServer) -> Iterator[Client]:
    """A fresh client in a database of its own."""
    database = unique("db").replace("-", "_")
    with clickhouse_connect.get_client(host=engine.host, port=engine.port) as first:
        first.command(f"CREATE DATABASE {database}")
        with clickhouse_connect.get_client(host=engine.host, port=engine.port, database=database) as own:
            own.command("CREATE TABLE t (id UInt64, name String, quantity Decimal(38, 12), at DateTime64(6, 'UTC')) ENGINE = MergeTree ORDER BY id")
            yield own
        first.command(f"DROP DATABASE {database}")


def test_the_client_finds_a_server(client: Client) -> None:
    """The client's opening probes (version, zone, settings, protocol version, ping) are answered."""
    assert str(client.server_version).startswith("26.")
    assert str(client.server_tz) == "UTC"
    assert client.ping()


@pytest.mark.parametrize("compress", [False, "lz4", "zstd", "gzip"])
def test_rows_come_back_as_they_were_sent(engine: EngineServer, client: Client, compress: bool | str) -> None:
    """20,000 rows inserted and read in any compression are the same rows, and the summary counts all of them."""
    with clickhouse_connect.get_client(host=engine.host, port=engine.port, database=client.database, compress=compress) as own:
        written = own.insert("t", ROWS, column_names=COLUMNS)
        assert written.written_rows == len(ROWS)
        found = own.query("SELECT * FROM t ORDER BY id", tz_mode="aware")
    assert [list(row) for row in found.result_rows] == ROWS


def test_columns_arrow_and_raw_bytes_are_stored(client: Client) -> None:
    """The other ways to insert store what they are given: columns, Arrow tables, text in a named format, compressed text."""
    client.insert("t", [[1], ["a"], [Decimal("1.5")], [datetime(2026, 1, 1, tzinfo=UTC)]], column_names=COLUMNS, column_oriented=True)
    client.insert_arrow("t", pa.table({"id": pa.array([2], pa.uint64()), "name": ["b"]}))
    client.raw_insert("t", ["id", "name"], b'{"id": 3, "name": "c"}\n', fmt="JSONEachRow")
    client.raw_insert("t", ["id", "name"], (piece for piece in (b"4,d\n", b"5,e\n")), fmt="CSV")
    client.command("INSERT INTO t (id, name) VALUES (6, 'FORMAT CSV'), (7, ';')")
    client.command("INSERT INTO t (id, name) SELECT id + 100, name FROM t")
    assert client.query("SELECT count(), sum(id), max(name) FROM t").result_rows == [(14, 2 * 28 + 700, "e")]
    assert client.query_arrow("SELECT id FROM t WHERE id < 3 ORDER BY id").column(0).to_pylist() == [1, 2]
    assert client.raw_query("SELECT id FROM t WHERE id = 3", fmt="JSONEachRow") == b'{"id":3}\n'


def test_parameters_are_bound_on_the_server(client: Client) -> None:
    """Parameters reach the engine typed and unquoted, in the URL and in a form, and cannot change the statement."""
    hostile = "x' OR 1=1 --\nü"
    client.insert("t", [[1, hostile, 0, ROWS[0][3]]], column_names=COLUMNS)
    for form in (False, True):
        client.form_encode_query_params = form  # type: ignore[attr-defined]
        found = client.query("SELECT id FROM t WHERE name = {name:String} AND id IN {ids:Array(UInt64)}", {"name": hostile, "ids": [1, 2]})
        assert found.result_rows == [(1,)]
        assert client.query("SELECT id FROM t WHERE name = {name:String}", {"name": "other"}).result_rows == []


def test_an_empty_result_is_a_result(client: Client) -> None:
    """A query without rows has an empty result, a LIMIT 0 its columns, and statements that are no SELECT their rows."""
    assert client.query("SELECT id, name FROM t WHERE id = 1").result_rows == []
    assert client.query("SELECT id, name FROM t LIMIT 0").column_names == ("id", "name")
    assert client.query("DESCRIBE TABLE t").row_count == 4
    assert client.command("EXISTS TABLE t") == 1


def test_settings_last_for_one_request(client: Client) -> None:
    """A setting of the query string holds for its own request and no longer; an unknown one is an error."""
    assert client.command("SELECT getSetting('max_threads')", settings={"max_threads": 3}) == 3
    assert client.command("SELECT getSetting('max_threads')") != 3
    client.insert("t", ROWS[:3], column_names=COLUMNS, settings={"async_insert": 0, "insert_deduplication_token": "t-0-3"})
    assert client.command("SELECT count() FROM t") == 3
    status, headers, _ = raw(client, "POST", "/?no_such_setting=1", b"SELECT 1")
    assert (status, headers["X-ClickHouse-Exception-Code"]) == (404, "115")


@pytest.mark.parametrize("level", [1, 2])
def test_readonly_is_kept(client: Client, level: int) -> None:
    """With readonly in the query string nothing can be written, dropped or made, and readonly cannot be taken back."""
    client.insert("t", ROWS[:3], column_names=COLUMNS)
    writing = [
        "DROP TABLE t",
        "TRUNCATE TABLE t",
        "INSERT INTO t (id) VALUES (9)",
        "CREATE TABLE u (a UInt8) ENGINE = Memory",
        "ALTER TABLE t DELETE WHERE 1",
    ]
    for statement in [*writing, "CREATE TABLE u (a UInt8) ENGINE = Memory", "SET readonly = 0", "SELECT 1 INTO OUTFILE '/tmp/never'"]:
        with pytest.raises(DatabaseError):
            client.command(statement, settings={"readonly": level})
    with pytest.raises(DatabaseError) as refused:
        client.insert("t", ROWS[3:5], column_names=COLUMNS, settings={"readonly": level})
    assert refused.value.code == 164
    if level == 1:
        with pytest.raises(DatabaseError):
            client.query("SELECT * FROM file('/etc/hostname', 'LineAsString')", settings={"readonly": level})
    assert client.query("SELECT count() FROM t", settings={"readonly": level}).result_rows == [(3,)]


def test_errors_have_their_number_and_spoil_nothing(client: Client) -> None:
    """A failed statement raises ClickHouse's own error with its number; the next statement on the connection works."""
    for statement, code in (("SELECT * FROM nowhere", 60), ("SELEC 1", 62), ("SELECT throwIf(1)", 395), ("SELECT 1; SELECT 2", 62)):
        with pytest.raises(DatabaseError) as failed:
            client.query(statement)
        assert failed.value.code == code
        assert client.command("SELECT 1") == 1
    with pytest.raises(DatabaseError):
        client.raw_insert("t", ["id"], b'{"id": 1}\n{"id": "x"}\n', fmt="JSONEachRow")
    assert client.command("SELECT count() FROM t") == 0


def test_a_result_that_breaks_off_is_an_error(client: Client) -> None:
    """An error after the first rows were sent reaches the client as an error, compressed or not; rows do not just end."""
    failing = "SELECT throwIf(number = 150000, 'too far'), toString(number) FROM numbers(200000) SETTINGS max_block_size = 1000, max_threads = 1"
    with pytest.raises(StreamFailureError, match="too far"), client.query_row_block_stream(failing) as blocks:
        assert sum(len(block) for block in blocks) < 200_000
    assert client.command("SELECT 1") == 1


def test_whoever_waits_for_the_end_gets_an_answer_or_an_error(client: Client) -> None:
    """With wait_end_of_query an error far behind the first rows is the answer, with ClickHouse's number, and no rows come before it."""
    failing = "SELECT throwIf(number = 150000, 'too far'), toString(number) FROM numbers({n:UInt64}) SETTINGS max_block_size = 1000, max_threads = 1"
    with pytest.raises(DatabaseError, match="too far") as failed:
        client.raw_query(failing, parameters={"n": 200_000}, settings={"wait_end_of_query": 1}, fmt="RowBinary")
    assert failed.value.code == 395
    few = client.raw_query(failing, parameters={"n": 3}, settings={"wait_end_of_query": 1}, fmt="RowBinary")
    assert few == b"\x00\x010\x00\x011\x00\x012"


@pytest.mark.parametrize(("asked", "is_whole"), [("wait_end_of_query=1&", True), ("", False)])
def test_an_answer_says_where_it_ends(client: Client, asked: str, is_whole: bool) -> None:
    """An answer that is there to its end says its length, one that is written as it comes is chunked; the connection serves the next request."""
    address = str(client.url).removeprefix("http://")  # type: ignore[attr-defined]
    with closing(http.client.HTTPConnection(address, timeout=30)) as connection:
        for rows in (0, 1, 200_000):
            connection.request("POST", f"/?{asked}default_format=RowBinary", f"SELECT toUInt32(number) FROM numbers({rows})".encode())
            answer = connection.getresponse()
            said = answer.getheader("Content-Length"), answer.getheader("Transfer-Encoding")
            assert said == ((str(4 * rows), None) if is_whole else (None, "chunked"))
            assert len(answer.read()) == 4 * rows
        packed = {"Accept-Encoding": "gzip"}
        connection.request("POST", f"/?{asked}enable_http_compression=1&default_format=RowBinary", b"SELECT toUInt32(7)", packed)
        answer = connection.getresponse()
        assert (answer.getheader("Content-Encoding"), gzip.decompress(answer.read())) == ("gzip", b"\x07\x00\x00\x00")


def test_results_stream(client: Client) -> None:
    """A result of many blocks arrives whole, block by block."""
    with client.query_row_block_stream("SELECT number FROM numbers(300000)") as blocks:
        sizes = [len(block) for block in blocks]
    assert sum(sizes) == 300_000
    assert len(sizes) > 1


def test_twenty_inserts_at_once_are_all_stored(engine: EngineServer, client: Client) -> None:
    """Twenty clients inserting at the same time lose and double nothing."""

    def insert(number: int) -> int:
        with clickhouse_connect.get_client(host=engine.host, port=engine.port, database=client.database) as own:
            rows = [[number * 1000 + row, "x", 1, ROWS[0][3]] for row in range(1000)]
            return int(own.insert("t", rows, column_names=COLUMNS, settings={"async_insert": 0}).written_rows)

    with ThreadPoolExecutor(20) as pool:
        assert list(pool.map(insert, range(20))) == [1000] * 20
    assert client.query("SELECT count(), uniqExact(id), sum(id) FROM t").result_rows == [(20_000, 20_000, sum(range(20_000)))]


async def test_the_async_client_works_too(engine: EngineServer, client: Client) -> None:
    """The asyncio client inserts, queries with parameters, and does many things at once."""
    own = await clickhouse_connect.get_async_client(host=engine.host, port=engine.port, database=client.database)
    try:
        await asyncio.gather(*(own.insert("t", ROWS[start : start + 100], column_names=COLUMNS) for start in range(0, 2000, 100)))
        found = await own.query("SELECT count() FROM t WHERE id < {n:UInt64}", parameters={"n": 1500})
        assert found.result_rows == [(1500,)]
        with pytest.raises(DatabaseError):
            await own.query("SELECT * FROM nowhere")
    finally:
        await own.close()


def test_a_client_that_dies_in_the_middle_stores_nothing(engine: EngineServer, client: Client) -> None:
    """An insert whose connection breaks before its end leaves no row behind."""
    connection = http.client.HTTPConnection(engine.host, engine.port, timeout=10)
    query = quote(f"INSERT INTO {client.database}.t (id) FORMAT CSV")
    connection.putrequest("POST", f"/?query={query}")
    connection.putheader("Content-Length", "1000000")
    connection.endheaders(b"1\n2\n3\n")
    connection.close()
    assert client.command("SELECT count() FROM t") == 0


def test_plain_http_works_as_with_curl(client: Client) -> None:
    """A statement in the URL is answered tab-separated with its headers, a ping with Ok, and a GET writes nothing."""
    assert raw(client, "GET", "/ping")[2] == b"Ok.\n"
    status, headers, body = raw(client, "POST", "/?default_format=CSV", b"SELECT 1, 'a'")
    assert (status, headers["X-ClickHouse-Format"], body) == (200, "CSV", b'1,"a"\n')
    assert raw(client, "GET", "/?query=SELECT%201%2B1")[2] == b"2\n"
    assert raw(client, "GET", f"/?query=DROP%20TABLE%20{client.database}.t")[0] == 500


def raw(client: Client, method: str, path: str, body: bytes | None = None) -> tuple[int, dict[str, str], bytes]:
    """One request without a client library."""
    address = str(client.url).removeprefix("http://")  # type: ignore[attr-defined]
    connection = http.client.HTTPConnection(address, timeout=30)
    try:
        connection.request(method, path, body)
        answer = connection.getresponse()
        return answer.status, dict(answer.getheaders()), answer.read()
    finally:
        connection.close()


def test_the_engine_listens_on_loopback_only(engine: EngineServer) -> None:
    """H36: every listening socket of the engine's process is on 127.0.0.1."""
    listening = [each.laddr for each in psutil.Process(engine.process.pid).net_connections("tcp") if each.status == psutil.CONN_LISTEN]
    assert [address.ip for address in listening] == ["127.0.0.1"]


def test_a_second_engine_on_the_directory_says_so(engine: EngineServer, tmp_path: Path) -> None:
    """A directory that another process has open is refused in one sentence, and the first engine is unharmed."""
    with pytest.raises(Exception, match="another process has it open"), engine_server(engine.directory.parent):
        pytest.fail("two engines opened one directory")
    with clickhouse_connect.get_client(host=engine.host, port=engine.port) as client:
        assert client.command("SELECT 1") == 1


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_what_was_answered_survives_the_end_of_the_engine(tmp_path: Path, how: signal.Signals) -> None:
    """Rows whose insert was answered are there when the engine is opened again, after a clean end and after a kill."""
    with engine_server(tmp_path) as running:
        with clickhouse_connect.get_client(host=running.host, port=running.port) as client:
            client.command("CREATE DATABASE d")
            client.command("CREATE TABLE d.t (id UInt64) ENGINE = MergeTree ORDER BY id")
            client.insert("d.t", [[number] for number in range(1000)], column_names=["id"], settings={"async_insert": 0})
        running.process.send_signal(how)
        assert process.end(running.process, patience_s=20) == (0 if how is signal.SIGTERM else -9)
    with engine_server(tmp_path) as again, clickhouse_connect.get_client(host=again.host, port=again.port) as client:
        assert client.command("SELECT count() FROM d.t") == 1000


@pytest.mark.skipif(not hasattr(resource, "prlimit"), reason="only Linux limits another process")
def test_a_full_disk_refuses_an_insert_and_spoils_nothing(tmp_path: Path) -> None:
    """While no file may grow, an INSERT is refused with the engine's own number for it; what was there stays readable, and later rows go in."""
    with engine_server(tmp_path) as running, clickhouse_connect.get_client(host=running.host, port=running.port) as client:
        client.command("CREATE TABLE t (id UInt64) ENGINE = MergeTree ORDER BY id")
        client.insert("t", [[1]], column_names=["id"])
        unlimited = resource.prlimit(running.process.pid, resource.RLIMIT_FSIZE)
        resource.prlimit(running.process.pid, resource.RLIMIT_FSIZE, (0, unlimited[1]))
        with pytest.raises(DatabaseError, match="NOT_ENOUGH_SPACE"):
            client.insert("t", [[2]], column_names=["id"])
        resource.prlimit(running.process.pid, resource.RLIMIT_FSIZE, unlimited)
        assert client.command("SELECT sum(id) FROM t") == 1
        client.insert("t", [[4]], column_names=["id"])
        assert client.command("SELECT sum(id) FROM t") == 5
