"""`python -m infra.reconciling`: the scheduled reconciliation as one process of a stack, its address in TIDEMARK_WORKER__HTTP."""

from __future__ import annotations

import asyncio
import logging
import sys

from infra import logs
from infra.reconciling.serve import serve
from infra.settings import load_settings
from topics.errors import TidemarkError

logger = logging.getLogger("infra.reconciling")


def main() -> int:
    """Reconciles until SIGTERM; the exit code."""
    try:
        settings = load_settings()
        logs.configure(settings.worker.name or "reconcile")
        asyncio.run(serve(settings, settings.worker.http, lambda url: logger.info("what was reconciled is shown at %s/status", url)))
    except TidemarkError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
