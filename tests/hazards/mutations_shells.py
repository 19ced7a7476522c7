"""Guards of the shells around the pure machines: the report's driver and the archive's worker. (The meter's are in `mutations_durable.py`.)"""

from __future__ import annotations

from typing import Final

from tests.hazards.mutation import without

REPORT, WORKER, ARCHIVE = "sinks.stripe.app_driver", "sinks.stripe.app", "sinks.clickhouse.app"

SHELLS: Final = (
    without(
        "total-before-its-definition", "13", "a total waits for the definitions that were published before it",
        f"{REPORT}:PartitionDriver.take", "await self._definitions_before(batch)", "pass", "H23 driver",
    ),
    without(
        "pending-totals-forgotten", "13", "totals that no receipt covers go along when the partition is built anew from the receipts",
        f"{REPORT}:PartitionDriver._again", "machine.total(total, offset, closed_at_ms, self._now_ms())", "pass", "H23 driver",
    ),
    without(
        "total-of-another-assignment", "2, 13", "a batch of totals of another assignment is dropped",
        f"{REPORT}:PartitionDriver.take",
        "if batch.epoch != self.epoch or not self.is_current or self.halted is not None:\n        return\n    expected",
        "expected", "H23 driver",
    ),
    without(
        "gap-in-totals", "13", "a delivery of totals that leaves offsets out halts the partition",
        f"{REPORT}:PartitionDriver.take", "if batch.start_offset != expected:", "if False:", "H23 driver",
    ),
    without(
        "report-commits-what-it-read", "13", "the report marks what the receipts cover, not what it has read",
        f"{REPORT}:PartitionDriver._mark", "self._flow.commit(self.tp, self._machine.committable)",
        "self._flow.commit(self.tp, self._machine.coverage.next_offset)", "H23 driver",
    ),
    without(
        "report-starts-at-the-end", "5, 13", "without a committed offset the report starts at the log's beginning",
        f"{WORKER}:ReportWorker._open", "await self._flow.beginning_offset(tp)", "await self._flow.last_stable_offset(tp)", "H23 driver",
    ),
    without(
        "unsure-commit-is-done", "13", "a transaction of which it is not known whether it was committed makes everything be read again",
        f"{REPORT}:PartitionDriver._writing", "await self._log.write(write.records)",
        "try:\n            await self._log.write(write.records)\n        except Unreachable:\n            pass", "H23 driver",
    ),
    without(
        "archive-takes-a-stale-batch", "2, 18", "a batch of another assignment is not archived",
        f"{ARCHIVE}:ArchiveWorker.take",
        "if lane is None or lane.epoch != batch.epoch or self._flow.epoch(batch.tp) != batch.epoch or lane.halted is not None:",
        "if lane is None or lane.halted is not None:", "H33 moves",
    ),
    without(
        "archive-starts-where-it-committed", "5, 18", "the archive starts where its own progress ends, not where the group committed",
        f"{ARCHIVE}:ArchiveWorker._open", "return Lane(tp, epoch, start, start, skip,",
        "start = await self._flow.last_stable_offset(tp)\n    return Lane(tp, epoch, start, start, skip,", "H33",
    ),
)  # fmt: skip
