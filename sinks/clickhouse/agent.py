"""The Faust agent of the archive: its stream yields whole batches of our topics, its task writes them."""

from __future__ import annotations

from typing import Any

import faust

from sinks.clickhouse.app import ArchiveWorker

AGENT_NAME = "archive"


def register(app: faust.App, batches: Any, worker: ArchiveWorker) -> None:
    """Add the agent and the writing task to `app`; `batches` is the channel that delivery fills.

    Delivery reads `sinks.clickhouse.app.ARCHIVE_TOPICS`; raw events are read by the worker itself (`raw_log.py`).
    """

    @app.agent(batches, name=AGENT_NAME)
    async def archive(stream: Any) -> None:
        async for batch in stream:
            await worker.take(batch)

    app.task(worker.run)
