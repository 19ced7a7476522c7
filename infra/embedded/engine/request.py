"""One HTTP request of a ClickHouse client, understood: which statement, which settings, parameters and formats. Pure."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from infra.embedded.engine import sql
from topics.errors import TidemarkError

TRANSPORT = frozenset(
    {
        "query", "database", "default_format", "user", "password", "quota_key", "role", "session_id", "session_timeout", "session_check",
        "query_id", "stacktrace", "compress", "decompress", "buffer_size", "wait_end_of_query", "client_protocol_version",
        "enable_http_compression", "http_zlib_compression_level", "send_progress_in_http_headers", "http_headers_progress_interval_ms",
        "cancel_http_readonly_queries_on_client_close", "add_http_cors_header", "close_session",
    }
)  # fmt: skip
"""Query-string names that belong to HTTP; every other one is a setting of the engine."""

SETTING_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.]*")

ANALYST = "analyst"
"""Whoever says this name may only read, as on a server the user that `tidemark migrate --analyst` makes. It has no password: the engine listens on
loopback alone, and keeps a slip of the hand from changing something, not an attacker."""
ANALYST_LIMITS = {"max_execution_time": "60", "max_memory_usage": "4294967296"}
"""Where the request says none of its own; the same as on a server."""

DEFAULT_FORMAT = "TabSeparated"
"""What a ClickHouse server answers in when nobody names a format."""

BAD_ARGUMENTS = 36
NOT_IMPLEMENTED = 48
SYNTAX_ERROR = 62
UNKNOWN_SETTING = 115


class BadRequest(TidemarkError):
    """A request that is refused before the engine sees it; `code` is ClickHouse's number for it."""

    def __init__(self, code: int, sentence: str) -> None:
        super().__init__(f"Code: {code}. DB::Exception: {sentence}")
        self.code = code


@dataclass(frozen=True)
class Request:
    """What one request asks of the engine.

    `statement` is complete unless `insert` is set; then `data_start` is the part of the data that came with the statement, and the
    rest of the HTTP body follows it. `format_name` is what result rows are to be written in, `may_encode` whether they may be compressed,
    `is_whole` whether the answer may begin only when it is there to its end.
    """

    statement: bytes
    insert: sql.Insert | None
    data_start: bytes
    format_name: str
    returns_rows: bool
    may_encode: bool
    is_whole: bool
    database: str | None
    query_id: str | None
    readonly: int
    settings: Mapping[str, str] = field(default_factory=dict)
    parameters: Mapping[str, str] = field(default_factory=dict)


def understand(
    method: str,
    arguments: Iterable[tuple[str, str]],
    headers: Mapping[str, str],
    body_start: bytes,
) -> Request:
    """The request with these query-string (and form) arguments.

    `body_start` is the body's text where the statement is in it; where the statement is in the argument `query`, the body is only
    data and is not looked at here. Raises BadRequest.
    """
    named = dict(arguments)
    in_argument = bool(named.get("query", "").strip())
    statement = named["query"].encode() if in_argument else body_start
    settings = {name: value for name, value in named.items() if name not in TRANSPORT and not name.startswith("param_")}
    is_analyst = ANALYST in {named.get("user"), headers.get("X-ClickHouse-User"), _basic_user(headers.get("Authorization", ""))}
    if is_analyst:
        settings = {**ANALYST_LIMITS, **settings}
    for name in settings:
        if not SETTING_NAME.fullmatch(name):
            raise BadRequest(UNKNOWN_SETTING, f"Unknown setting {name!r}. (UNKNOWN_SETTING)")
    insert = sql.parse_insert(statement)
    head = insert.statement if insert else statement
    try:
        head.decode()
    except UnicodeDecodeError as error:
        raise BadRequest(SYNTAX_ERROR, "The statement is not UTF-8. (SYNTAX_ERROR)") from error
    told = sql.told(head)
    if told.reaches_for_files:
        raise BadRequest(NOT_IMPLEMENTED, "INTO OUTFILE and FROM INFILE are not allowed over HTTP. (NOT_IMPLEMENTED)")
    if told.is_many:
        raise BadRequest(SYNTAX_ERROR, "Multi-statements are not allowed over HTTP: send one statement a request. (SYNTAX_ERROR)")
    return Request(
        statement=head,
        insert=insert,
        data_start=statement[insert.data_offset :] if insert else b"",
        format_name=told.trailing_format or named.get("default_format") or headers.get("X-ClickHouse-Format") or DEFAULT_FORMAT,
        returns_rows=told.returns_rows,
        may_encode=named.get("enable_http_compression") == "1",
        is_whole=named.get("wait_end_of_query") == "1",
        database=named.get("database") or headers.get("X-ClickHouse-Database") or None,
        query_id=named.get("query_id") or None,
        readonly=_readonly(method, settings) or (2 if is_analyst else 0),
        settings={name: value for name, value in settings.items() if name != "readonly"},
        parameters={name.removeprefix("param_"): value for name, value in named.items() if name.startswith("param_")},
    )


def _basic_user(authorization: str) -> str:
    """The name in a Basic authorization; empty where there is none."""
    scheme, _, coded = authorization.partition(" ")
    if scheme.lower() != "basic":
        return ""
    try:
        return base64.b64decode(coded, validate=True).decode().partition(":")[0]
    except ValueError:
        return ""


def _readonly(method: str, settings: Mapping[str, str]) -> int:
    """The level of `readonly` that holds: a GET changes nothing (level 2 still lets settings through), as on a server."""
    asked = settings.get("readonly", "0")
    if asked not in {"0", "1", "2"}:
        raise BadRequest(BAD_ARGUMENTS, f"readonly is 0, 1 or 2, not {asked!r}. (BAD_ARGUMENTS)")
    return int(asked) or (2 if method == "GET" else 0)


def set_statement(settings: Mapping[str, str]) -> str | None:
    """The SET that applies a request's settings, or None; values are quoted, the engine converts them."""
    if not settings:
        return None
    return "SET " + ", ".join(f"{name} = {sql.quote(value)}" for name, value in settings.items())


def error_code(message: str) -> int:
    """ClickHouse's number in an engine's error message; 1002 (unknown exception) where it has none."""
    match = re.search(r"\bCode: (\d+)", message)
    return int(match.group(1)) if match else 1002


def http_status(code: int) -> int:
    """The HTTP status of an engine error, as a server chooses it: 404 for what is not there, 400 for what cannot be read, else 500."""
    if code in {16, 36, 46, 60, 81, 115}:
        return 404 if code != 36 else 400
    if code in {6, 26, 27, 33, 38, 41, 43, 47, 53, 62, 69, 70, 72, 117, 130, 131, 152, 386, 456, 457}:
        return 400
    return 501 if code == NOT_IMPLEMENTED else 500
