"""The Faust agent of the report: its stream yields whole batches of `usage.windows`."""

from __future__ import annotations

from typing import Any

import faust

from sinks.stripe.app import ReportWorker
from topics.catalog import WINDOWS

AGENT_NAME = "report"
REPORT_TOPICS = (WINDOWS,)
"""What delivery hands over. Receipts and definitions are read by the worker itself (`receipt_log.py`)."""


def register(app: faust.App, batches: Any, worker: ReportWorker) -> None:
    """Add the agent to `app`; `batches` is the channel that delivery fills.

    The agent acknowledges nothing: an offset is committable when the receipts hold what it says (`sinks/coverage.py`).
    """

    @app.agent(batches, name=AGENT_NAME)
    async def report(stream: Any) -> None:
        async for batch in stream:
            await worker.take(batch)
