"""An embedded stack's own files and the HTTP of its engine: damage is one sentence with the file's name, a bad request ClickHouse's error."""

from __future__ import annotations

import io
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random
from typing import Any, Final

from infra.embedded import options, process
from infra.embedded.engine import codec, forms
from infra.embedded.engine.request import BadRequest, Request, understand
from infra.embedded.layout import Layout
from infra.embedded.state import ProcessState, StackState, read_state, write_state
from tests.fuzz.events import Case
from tests.fuzz.mutate import damaged
from topics.errors import TidemarkError


@contextmanager
def keeping() -> Iterator[Case]:
    """Each small file of a stack's directory, wounded: read, or an error that names it (they hold no usage: what bills lies in Kafka)."""
    with tempfile.TemporaryDirectory(prefix="tidemark-fuzz-") as name:
        layout = Layout(Path(name))
        running = (ProcessState("meter-0", 17, "running", 1, "http://127.0.0.1:8101", None), ProcessState("kafka", None, "stopped", 0, None, "why"))
        write_state(
            layout,
            StackState(
                supervisor_pid=4711, config=Path("/x/tidemark.toml"), bootstrap="127.0.0.1:9092", clickhouse_url="http://127.0.0.1:8123",
                stripe_api_base="http://127.0.0.1:12111", stripe_api_key="sk_test_x", processes=running,
            ),
        )  # fmt: skip
        options.save(layout, options.Options(workers=3))
        options.sandbox_key(layout)
        options.stack_ports(layout, ("kafka", "sandbox"))
        pids = layout.root / "pids"
        pids.mkdir()
        (pids / "meter-0.pid").write_text('{"pid": 2147483646, "started": 1795219200.5}')
        readers: dict[Path, Callable[[], Any]] = {
            layout.state: lambda: read_state(layout.root),
            layout.options: lambda: options.load(layout),
            layout.secrets: lambda: options.sandbox_key(layout),
            layout.ports: lambda: options.stack_ports(layout, ("kafka", "sandbox")),
            pids / "meter-0.pid": lambda: process.recorded(pids),
        }
        yield lambda rng: _kept(rng, readers)


def _kept(rng: Random, readers: dict[Path, Callable[[], Any]]) -> str:
    path = rng.choice(sorted(readers))
    whole = path.read_bytes()
    path.write_bytes(damaged(rng, whole, 2))
    try:
        readers[path]()
    except TidemarkError as error:
        assert str(path) in str(error), error
        return f"{path.name} refused"
    finally:
        path.write_bytes(whole)
    return f"{path.name} read"


STATEMENTS: Final = (
    b"SELECT 1", b"INSERT INTO t FORMAT Native\n\x01\x02", b"INSERT INTO t VALUES (1)", b"SELECT 'a''b' /* c */ -- d\nFORMAT JSON",
    b"SELECT `a\\`b`; SELECT 2",
    b"INSERT INTO t (a, b) SETTINGS x = 1 FORMAT RowBinary ", b"SELECT 1 INTO OUTFILE 'x'", b"WITH 1 AS x SELECT x", b"", b";",
    b"INSERT INTO FUNCTION file('x') ",
)  # fmt: skip
ARGUMENTS: Final = (
    "query",
    "database",
    "readonly",
    "param_a",
    "max_threads",
    "default_format",
    "query_id",
    "compress",
    "enable_http_compression",
    "a b",
    "",
)


@contextmanager
def asking() -> Iterator[Case]:
    """Statements, forms and bodies as they come off the wire: understood, or refused with ClickHouse's number; framed bodies end or are broken."""
    yield _asked


def _asked(rng: Random) -> str:
    statement = rng.choice(STATEMENTS)
    body = damaged(rng, statement, 3) if rng.random() < 0.7 else statement
    arguments = [(rng.choice(ARGUMENTS), rng.choice(("", "1", "2", "9" * 30, "x", "SELECT 1", "\ufffd", "'", "1;"))) for _ in range(rng.randrange(4))]
    headers = {rng.choice(("X-ClickHouse-Format", "X-ClickHouse-Database")): rng.choice(("", "JSON", "\xff", "x" * 300))}
    try:
        content_type = rng.choice(
            ("application/x-www-form-urlencoded", "multipart/form-data; boundary=b", "multipart/form-data", "multipart/form-data; boundary=")
        )
        form = rng.choice(
            (b"query=SELECT+1&param_a=%ff", b'--b\r\nContent-Disposition: form-data; name="query"\r\n\r\nSELECT 1\r\n--b--', b"--b\r\n--b--")
        )
        arguments += forms.fields(content_type, damaged(rng, form, 2)) if rng.random() < 0.3 else []
        found = understand(rng.choice(("GET", "POST")), arguments, headers, body)
        assert isinstance(found, Request)
        way = "insert" if found.insert else "statement"
    except BadRequest as refused:
        assert refused.code > 0
        way = "refused"
    return f"{way}, {_framed(rng, body)}"


def _framed(rng: Random, body: bytes) -> str:
    encoding = rng.choice(("", "lz4", "zstd", "gzip", "deflate", "br", "LZ4"))
    try:
        packed = b"".join(codec.encode(iter([body]), encoding)) if encoding in {"lz4", "zstd", "gzip", "deflate"} else body
        packed = damaged(rng, packed, 2) if rng.random() < 0.5 else packed
        chunked = rng.random() < 0.5
        wire = b"%x\r\n%b\r\n0\r\n\r\n" % (len(packed), packed) if chunked else packed
        wire = damaged(rng, wire, 1) if rng.random() < 0.3 else wire
        length = rng.choice((str(len(packed)), str(len(packed) + 5), "-1", "", "9" * 5000, "\u0661", "x"))
        headers = {"Transfer-Encoding": "chunked"} if chunked else {"Content-Length": length}
        b"".join(codec.decode(codec.read_body(io.BytesIO(wire), headers), encoding))
    except codec.BrokenBody:
        return "broken"
    return "whole"
