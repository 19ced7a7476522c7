"""`python -m tests.benchmarks.explaining --events 1000000`: how long one invoice line of that many events takes to be explained.

The embedded engine holds the month (`explaining_load.py`); a few canned answers stand in for Stripe, so that the archive's part is what is measured.
Prints the command's whole work (read, prove, price, make text or the page) inside of one process, and the command as it is typed, with its start.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple

import psutil

from infra.embedded.testing import engine_server
from infra.settings import Settings, load_settings
from sinks.clickhouse.client import Address, ClickHouse
from tests.benchmarks import explaining_load as made

GOAL_S = 2.0
"""Issue "Invoice truth": a line of one million events is explained in under two seconds on the embedded engine."""
NAME = "in_bench/il_bench"
CONFIG = """
[clickhouse]
url = "{url}"
[stripe]
api_base = "{stripe}"
"""


def main() -> None:
    """Parse arguments, run, print."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.explaining", description=__doc__)
    parser.add_argument("--events", type=int, default=1_000_000, help="counted events of the line (default 1,000,000)")
    parser.add_argument("--runs", type=int, default=5, help="runs of each kind; the median is printed (default 5)")
    parser.add_argument("--html", type=Path, help="keep the page in this file")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="tidemark-bench-") as name, engine_server(Path(name)) as engine:
        clickhouse = ClickHouse(Address(url=engine.url))
        clickhouse.migrate()
        print(f"loading {arguments.events:,} events …", flush=True)
        # A tenth is another customer's, and one in two hundred a copy.
        made.load(clickhouse, arguments.events * 10_000 // 8_940)
        with canned_stripe(units_of(clickhouse)) as stripe:
            os.environ["STRIPE_API_KEY"] = "sk_test_bench"
            config = Path(name) / "tidemark.toml"
            config.write_text(CONFIG.format(url=engine.url, stripe=stripe))
            report(load_settings(config, os.environ), Asked(config, engine.process.pid, arguments.runs, arguments.html))


def units_of(clickhouse: ClickHouse) -> int:
    """What the line bills: everything that was counted."""
    rows = clickhouse.rows("SELECT sum(quantity) FROM usage_events WHERE customer = {customer:String}", {"customer": made.CUSTOMER})
    return int(rows[0][0])


class Asked(NamedTuple):
    """The configuration that names the engine, the engine's process, how often each way is measured, and where the page is kept."""

    config: Path
    engine: int
    runs: int
    html: Path | None


def report(settings: Settings, asked: Asked) -> None:
    """Each way to ask, its median and how it stands to the goal; beside the wall clock the processor's, which a busy machine does not stretch."""
    from infra.explaining.as_json import line_json
    from infra.explaining.line import explained_line
    from infra.explaining.page import Page, page

    found = explained_line(settings, NAME)
    print(f"{found.windows.events:,} events in {len(found.windows.windows):,} windows; faults: {found.faults or 'none'}")
    if asked.html is not None:
        asked.html.write_text(page(Page(lines=[found]), 0), encoding="utf-8")
    work = {
        "read, prove and price": lambda: explained_line(settings, NAME),
        "… and as JSON": lambda: json.dumps(line_json(explained_line(settings, NAME))),
        "… and as a page": lambda: page(Page(lines=[explained_line(settings, NAME)]), 0),
        "the command as typed": lambda: typed(asked.config),
    }
    for what, do in work.items():
        took = sorted(timed(do, asked.engine) for _ in range(asked.runs))
        wall_s, cpu_s = took[len(took) // 2]
        said = f"{what:24} {wall_s:6.2f} s, {cpu_s:5.2f} s of CPU (best {took[0][0]:.2f} s)"
        print(f"{said}   {wall_s / GOAL_S:5.2f} × the goal of {GOAL_S:g} s", flush=True)


def timed(do: Callable[[], object], engine: int) -> tuple[float, float]:
    """Seconds of the wall clock, and of the processor for the engine, this process and its children."""
    begun_s, begun_cpu_s = time.perf_counter(), cpu(engine)
    do()
    return time.perf_counter() - begun_s, cpu(engine) - begun_cpu_s


def cpu(engine: int) -> float:
    """Seconds of the processor so far."""
    own, theirs = os.times(), psutil.Process(engine).cpu_times()
    return own.user + own.system + own.children_user + own.children_system + theirs.user + theirs.system


def typed(config: Path) -> None:
    """A process of its own, as a person starts it."""
    command = [sys.executable, "-m", "infra", "explain", "--invoice-line", NAME, "--config", str(config)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


@contextmanager
def canned_stripe(units: int) -> Iterator[str]:
    """The address of something that answers for one invoice and one price, as Stripe would."""
    line = {
        "id": "il_bench", "object": "line_item", "amount": units * 2 // 100 + (units * 2 % 100 >= 50), "currency": "usd", "quantity": units,
        "period": {"start": made.START_S, "end": made.END_S}, "subscription_item": made.ITEM.item, "price": {"id": made.ITEM.price},
        "subscription": made.ITEM.subscription,
    }  # fmt: skip
    answers: dict[str, Any] = {
        "/v1/invoices/in_bench": {"id": "in_bench", "number": "BENCH-0001", "status": "paid", "lines": {"data": [line], "has_more": False}},
        f"/v1/prices/{made.ITEM.price}": {"id": made.ITEM.price, "currency": "usd", "unit_amount_decimal": "0.02"},
    }

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            """One of the answers."""
            body = json.dumps(answers[self.path.partition("?")[0]]).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *_: Any) -> None:
            """Nothing is said."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


if __name__ == "__main__":
    main()
