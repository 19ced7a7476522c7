"""One line a record on stderr, the worker's name in it, secrets out of it."""

from __future__ import annotations

import logging
import re
import sys
import time
from typing import Final

FORMAT: Final = "%(asctime)s.%(msecs)03dZ %(levelname)-8s {name} %(name)s: %(message)s"

LIBRARIES: Final = ("faust", "mode", "aiokafka", "aiohttp", "stripe", "urllib3", "clickhouse_connect", "asyncio")
"""What they say below WARNING is about themselves; a line of ours must not drown in it."""

NOISE: Final = ("mode.worker", "faust.utils.tracing", "mode.services")

SECRET: Final = re.compile(r"\b((?:sk|rk|pk)_(?:live|test)|whsec)_\w+|(?<=://)[^/\s:@]+:[^/\s@]+(?=@)")
"""Keys of Stripe, and user:password of any address."""


def redacted(text: str) -> str:
    """`text` with every secret replaced; the kind of key stays readable."""
    return SECRET.sub(lambda found: f"{found.group(1)}_…" if found.group(1) else "…:…", text)


class RedactingFormatter(logging.Formatter):
    """UTC, and nothing that looks like a secret, in the message or in a traceback."""

    converter = staticmethod(time.gmtime)

    def format(self, record: logging.LogRecord) -> str:
        """The whole line."""
        return redacted(super().format(record))


def configure(name: str, level: int = logging.INFO) -> None:
    """Send every logger of this process to stderr under the worker's `name`; calling it again replaces the handler."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(RedactingFormatter(FORMAT.format(name=name or "-"), datefmt="%Y-%m-%dT%H:%M:%S"))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    for library in LIBRARIES:
        logging.getLogger(library).setLevel(max(level, logging.WARNING))
    for noise in NOISE:
        logging.getLogger(noise).setLevel(logging.ERROR)
