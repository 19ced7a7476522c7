"""`python -m infra.webhooks`: the receiver as one process of a stack, its address in TIDEMARK_WORKER__HTTP."""

from __future__ import annotations

import asyncio
import logging
import sys

from infra import logs
from infra.settings import load_settings
from infra.webhooks.app import address_of, serve
from topics.errors import TidemarkError

logger = logging.getLogger("infra.webhooks")


def main() -> int:
    """Receives until SIGTERM; the exit code."""
    try:
        settings = load_settings()
        logs.configure(settings.worker.name or "webhooks")
        asyncio.run(serve(load_settings, *address_of(settings.worker.http), lambda url: logger.info("webhooks are received at %s", url)))
    except TidemarkError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
