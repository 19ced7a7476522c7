"""A process that answers like a worker (or a server) and behaves as its directory says; for tests of the supervisor.

`python stand_in.py PORT DIR`: files in DIR change it while it runs: `halted` (its text is the sentence), `stuck` (lag without progress),
`unready`; `dies` makes it end at its start. It appends a line to `starts` and, on SIGTERM, to `stops`.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

PORT, HOME = int(sys.argv[1]), Path(sys.argv[2])
BEGAN_S = time.monotonic()


class Handler(BaseHTTPRequestHandler):
    """GET /live, /ready, /ping, /healthz, /status."""

    def do_GET(self) -> None:
        """Answers as the directory says now."""
        is_ready = not (HOME / "unready").exists()
        code = 200 if self.path != "/ready" or is_ready else 503
        is_stuck = (HOME / "stuck").exists()
        halted = HOME / "halted"
        document = {
            "progress": 0 if is_stuck else int((time.monotonic() - BEGAN_S) * 1000),
            "partitions": [{"next_offset": 5, "end_offset": 9 if is_stuck else 5}],
            "halted": halted.read_text() if halted.exists() else None,
        }
        body = json.dumps(document).encode()
        self.send_response(code)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Quiet."""


def note(name: str) -> None:
    """Appends a line (monotonic time, pid) to a file of the directory."""
    with (HOME / name).open("a") as file:
        file.write(f"{time.monotonic()} {os.getpid()}\n")


def stop(*_: object) -> None:
    """SIGTERM: says so and ends."""
    note("stops")
    os._exit(0)


if __name__ == "__main__":
    HOME.mkdir(parents=True, exist_ok=True)
    note("starts")
    if (HOME / "dies").exists():
        sys.exit("it cannot live like this")
    signal.signal(signal.SIGTERM, stop)
    ThreadingHTTPServer(("127.0.0.1", PORT), Handler).serve_forever()
