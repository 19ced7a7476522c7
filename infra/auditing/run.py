"""`tidemark audit`: one partition after the other, each at one consistent point of its log.

The point is what the table's own changelog stands for when the audit begins: a prefix of the log up to the durable `next_offset`, with its
counters and rows. Everything else is compared up to there: the log is counted again from its base to the point; ClickHouse is asked below the
lesser of the point and what it had archived when it was asked; revisions beyond the point are passed over and their number said. So events
may keep coming, and nothing that arrives meanwhile can look like a difference.

Where retention has removed the log's beginning from Kafka, ClickHouse's copy of it is counted instead, and that is said; where the copy lacks
it too, nothing that needs it is claimed.
"""

from __future__ import annotations

from collections.abc import Sequence

from infra import topics_admin
from infra.auditing import compare
from infra.auditing.findings import PartitionAudit
from infra.auditing.partition import Order, PartitionRun
from infra.auditing.sources import KafkaSource
from infra.kafka_io import begin_offsets, end_offsets
from infra.settings import Settings
from topics.catalog import EVENTS
from topics.errors import UsageError
from topics.home import home_of


async def audit(settings: Settings, order: Order) -> list[PartitionAudit]:
    """Audits the chosen partitions. Raises UsageError for one that does not exist, Unreachable where a server does not answer."""
    bootstrap = settings.kafka.bootstrap
    count = await topics_admin.partition_count(bootstrap, EVENTS)
    chosen = chosen_partitions(order, count)
    runs = [PartitionRun(KafkaSource(bootstrap, partition), partition, count, order) for partition in chosen]
    await audit_all(runs)
    return [run.result for run in runs]


async def audit_all(runs: Sequence[PartitionRun]) -> None:
    """One partition after the other, and then what they have to say about each other."""
    for run in runs:
        await run.audit()
    recounts = {run.partition: run.recount for run in runs if run.recount is not None and run.is_recounted}
    # A home's log may have been read before another partition's point was taken; all copies stand in it by now.
    awaited = {home for recount in recounts.values() for home in recount.homes_awaited(recounts)}
    for run in runs:
        if run.partition in awaited:
            await run.read_on()
    looked = compare.check_rerouted(recounts, {run.partition: run.result.findings for run in runs})
    for run in runs:
        run.result.checked.rerouted, away = looked.get(run.partition, (0, 0))
        if away:
            run.result.cannot(f"whether {away} re-routed events arrived: their homes were not counted in this audit")


async def extent(settings: Settings, order: Order) -> int:
    """How many records the chosen partitions have now, about: what a progress bar wants to know. Raises as `audit`."""
    bootstrap = settings.kafka.bootstrap
    chosen = chosen_partitions(order, await topics_admin.partition_count(bootstrap, EVENTS))
    begins, ends = await begin_offsets(bootstrap, EVENTS, chosen), await end_offsets(bootstrap, EVENTS, chosen)
    return sum(ends[partition] - begins[partition] for partition in chosen)


def chosen_partitions(order: Order, count: int) -> list[int]:
    """The partitions of an order. Raises UsageError where one does not exist, or is not the customer's home."""
    if wrong := [partition for partition in order.partitions if not 0 <= partition < count]:
        raise UsageError(f"there is no partition {wrong[0]}; {EVENTS} has 0 to {count - 1}")
    if order.customer is None:
        return sorted(set(order.partitions)) or list(range(count))
    home = home_of(order.customer.encode(), count)
    if order.partitions and set(order.partitions) != {home}:
        raise UsageError(f"all events of customer {order.customer!r} are counted on partition {home}")
    return [home]
