"""The Faust agent of the meter: its stream yields whole fetched batches, its table is the window state (`streams/table.py`)."""

from __future__ import annotations

from typing import Any

import faust

from streams.driver import Meter

AGENT_NAME = "meter"


def register(app: faust.App, batches: Any, meter: Meter) -> None:
    """Add the agent and the task that takes turns to `app`; `batches` is the channel that delivery fills.

    The agent acknowledges nothing and raises nothing it could survive: what it raises ends the worker (`agent_supervisor`), which reads
    the batch again.
    """

    @app.agent(batches, name=AGENT_NAME)
    async def count(stream: Any) -> None:
        async for batch in stream:
            await meter.take(batch)

    app.task(meter.run)
