"""Amendments into the log, and the meter's answer to each.

Numbered effects: 1 the records are acknowledged on their customers' home partitions; 2 the meter folds each, and publishes it to
`usage.definitions` (it acts) or a `bad_control` verdict (it was refused). A crash between leaves records that the meter takes all the same; to
publish the same draft again is refused there, so it never acts twice.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

from infra.amending.drafts import Draft
from infra.apply import DEFAULT_TIMEOUT_S, answers
from infra.apply import publish as send
from infra.kafka_io import end_offsets
from infra.proposal import Answer, Publication
from topics.amendments import ALREADY
from topics.catalog import DEFINITIONS, VERDICTS
from topics.home import home_of

State = Literal["applied", "refused", "published", "no answer"]


class Outcome(NamedTuple):
    """What became of one draft: it acts (`applied`), it was `refused` (the sentence says why), or no meter answered in time."""

    draft: Draft
    state: State
    partition: int
    offset: int
    sentence: str = ""


async def publish(
    bootstrap: str, partitions: int, drafts: Sequence[Draft], *, timeout_s: float = DEFAULT_TIMEOUT_S, wait: bool = True
) -> list[Outcome]:
    """Publishes all drafts, in order, and waits for the meter's answers. Raises Unreachable.

    Drafts for one window or one event that build on each other are published one after the other: the second names what the first became.
    """
    # Before anything is published: an answer must be seen once, not never.
    starts = {topic: await end_offsets(bootstrap, topic, range(partitions)) for topic in (DEFINITIONS, VERDICTS)} if wait else {}
    events = [(draft, draft.event()) for draft in drafts]
    publications = [Publication(home_of(event.key, partitions), draft.customer, event) for draft, event in events]
    offsets = await send(bootstrap, publications)
    if not wait:
        return [Outcome(draft, "published", one.partition, offset) for draft, one, offset in zip(drafts, publications, offsets, strict=True)]
    said = await answers(bootstrap, publications, offsets, starts, timeout_s)
    return [
        Outcome(draft, _state(answer), answer.partition, offset, answer.sentence)
        for draft, answer, offset in zip(drafts, said, offsets, strict=True)
    ]


def _state(answer: Answer) -> State:
    """A copy of an amendment that is in force already (a command that was called twice before the archive knew) is as good as the first."""
    if answer.state == "in force" or (answer.state == "refused" and answer.sentence == ALREADY):
        return "applied"
    return "refused" if answer.state == "refused" else "no answer"
