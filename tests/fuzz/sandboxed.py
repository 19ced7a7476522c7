"""The Stripe sandbox as callers reach it: its form decoder, its engine, and its HTTP front on a socket. A refusal is Stripe's, never a failure."""

from __future__ import annotations

import asyncio
import json
import logging
import socket
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random
from typing import Final
from urllib.parse import quote_plus

from infra.sandbox import form
from infra.sandbox.engine import Admitted, Request
from infra.sandbox.errors import ApiError
from infra.sandbox.form import Raw
from infra.sandbox.knobs import NEWEST_VERSION
from infra.sandbox.params import Array, Hash, Spec
from infra.sandbox.routes import ENDPOINTS
from infra.sandbox.testing import LEGACY_VERSION
from tests.contract.sandbox_driver import KEY, Driver
from tests.fuzz.events import Case
from tests.fuzz.mutate import damaged

NAMES: Final = (
    "quantity", "timestamp", "action", "items[0][price]", "items[][price]", "items[0]", "items", "metadata[a]", "metadata",
    "metadata[a][b]", "expand[]",
    "expand[0]", "recurring[interval]", "recurring", "recurring[interval_count]", "currency", "product_data[name]", "unit_amount",
    "customer", "a[b]]",
    "[", "]", "", "a[", "a[]]", "a[[b]]", "\x00", "\u0661", "items[9999999999999999999999]", "items[\u00b2]", "items[\u0661][price]",
    "items[-1]", "items[x]",
    "limit", "starting_after", "active", "cancel_at_period_end", "backdate_start_date", "billing_cycle_anchor", "unit_amount_decimal",
    "transfer_lookup_key",
    "lookup_key", "name", "id", "tax_behavior", "days_until_due", "billing_thresholds[amount_gte]", "billing_thresholds", "clear_usage", "prorate",
    "proration_behavior", "collection_method", "ids[]", "subscription", "price", "status", "default_price", "nickname", "lookup_keys[]",
)  # fmt: skip
INDICES: Final = ("", "0", "1", "7", "\u0661", "\u00b2", "x", "9" * 30, "9" * 5000)
VALUES: Final = (
    "", "0", "1", "-1", "true", "false", "now", "set", "increment", "month", "usd", "1.5", "1e9", "9" * 30, "9" * 400, "\u0661", "\u00b2",
    " 1", "+1", "-0",
    "253402300799", "253402300800", "9223372036854775807", "9223372036854775808", "\x00", "\ud800", "\xe9", "x" * 6000, "null", "[]", "{}",
    "data.customer",
    "customer", "latest_invoice.lines", "none", "all", "metered", "sum", "always_invoice", "send_invoice", "day", "0.000000000001", "0.0000000000001",
)  # fmt: skip


@contextmanager
def engaging() -> Iterator[Case]:
    """Any request to the engine: an answer as Stripe shapes them, never its own 500; the same key with the same parameters says the same."""
    logging.getLogger("infra.sandbox").setLevel(logging.CRITICAL)
    with tempfile.TemporaryDirectory(prefix="tidemark-fuzz-") as directory, Driver(Path(directory)) as driver:
        price = driver.metered_price()
        subscription, item = driver.subscribed(price)
        known = (price, subscription, item, driver.made("/v1/customers", {})["id"])
        yield lambda rng: _engaged(rng, driver, known)


def form_text(rng: Random, known: tuple[str, ...], spec: Spec) -> str:
    """A form: names and values that belong together, that do not, and bytes that are none."""
    names = [_named(rng, spec) if spec and rng.random() < 0.95 else rng.choice(NAMES) for _ in range(rng.choice((0, 0, 1, 1, 2, 3)))]
    pairs = [(name, rng.choice((*known, *VALUES))) for name in names]
    pairs += [(name, _right(rng, name, known)) for name, param in spec.items() if param.required and rng.random() < 0.95]
    text = "&".join(f"{quote_plus(name, errors='surrogatepass')}={quote_plus(value, errors='surrogatepass')}" for name, value in pairs)
    return damaged(rng, text.encode(), 2).decode("latin-1") if rng.random() < 0.2 else text


def _named(rng: Random, spec: Spec) -> str:
    """A parameter's name, or one inside of it."""
    name = rng.choice(sorted(spec))
    kind = spec[name].kind
    if isinstance(kind, Hash) and rng.random() < 0.8:
        return f"{name}[{rng.choice(sorted(kind.spec))}]"
    if isinstance(kind, Array) and rng.random() < 0.8:
        inner = f"[{rng.choice(sorted(kind.kind.spec))}]" if isinstance(kind.kind, Hash) else ""
        return f"{name}[{rng.choice(INDICES)}]{inner}"
    return name + rng.choice(("", "", "", "", "[a]", "[]", "[0][a]", "[a][b][c][d][e][f][g][h]", "]"))


def _right(rng: Random, name: str, known: tuple[str, ...]) -> str:
    """A value that a required parameter may have."""
    price, subscription, _, customer = known
    right = {"quantity": "3", "currency": "usd", "name": "n", "price": price, "subscription": subscription, "customer": customer}
    return right.get(name, rng.choice(VALUES))


def _engaged(rng: Random, driver: Driver, known: tuple[str, ...]) -> str:
    method, collection, parts, sub = rng.choice(sorted(ENDPOINTS))
    text = form_text(rng, known, ENDPOINTS[method, collection, parts, sub].spec)
    try:
        tree = form.decode(text)
        assert _depth(tree) <= form.MAX_DEPTH + 1
    except ApiError as error:
        assert error.status == 400
    name = rng.choice((*known, *known, *known, "si_x", "%00", "..", "%F0%9F", "\xe9", "x" * 300))
    path = "/v1/" + "/".join((collection, name, sub)[:parts])
    if rng.random() < 0.1:
        path = damaged(rng, path.encode(), 1).decode("latin-1")
    headers = {"authorization": f"Bearer {KEY}", "stripe-version": rng.choice((LEGACY_VERSION, NEWEST_VERSION))}
    if method == "POST":
        headers["content-type"] = "application/x-www-form-urlencoded"
    if rng.random() < 0.2:
        odd = (
            "",
            "x",
            "\xe9",
            "Basic \xff",
            "Basic " + "A" * 50,
            "Bearer",
            "2026-99-99",
            "9" * 300,
            "\x00",
            "application/json",
            "multipart/form-data",
            "\xff",
        )
        headers[rng.choice(("authorization", "stripe-version", "content-type", "idempotency-key", "stripe-account"))] = rng.choice(odd)
    key = f"k{rng.randrange(10**9)}" if rng.random() < 0.5 else None
    if key is not None:
        headers["idempotency-key"] = key
    body = text.encode("latin-1", "replace") if method == "POST" else b""
    request = Request(method, path, "" if method == "POST" else text, headers, body, time.monotonic())
    first = _answer(driver, request)
    if key is not None and method == "POST" and first[0] == 200:
        assert _answer(driver, request)[:2] == first[:2]
    return f"{first[0]}"


def _answer(driver: Driver, request: Request) -> tuple[int, bytes]:
    outcome = driver.engine.admit(request)
    answer = driver.engine.execute(outcome) if isinstance(outcome, Admitted) else outcome
    assert answer.status in {200, 400, 401, 404, 409}, answer
    said = json.loads(answer.body)
    assert isinstance(said, dict)
    assert answer.status == 200 or said["error"]["message"], answer
    return answer.status, answer.body


def _depth(node: Raw) -> int:
    return 0 if isinstance(node, str) else 1 + max(map(_depth, node.values()), default=0)


@contextmanager
def fronting() -> Iterator[Case]:
    """Raw bytes to the sandbox's socket: it answers or hangs up, and the next caller is served as if nothing had been."""
    with _listening() as port:
        yield lambda rng: _fronted(rng, port)


@contextmanager
def _listening() -> Iterator[int]:
    from infra.sandbox.serve import listening

    for noisy in ("aiohttp.server", "aiohttp.web", "asyncio"):
        logging.getLogger(noisy).setLevel(logging.CRITICAL)
    loop, stop, ports = asyncio.new_event_loop(), asyncio.Event(), list[int]()
    ready = threading.Event()

    async def serve(directory: str) -> None:
        async with listening("127.0.0.1", 0, Path(directory), api_key=KEY) as url:
            ports.append(int(url.rpartition(":")[2]))
            ready.set()
            await stop.wait()

    with tempfile.TemporaryDirectory(prefix="tidemark-fuzz-") as directory:
        thread = threading.Thread(target=loop.run_until_complete, args=(serve(directory),), name="sandbox", daemon=True)
        thread.start()
        assert ready.wait(10)
        try:
            yield ports[0]
        finally:
            loop.call_soon_threadsafe(stop.set)
            thread.join(10)
            loop.close()


PATHS: Final = (
    "/v1/customers",
    "/v1/prices?limit=1",
    "/_sandbox/clock",
    "/_sandbox/faults",
    "/_sandbox/cells",
    "/healthz",
    "/",
    "*",
    "//",
    "/v1/%",
    "/\xff",
)
BODIES: Final = (
    b"", b"name=x", b"{}", b'{"now":NaN}', b'{"now":1e400}', b'{"now":"x"}', b'{"advance_s":null}', b"[]", b"\xff", b'{"seed":1,"rates":{"lost":2}}',
    b'{"rates":{"nothing":0.1}}', b'{"seed":1e99}', b'{"now":-1}', b"null", b"[" * 5000, b'{"seed":' + b"9" * 5000 + b"}", b'{"only":"x","rates":{}}',
)  # fmt: skip


def _fronted(rng: Random, port: int) -> str:
    body = rng.choice(BODIES)
    head = [f"{rng.choice(('GET', 'POST', 'PUT', 'DELETE', 'OPTIONS', 'X' * 50))} {rng.choice(PATHS)} HTTP/1.1", "Host: x", "Connection: close"]
    head.append(f"Authorization: {rng.choice((f'Bearer {KEY}', f'Bearer {KEY}', 'Bearer sk_live_x', 'Basic !', '', 'Basic ' + 'QQ' * 40))}")
    head.append(
        rng.choice((f"Content-Length: {len(body)}", f"Content-Length: {len(body)}", "Content-Length: -1", "Transfer-Encoding: chunked", "X: y"))
    )
    if rng.random() < 0.3:
        head.append(
            rng.choice(
                ("Expect: 100-continue", "Upgrade: websocket", "Content-Encoding: gzip", "Content-Type: multipart/form-data", "A: " + "b" * 9000)
            )
        )
    data = "\r\n".join(head).encode("latin-1") + b"\r\n\r\n" + body
    if rng.random() < 0.4:
        data = damaged(rng, data)
    with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
        connection.sendall(data)
        connection.settimeout(0.3)  # a request that is not whole is waited for
        said = _all(connection)
    assert not said.startswith(b"HTTP/1.1 500"), (data, said[:300])
    with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
        connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert _all(connection).startswith(b"HTTP/1.1 200")
    return said[9:12].decode("latin-1") or "hung up"


def _all(connection: socket.socket) -> bytes:
    found = b""
    try:
        while more := connection.recv(65_536):
            found += more
    except (ConnectionError, TimeoutError):
        return found
    return found
