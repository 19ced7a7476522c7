"""`python -m infra.embedded DIR --report FD [--detach]`: the supervisor's process. Started by infra.embedded.stack, not by hand."""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import os
import platform
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TextIO

from infra.embedded import options, plan, process
from infra.embedded.layout import Layout
from infra.embedded.locking import hold
from infra.embedded.supervisor import Supervisor, patience
from topics.errors import TidemarkError


class Report:
    """Tells whoever typed `up` how it goes: one JSON line a step. Nobody may be there any longer."""

    def __init__(self, pipe: TextIO) -> None:
        self._pipe = pipe

    def say(self, **line: object) -> None:
        """One line; lost without harm where the reader is gone."""
        try:
            self._pipe.write(json.dumps(line) + "\n")
            self._pipe.flush()
        except (BrokenPipeError, ValueError):
            logging.getLogger("supervisor").debug("nobody reads the report")

    def end(self) -> None:
        """The stack is up (or not): the reader goes on."""
        self._pipe.close()


def main() -> int:
    """Supervises the stack of a directory until SIGTERM; the exit code."""
    parser = argparse.ArgumentParser(prog="python -m infra.embedded", description=__doc__)
    parser.add_argument("directory", type=Path)
    parser.add_argument("--report", type=int, required=True, help="file descriptor of the pipe to the one who typed `up`")
    parser.add_argument("--detach", action="store_true", help="outlive the one who typed `up`")
    arguments = parser.parse_args()
    if arguments.detach and os.fork() != 0:
        # The one who typed `up` waits for this process only; its child belongs to nobody and leaves nobody a zombie.
        os._exit(0)
    logging.Formatter.converter = time.gmtime
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(asctime)sZ %(levelname)s %(message)s")
    layout = Layout(arguments.directory)
    with os.fdopen(arguments.report, "w", encoding="utf-8") as pipe:
        report = Report(pipe)
        report.say(pid=os.getpid())
        try:
            with hold(layout):
                return asyncio.run(_supervise(layout, report))
        except TidemarkError as error:
            logging.getLogger("supervisor").critical("%s", error)
            report.say(failed=str(error), exit_code=error.exit_code)
            return error.exit_code


async def _supervise(layout: Layout, report: Report) -> int:
    """The life of one stack, with its signals."""
    for name in process.end_recorded(layout.run):
        logging.getLogger("supervisor").warning("%s was still running from a start before and was ended", name)
    remembered = options.load(layout)
    supervisor = Supervisor(
        layout,
        plan.load(layout, remembered),
        Path(remembered.config) if remembered.config else None,
        patience(remembered.policy),
        lambda sentence: report.say(progress=sentence),
    )
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        loop.add_signal_handler(number, supervisor.stop.set)
    supervisor.rest(remembered.idle)
    loop.add_signal_handler(signal.SIGUSR1, lambda: supervisor.rest(options.load(layout).idle))
    watcher = _watcher(layout)

    def ready() -> None:
        report.say(ready=True)
        report.end()

    try:
        await supervisor.run(ready)
    finally:
        if watcher is not None:
            process.end(watcher, patience_s=0)
    return 0


def _watcher(layout: Layout) -> subprocess.Popen[bytes] | None:
    """Where the kernel cannot tether children (macOS), a process that ends them when this one is gone."""
    if platform.system() == "Linux":
        return None
    return subprocess.Popen(
        [sys.executable, "-m", "infra.embedded.watcher", str(layout.run)],
        stdin=subprocess.PIPE,
        start_new_session=True,
        env=plan.plain_environment(),
    )


if __name__ == "__main__":
    sys.exit(main())
