"""The engine's reading of statements: kinds, formats, where data begins, what is refused."""

from __future__ import annotations

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra.embedded.engine import codec, forms, sql
from infra.embedded.engine.request import BadRequest, Request, error_code, understand
from infra.embedded.engine.server import read_statement
from infra.embedded.engine.session import shortage


def read(statement: str, method: str = "POST", **arguments: str) -> Request:
    """A request with this statement in the argument `query`."""
    return understand(method, [("query", statement), *arguments.items()], {}, b"")


@pytest.mark.parametrize(
    ("text", "data"),
    [
        (b"INSERT INTO t (a, b) FORMAT Native\n\x02\x00", b"\x02\x00"),
        (b"insert into `t` format JSONEachRow {}", b"{}"),
        (b"INSERT INTO t SETTINGS async_insert=0 FORMAT CSV\r\n1,2", b"1,2"),
        (b"/* INSERT */ -- FORMAT x\nINSERT INTO t (`format`, b) FORMAT TSV\n\n", b"\n"),
        (b"INSERT INTO FUNCTION null('x UInt8 FORMAT CSV') FORMAT TSV 1", b"1"),
        (b"INSERT INTO d.format (a) FORMAT CSV\n1", b"1"),
    ],
)
def test_data_of_an_insert_begins_after_its_format(text: bytes, data: bytes) -> None:
    """The bytes after the FORMAT clause and at most one line end are data, whatever they look like."""
    found = sql.parse_insert(text)
    assert found is not None
    assert text[found.data_offset :] == data


@pytest.mark.parametrize("text", [b"INSERT INTO t VALUES (1, 'FORMAT CSV')", b"INSERT INTO t SELECT 1 FORMAT Native", b"SELECT 1 FORMAT CSV", b""])
def test_other_statements_have_no_data(text: bytes) -> None:
    """INSERT … VALUES and INSERT … SELECT are whole statements, as is everything that is no INSERT."""
    assert sql.parse_insert(text) is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b"SELECT 1\n FORMAT Native", "Native"),
        (b"SELECT 1 FORMAT JSON; -- done", "JSON"),
        (b"SELECT 'x FORMAT CSV'", None),
        (b"SELECT a FROM t /* FORMAT CSV */", None),
        (b"SELECT (SELECT 1 FORMAT Native)", None),
    ],
)
def test_the_last_clause_names_the_format(text: bytes, expected: str | None) -> None:
    """Only a FORMAT clause at the very end counts, not one in a string, a comment or parentheses."""
    assert sql.trailing_format(text) == expected


def test_files_are_out_of_reach() -> None:
    """INTO OUTFILE and FROM INFILE are refused over HTTP, and only they: a column may be called outfile."""
    for text in ("SELECT 1 INTO OUTFILE '/tmp/x'", "INSERT INTO t FROM INFILE '/etc/passwd' FORMAT CSV", "select 1 into/**/outfile 'x'"):
        with pytest.raises(BadRequest, match="not allowed over HTTP"):
            read(text)
    assert read("SELECT outfile, 'INTO OUTFILE x' FROM infile").returns_rows


def test_one_statement_a_request() -> None:
    """Two statements in one request are refused as a server does; a trailing semicolon or one in a string is none."""
    with pytest.raises(BadRequest, match="Multi-statements"):
        read("SELECT 1; DROP TABLE t")
    assert read("SELECT ';'; -- end\n").returns_rows


def test_arguments_become_settings_parameters_and_transport() -> None:
    """Names of the protocol are not settings, `param_` names are parameters, all the rest are settings; readonly stands apart."""
    request = read("SELECT 1", database="d", param_x="5", max_threads="2", readonly="1", wait_end_of_query="1", default_format="CSV")
    assert request.settings == {"max_threads": "2"}
    assert request.parameters == {"x": "5"}
    assert (request.database, request.readonly, request.format_name) == ("d", 1, "CSV")


def test_a_get_is_read_only() -> None:
    """A GET runs read-only although nobody asked, as on a server."""
    assert read("SELECT 1", method="GET").readonly == 2
    assert read("SELECT 1").readonly == 0


@pytest.mark.parametrize("arguments", [{"readonly": "7"}, {"max_threads = 1, x": "1"}, {"a;b": "1"}])
def test_unusable_settings_are_refused(arguments: dict[str, str]) -> None:
    """A setting's name goes into a SET statement, so one that is no identifier is refused before the engine sees it."""
    with pytest.raises(BadRequest):
        read("SELECT 1", **arguments)


def test_an_engine_error_has_its_number() -> None:
    """The number is taken from the engine's own message; a message without one is an unknown exception."""
    assert error_code("Streaming query failed: Code: 60. DB::Exception: no table") == 60
    assert error_code("out of luck") == 1002


@given(st.binary(max_size=400), st.lists(st.integers(1, 60), max_size=30))
def test_a_statement_is_found_however_the_body_is_cut(data: bytes, cuts: list[int]) -> None:
    """Cut anywhere, an INSERT's body gives the same statement and all of its data, byte for byte."""
    body = b"INSERT INTO t (a) FORMAT RowBinary\n" + data
    pieces, rest = [], body
    for cut in cuts:
        pieces.append(rest[:cut])
        rest = rest[cut:]
    stream = iter([piece for piece in [*pieces, rest] if piece])
    request = understand("POST", [], {}, read_statement(stream))
    assert request.insert is not None
    assert request.statement == b"INSERT INTO t (a)"
    assert request.data_start + b"".join(stream) == data


FRAMES = st.lists(st.binary(min_size=1, max_size=3000), min_size=1, max_size=5)


@given(FRAMES, st.sampled_from(["lz4", "zstd", "gzip", "deflate", ""]), st.integers(1, 700))
def test_all_frames_of_a_body_are_read(frames: list[bytes], encoding: str, cut: int) -> None:
    """A body of several compressed frames, cut anywhere, decodes to all of them, not only to the first."""
    wire = b"".join(b"".join(codec.encode(iter([frame]), encoding)) for frame in frames)
    pieces = (wire[start : start + cut] for start in range(0, len(wire), cut))
    assert b"".join(codec.decode(pieces, encoding)) == b"".join(frames)


@pytest.mark.parametrize("encoding", ["lz4", "zstd", "gzip"])
def test_a_cut_body_is_an_error(encoding: str) -> None:
    """A compressed body that ends early is refused: what arrived of it must not be stored as if it were all."""
    wire = b"".join(codec.encode(iter([b"x" * 10_000, b"y" * 10_000]), encoding))
    with pytest.raises(codec.BrokenBody):
        list(codec.decode(iter([wire[:-3]]), encoding))


def test_bodies_are_read_by_length_or_by_chunks() -> None:
    """Both framings of HTTP/1.1 give the same bytes, and either one cut short is an error."""
    chunked = b"5\r\nhello\r\n6;name=x\r\n world\r\n0\r\nTrailer: x\r\n\r\n"
    assert b"".join(codec.read_body(io.BytesIO(chunked), {"Transfer-Encoding": "chunked"})) == b"hello world"
    assert b"".join(codec.read_body(io.BytesIO(b"hello world and the next request"), {"Content-Length": "11"})) == b"hello world"
    for headers, wire in (({"Transfer-Encoding": "chunked"}, chunked[:12]), ({"Content-Length": "20"}, b"short")):
        with pytest.raises(codec.BrokenBody):
            list(codec.read_body(io.BytesIO(wire), headers))


def test_forms_carry_statements_and_refuse_files() -> None:
    """Fields of both kinds of form come back as they were sent; a file is refused by name."""
    assert forms.fields("application/x-www-form-urlencoded", b"query=SELECT+1&param_x=%C3%A4") == [("query", "SELECT 1"), ("param_x", "ä")]
    part = b'--B\r\nContent-Disposition: form-data; name="query"\r\n\r\nSELECT\r\n1\r\n'
    assert forms.fields("multipart/form-data; boundary=B", part + b"--B--\r\n") == [("query", "SELECT\r\n1")]
    with pytest.raises(BadRequest, match="External data"):
        forms.fields("multipart/form-data; boundary=B", part.replace(b'"query"', b'"f"; filename="f"') + b"--B--\r\n")


def test_an_insert_leaves_room_on_the_disk() -> None:
    """An INSERT is refused, in the engine's words, where less than 64 MiB and room for its part would be left, and only there."""
    enough = 64 * 1024 * 1024 + 2 * 1000
    assert shortage(1000, enough) is None
    refused = shortage(1000, enough - 1)
    assert refused is not None
    assert refused.startswith("Code: 243.")
    assert "NOT_ENOUGH_SPACE" in refused
