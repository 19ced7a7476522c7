"""What mutants look at and the product does not: a worker's wall clock, its own configuration, sends that nobody waits for."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from streams.sends import Send
from tests.core.meterlog import NOW_MS


@dataclass
class Worker:
    """What one worker's machine believes: `now_ms` of its clock, `window_s`, `horizon_ms` and `dedup_ms` of its own file."""

    now_ms: int = NOW_MS
    window_s: int = 3600
    horizon_ms: int = 30 * 86_400_000


here = Worker()


def once(text: str, old: str, new: str) -> str:
    """A schema's text with one guard less; text of another file is left as it is."""
    return text.replace(old, new)


_on_their_way: set[asyncio.Task[Any]] = set()


async def send_but(outbox: Any, sends: Sequence[Send], topic: str) -> None:
    """Wait for all but the records of one topic, which are on their way."""
    task = asyncio.ensure_future(outbox.send_all([send for send in sends if send.topic == topic]))
    _on_their_way.add(task)
    task.add_done_callback(_forget)
    await outbox.send_all([send for send in sends if send.topic != topic])


def _forget(task: asyncio.Task[Any]) -> None:
    _on_their_way.discard(task)
    if not task.cancelled():
        task.exception()  # nobody waits for it, so nobody hears of it
