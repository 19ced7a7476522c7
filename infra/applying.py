"""From settings to what is in force: `apply`, `migrate` and the supervisor's `prepare` share these; each opens its clients and closes them."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING

from infra import topics_admin
from infra.apply import DEFAULT_TIMEOUT_S, apply
from infra.proposing import meters_only, proposal_of
from infra.reading import clickhouse
from topics.catalog import EVENTS
from topics.errors import TidemarkError, UsageError

if TYPE_CHECKING:
    from infra.proposal import Answer, Proposal
    from infra.settings import Settings
    from topics.bindings import Item


def apply_settings(
    settings: Settings,
    *,
    wait: bool = True,
    timeout_s: float = DEFAULT_TIMEOUT_S,
    more: Mapping[str, tuple[Item, ...]] | None = None,
) -> list[Answer]:
    """Publishes what changed in the configuration (and `more` items, read from the provider), and waits for the answers.

    Raises KafkaIsLost where the archive has counted partitions of which Kafka holds nothing.
    """
    from infra.restoring.guard import refuse_where_lost
    from infra.stripe_catalog import lookup_with

    refuse_where_lost(settings)
    return apply_proposal(settings, proposal_of(settings, lookup_with(settings), more), wait=wait, timeout_s=timeout_s)


def apply_proposal(settings: Settings, proposal: Proposal, *, wait: bool = True, timeout_s: float = DEFAULT_TIMEOUT_S) -> list[Answer]:
    """The same for a proposal that is already made."""

    async def run() -> list[Answer]:
        bootstrap = settings.kafka.bootstrap
        partitions = await topics_admin.partition_count(bootstrap, EVENTS)
        return await apply(bootstrap, proposal, partitions, wait=wait, timeout_s=timeout_s)

    return asyncio.run(run())


def publish_meters(settings: Settings) -> None:
    """Meters and timings onto every partition that does not have them, without waiting: no worker runs yet."""
    apply_proposal(settings, meters_only(settings), wait=False)


def apply_topics(settings: Settings) -> None:
    """Topics as they must be. Raises TidemarkError with what only a person can change."""
    _, left = asyncio.run(topics_admin.apply(settings.kafka))
    if left:
        raise TidemarkError("; ".join(str(difference) for difference in left))


def migrate_settings(settings: Settings) -> list[str]:
    """Brings ClickHouse's schema up to date; the names of what was applied now."""
    connection = clickhouse(settings)
    try:
        return connection.migrate()
    finally:
        connection.close()


def grant_analyst(settings: Settings, name: str) -> list[str]:
    """Makes or renews the analysts' user; the views it may read. Raises UsageError where its password is not in the environment."""
    from sinks.clickhouse.analyst import grant

    password = settings.clickhouse.analyst_password
    if password is None:
        raise UsageError("the analyst's password is not set; set TIDEMARK_CLICKHOUSE__ANALYST_PASSWORD in the environment")
    connection = clickhouse(settings)
    try:
        return grant(connection, name, password.get_secret_value())
    finally:
        connection.close()
