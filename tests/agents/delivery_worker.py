"""One worker in a process of its own, to be killed and frozen: `python -m tests.agents.delivery_worker BOOTSTRAP TOPIC NAME FOLDER`."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
from pathlib import Path

from infra.faust_app import end_process, serve
from tests.agents.delivery_harness import Ledger, Miniature, app_of, wire


class SharedLedger(Ledger):
    """The ledger as a file that several processes append to; each line is one fenced run, read again before every write."""

    def write(self, partition: int, start: int, end: int, offsets: list[int]) -> None:
        """Write only what continues the file; a frozen worker that wakes up finds that another went on, and writes nothing."""
        self.load()
        if start == self.next_offset(partition):
            super().write(partition, start, end, offsets)


async def main(bootstrap: str, topic: str, name: str, folder: Path) -> int:
    """Run until SIGTERM."""
    app, flow = app_of(bootstrap, f"group-{topic}", topic, name, folder / f"{name}-{os.getpid()}")
    mini = Miniature(SharedLedger(folder / "ledger.jsonl"), flow)
    wire(app, flow, mini)
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    return await serve(app, stop)


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(levelname)s %(message)s")
    end_process(asyncio.run(main(sys.argv[1], sys.argv[2], sys.argv[3], Path(sys.argv[4]))))
