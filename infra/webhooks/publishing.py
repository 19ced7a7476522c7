"""What a delivery came to, into Kafka; it is published when Kafka has acknowledged it, and items when the meter has put them in force."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from infra.apply import bind
from infra.control import ALL
from infra.kafka_io import producer
from topics.catalog import EVENTS, NOTICES
from topics.codec import encode
from topics.errors import TidemarkError
from topics.home import home_of

if TYPE_CHECKING:
    from infra.proposal import Answer
    from infra.webhooks.fresh import News

TRIES: Final = 3
"""Of a binding that lost a race: `apply`, `stripe sync` and other receivers replace what is in force too, and each says what it replaces."""
ANSWER_S: Final = 15.0
"""For the meter's answer. Stripe waits about as long before it counts a delivery as failed, and delivers again."""


class NotInForce(TidemarkError):
    """The meter did not put a binding in force: the provider is to deliver again."""


class KafkaPublisher:
    """Publishes to one cluster. Calls come one at a time (`receiver.py`)."""

    def __init__(self, bootstrap: str, partitions: int) -> None:
        self._bootstrap = bootstrap
        self._partitions = partitions

    async def publish(self, news: News) -> None:
        """Everything of a delivery. Side effects in order, and what a crash between two of them costs:

        1. bindings, answered by the meter; 2. control records, acknowledged; 3. the notice, acknowledged. A crash before the end leaves the
        delivery unanswered, so it comes again: what was published is found in force, or is the same record, which changes nothing; a notice
        has the provider's event id, so its second copy can be told.

        Raises Unreachable, or NotInForce.
        """
        refused: list[Answer] = []
        for _ in range(TRIES):
            answers = await bind(self._bootstrap, news.items, self._partitions, timeout_s=ANSWER_S)
            refused = [answer for answer in answers if answer.state != "in force"]
            if not refused:
                break
        else:
            raise NotInForce("; ".join(f"items of {answer.customer}: {answer.state} {answer.sentence}".strip() for answer in refused))
        if not news.events and news.notice is None:
            return
        async with producer(self._bootstrap) as client:
            for event in news.events:
                everywhere = event.key == ALL.encode()
                homes = range(self._partitions) if everywhere else (home_of(event.key, self._partitions),)
                for partition in homes:
                    await (await client.send(EVENTS, event.value, event.key, partition=partition))
            if news.notice is not None:
                await (await client.send(NOTICES, encode(news.notice), news.notice.customer.encode()))
