"""ClickHouse's HTTP protocol over the engine: reads a request, runs it, writes the answer. One thread a connection."""

from __future__ import annotations

import itertools
import re
import secrets
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from infra.embedded.engine import codec, forms, sql
from infra.embedded.engine.request import SYNTAX_ERROR, BadRequest, Request, error_code, http_status, understand
from infra.embedded.engine.session import Answer, Engine

STATEMENT_MAX_BYTES = 1024 * 1024
"""How far into a body the FORMAT clause of an INSERT is looked for; a longer statement is taken whole."""

IDLE_TIMEOUT_S = 600
"""A connection on which nothing comes for this long is closed, so that forgotten clients do not hold threads for ever."""


class EngineServer(ThreadingHTTPServer):
    """The listener: loopback only, twenty and more requests at once."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, host: str, port: int, engine: Engine) -> None:
        super().__init__((host, port), Handler)
        self.engine = engine
        self._running = 0
        self._idle = threading.Condition()
        self.is_closing = False

    def enter(self) -> bool:
        """Counts a request in; False when the server is closing and takes none."""
        with self._idle:
            self._running += 0 if self.is_closing else 1
            return not self.is_closing

    def leave(self) -> None:
        """Counts a request out."""
        with self._idle:
            self._running -= 1
            self._idle.notify_all()

    def drain(self, timeout_s: float) -> bool:
        """Takes no more requests and waits for those that run; whether all ended in time."""
        with self._idle:
            self.is_closing = True
            return self._idle.wait_for(lambda: self._running == 0, timeout_s)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away in the middle is no event; anything else goes to the log."""
        if not isinstance(sys.exc_info()[1], (ConnectionError, TimeoutError)):
            super().handle_error(request, client_address)


class Handler(BaseHTTPRequestHandler):
    """One connection of a ClickHouse client."""

    server: EngineServer
    protocol_version = "HTTP/1.1"
    timeout = IDLE_TIMEOUT_S
    wbufsize = 64 * 1024
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        """`/ping`, or a statement in the argument `query` (which a GET runs read-only)."""
        if urlsplit(self.path).path in {"/ping", "/replicas_status"} or not urlsplit(self.path).query:
            self._send(200, {}, b"Ok.\n")
            return
        self._serve()

    def do_POST(self) -> None:
        """A statement in the argument `query` or in the body, the data of an INSERT in the body."""
        self._serve()

    def log_message(self, format: str, *args: Any) -> None:
        """Requests are not logged: their URLs carry statements, and statements carry customers."""

    def _serve(self) -> None:
        """Runs one request; every failure before the answer has begun is a ClickHouse error with its code."""
        if not self.server.enter():
            self.close_connection = True
            self._send(503, {}, b"the engine is stopping\n")
            return
        try:
            body = codec.decode(codec.read_body(self.rfile, self._headers()), self.headers.get("Content-Encoding", "").lower())
            try:
                request, data = self._understand(body)
                with self.server.engine.execute(request, data) as answer:
                    self._answer(request, answer)
            except BadRequest as refused:
                self._fail(refused.code, str(refused), body)
            except codec.BrokenBody as broken:
                self.close_connection = True
                self._fail(33, f"Code: 33. DB::Exception: {broken}. (CANNOT_READ_ALL_DATA)", iter(()))
            except RuntimeError as error:
                self._fail(error_code(str(error)), str(error), body)
        finally:
            self.server.leave()

    def _headers(self) -> dict[str, str]:
        """The request's headers by their usual spelling; names come from a fixed set, values from the client."""
        wanted = ("Transfer-Encoding", "Content-Length", "X-ClickHouse-Format", "X-ClickHouse-Database", "X-ClickHouse-User", "Authorization")
        return {name: self.headers[name] for name in wanted if name in self.headers}

    def _understand(self, body: Iterator[bytes]) -> tuple[Request, Iterator[bytes]]:
        """The request, and the data that follows its statement."""
        arguments = parse_qsl(urlsplit(self.path).query, keep_blank_values=True)
        content_type = self.headers.get("Content-Type", "")
        if forms.is_form(content_type):
            arguments += forms.fields(content_type, b"".join(body))
            return understand(self.command, arguments, self._headers(), b""), iter(())
        named = dict(arguments)
        statement = named.get("query", "").encode()
        if not statement.strip():
            return understand(self.command, arguments, self._headers(), read_statement(body)), body
        if sql.parse_insert(statement) is None:
            # A server reads on in the body where the argument ends: `INSERT … VALUES` there, the rows here.
            rest = b"".join(body)
            try:
                named["query"] += "\n" + rest.decode() if rest else ""
            except UnicodeDecodeError as error:
                raise BadRequest(SYNTAX_ERROR, "The statement is not UTF-8. (SYNTAX_ERROR)") from error
        return understand(self.command, named.items(), self._headers(), b""), body

    def _answer(self, request: Request, answer: Answer) -> None:
        """Writes a result, so that one that breaks off cannot be taken for a whole one: in chunks, or where it is there to its end, with its length.

        A client reads the latter sooner.
        """
        encoding = codec.choose_encoding(self.headers.get("Accept-Encoding", ""), request.may_encode)
        headers = {
            "X-ClickHouse-Query-Id": request.query_id or secrets.token_hex(16),
            "X-ClickHouse-Summary": answer.summary_json,
            "X-ClickHouse-Timezone": "UTC",
        }
        if answer.format_name is None:
            self._send(200, headers, b"")
            return
        headers["X-ClickHouse-Format"] = answer.format_name
        if answer.is_whole and not encoding:
            self._send(200, headers, b"".join(answer.pieces))
            return
        tag = secrets.token_hex(8)
        if encoding:
            headers["Content-Encoding"] = encoding
        self._begin(200, {**headers, "X-ClickHouse-Exception-Tag": tag, "Transfer-Encoding": "chunked"})
        outcome = _Outcome(tag)
        for piece in codec.encode(outcome.follow(answer.pieces), encoding):
            self._chunk(piece)
        if outcome.is_broken:
            # No last chunk, and the connection ends: whoever does not read the message still sees that the answer is incomplete.
            self.close_connection = True
        else:
            self.wfile.write(b"0\r\n\r\n")
        self.wfile.flush()

    def _chunk(self, piece: bytes) -> None:
        """One HTTP chunk; an empty one would end the answer."""
        if piece:
            self.wfile.write(b"%x\r\n%b\r\n" % (len(piece), piece))

    def _fail(self, code: int, message: str, body: Iterator[bytes]) -> None:
        """Answers with a ClickHouse error, in the words of a server."""
        try:
            # What the client still sends has to be read, or it sees a reset connection instead of this answer.
            for _ in body:
                continue
        except (codec.BrokenBody, ValueError):
            self.close_connection = True
        start = re.search(r"\bCode: \d", message)
        text = message[start.start() :] if start else f"Code: {code}. DB::Exception: {message} (UNKNOWN_EXCEPTION)"
        if "(version " not in text:
            text += f" (version {self.server.engine.version})"
        headers = {"X-ClickHouse-Exception-Code": str(code), "X-ClickHouse-Timezone": "UTC"}
        self._send(http_status(code), headers, text.encode() + b"\n")

    def _send(self, status: int, headers: dict[str, str], body: bytes) -> None:
        """A whole answer of known length."""
        self._begin(status, {**headers, "Content-Length": str(len(body))})
        self.wfile.write(body)
        self.wfile.flush()

    def _begin(self, status: int, headers: dict[str, str]) -> None:
        """The head of an answer."""
        self.send_response_only(status)
        self.send_header("Date", self.date_time_string())
        self.send_header("Content-Type", "text/plain; charset=UTF-8")
        self.send_header("X-ClickHouse-Server-Display-Name", "tidemark")
        for name, value in headers.items():
            self.send_header(name, value)
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()


class _Outcome:
    """Follows a result that is being sent: whether it broke off, and the server's way of saying so inside the answer."""

    def __init__(self, tag: str) -> None:
        self.tag = tag.encode()
        self.is_broken = False

    def follow(self, pieces: Iterator[bytes]) -> Iterator[bytes]:
        """The pieces; an engine error among them is written between tags, as servers have done since 25.11, and ends them."""
        try:
            yield from pieces
        except RuntimeError as error:
            self.is_broken = True
            message = str(error)[max(str(error).find("Code: "), 0) :].encode()
            yield b"\r\n__exception__\r\n%b\r\n%b\n%d %b\r\n__exception__\r\n" % (self.tag, message, len(message) + 1, self.tag)


def read_statement(body: Iterator[bytes]) -> bytes:
    """The part of a body that holds its statement: all of it, or as far as the beginning of an INSERT's data; the rest stays in `body`."""
    taken = b""
    for piece in body:
        taken += piece
        if sql.first_word(taken) != b"INSERT":
            return b"".join(itertools.chain([taken], body))
        insert = sql.parse_insert(taken)
        if insert is not None and insert.data_offset < len(taken):
            return taken
        if len(taken) > STATEMENT_MAX_BYTES:
            return b"".join(itertools.chain([taken], body))
    return taken
