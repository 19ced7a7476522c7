"""`tidemark restore`: every partition looked at, rebuilt and, with `yes`, written; then made valid all together.

Numbered effects over all partitions, those of one partition being in `partition.py`: A archiving positions, receipts and segments are written,
partition by partition; B events that had been re-routed and did not arrive are sent home (twice, if it is killed then: they count once); C the
report and the archive start anew, so that nobody delivers by what it knew before; D each partition's counters, which make it valid; E the meters
start anew and emit. Killed anywhere, `restore --yes` once more goes on: before D a partition is done again from the beginning, after it it is left
alone.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Final

from infra.restoring.partition import PartitionRestore, PartitionResult
from infra.restoring.ports import Cluster, Workers
from infra.restoring.rerouted import RECENT_MS, OnTheWay
from topics.errors import UsageError

BEFORE: Final = frozenset({"report", "archive"})
AFTER: Final = frozenset({"meter"})


async def restore(
    partitions: Sequence[PartitionRestore], cluster: Cluster, workers: Workers, *, yes: bool, tell: Callable[[str], None] = lambda _: None
) -> list[PartitionResult]:
    """Looks at the partitions and rebuilds those that are lost; with `yes` writes them. Raises UsageError where the cluster counts anew already, and
    NotWhole where the archive is no sufficient base."""
    for each in partitions:
        await each.look()
    results = [each.result for each in partitions]
    if begun := [result for result in results if result.condition == "begun"]:
        raise UsageError(f"partition {begun[0].partition}: {begun[0].sentence}")
    lost = [each for each in partitions if each.result.condition == "lost"]
    on_the_way = OnTheWay(await asyncio.to_thread(_recent_ms, lost))
    for each in lost:
        tell(f"partition {each.result.partition}: folding {each.records} archived records")
        await each.rebuild(on_the_way)
        if yes:
            tell(f"partition {each.result.partition}: writing {each.result.windows} windows and {each.result.receipts} receipts")
            await each.write()
        each.let_go()
    missing = on_the_way.missing({each.result.partition for each in lost})
    for each in lost:
        each.result.sent_home = sum(send.partition == each.result.partition for send in missing)
    if yes and lost:
        await cluster.send(missing)
        await workers.end(BEFORE)
        for each in lost:
            await each.commit()
        await workers.end(AFTER)
    return results


def _recent_ms(lost: Sequence[PartitionRestore]) -> int:
    """From when on re-routed events are looked for: an hour before the first archive ends."""
    return min((each.last_ms() for each in lost), default=0) - RECENT_MS
