"""`python -m infra.embedded.engine --dir D --port P`: serves the engine's directory until SIGTERM, then closes it cleanly."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import threading
from pathlib import Path

from infra.embedded.engine.server import EngineServer
from infra.embedded.engine.session import Engine
from topics.errors import TidemarkError

HOST = "127.0.0.1"

DRAIN_TIMEOUT_S = 15.0
"""An insert takes at most a second or two; what runs longer is a query of an analyst, whose client is told by a closed connection."""


def main() -> int:
    """Runs the engine; the exit code."""
    parser = argparse.ArgumentParser(prog="python -m infra.embedded.engine", description=__doc__)
    parser.add_argument("--dir", type=Path, required=True, help="the engine's directory, which no other process may have open")
    parser.add_argument("--port", type=int, required=True, help=f"the port on {HOST}")
    arguments = parser.parse_args()
    stop = threading.Event()
    try:
        engine = Engine(arguments.dir)
        server = EngineServer(HOST, arguments.port, engine)
    except (TidemarkError, OSError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    # After the engine was opened: it installs handlers of its own.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    threading.Thread(target=server.serve_forever, name="listener", daemon=True).start()
    stop.wait()
    # 1. No new requests, the running ones end. 2. The engine flushes and closes. Killed before either: as after a kill -9, the parts
    # on disk are whole, and what was not answered is sent again by its client.
    server.drain(DRAIN_TIMEOUT_S)
    server.shutdown()
    engine.close()
    return 0


if __name__ == "__main__":
    code = main()
    sys.stderr.flush()
    # Threads of forgotten connections must not hold the process, nor meet a library that is being taken down under them.
    os._exit(code)
