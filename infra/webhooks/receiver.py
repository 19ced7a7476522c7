"""One delivery from its bytes to its answer: believed, read anew, published, and only then acknowledged.

200 means that Kafka has it; anything that may pass is 503, and Stripe delivers again for three days. What can never pass (no event, a wrong
signature) is 400. No body, no object and no secret reaches a log.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final, Literal, NamedTuple, Protocol

import msgspec

from infra.webhooks.said import said_in
from infra.webhooks.signature import refusal_of
from topics.errors import TidemarkError

if TYPE_CHECKING:
    from infra.webhooks.fresh import News
    from infra.webhooks.said import Said

log = logging.getLogger(__name__)

MOST_BYTES: Final = 1024 * 1024
"""Of a body: Stripe's largest events are some hundred kB; what is larger comes from somebody else, who shall not fill our memory."""
FORGERIES: Final = 20
FORGERIES_S: Final = 60.0
"""So many wrong signatures in so many seconds are listened to; then what has one is turned away unread for the rest of that time, with 429. Right
ones pass all the while: they are told apart by the signature alone."""
Word = Literal["published", "ignored", "not_ours", "no_signature", "no_secret", "wrong_signature", "too_old", "no_event", "live", "later"]


class Reply(NamedTuple):
    """The HTTP status, and the word under which it is counted."""

    status: int
    word: Word


class Source(Protocol):
    """Reads what a delivery is about. The call blocks, and raises TidemarkError where Stripe does not answer."""

    def news(self, said: Said, now_s: int, ended_after_s: int) -> News:
        """What it comes to now."""
        ...


class Publisher(Protocol):
    """Puts it into the log."""

    async def publish(self, news: News) -> None:
        """Return when it is there. Raises TidemarkError where it is not, or may not be."""
        ...


class Receiver:
    """All deliveries of one account; one is worked on at a time, so that of two about one customer the later read is the later written."""

    def __init__(
        self,
        source: Source,
        publisher: Publisher,
        *,
        secrets: Sequence[str],
        now_s: Callable[[], float],
        horizon_s: int,
        live: bool,
    ) -> None:
        self._source = source
        self._publisher = publisher
        self._secrets = tuple(secrets)
        self._now_s = now_s
        self._horizon_s = horizon_s
        self._live = live
        self._turn = asyncio.Lock()
        self._forged: list[float] = []
        self.counts: Counter[str] = Counter()
        """Deliveries by word, for the metrics."""

    async def handle(self, body: bytes, signature: str | None) -> Reply:
        """Answer one delivery."""
        reply = await self._handle(body, signature)
        self.counts[reply.word] += 1
        return reply

    async def _handle(self, body: bytes, signature: str | None) -> Reply:
        now_s = self._now_s()
        refusal = refusal_of(body, signature, self._secrets, now_s)
        if refusal is not None:
            return Reply(429 if self._too_many(now_s) else 400, refusal)
        said = said_in(body)
        if said is None:
            return Reply(400, "no_event")
        if said.live != self._live:
            log.warning("delivery %s is of the other mode (live %s): is this endpoint's secret the right one?", said.id, said.live)
            return Reply(200, "live")
        if said.subject is None:
            return Reply(200, "ignored")
        async with self._turn:
            return await self._publish(said, int(now_s))

    async def _publish(self, said: Said, now_s: int) -> Reply:
        try:
            news = await asyncio.to_thread(self._source.news, said, now_s, now_s - self._horizon_s)
            for problem in news.problems:
                log.warning("delivery %s (%s): not bound: %s", said.id, said.type, problem)
            if not news.items and not news.events and news.notice is None:
                return Reply(200, "not_ours")
            await self._publisher.publish(news)
        except (TidemarkError, msgspec.ValidationError) as error:
            log.warning("delivery %s (%s) is put off: %s", said.id, said.type, error)
            return Reply(503, "later")
        return Reply(200, "published")

    def _too_many(self, now_s: float) -> bool:
        """Counts a forgery; True where there were too many of late."""
        recent = [at_s for at_s in self._forged if now_s - at_s < FORGERIES_S]
        self._forged = [*recent[-FORGERIES:], now_s]
        return len(self._forged) > FORGERIES
