"""Guards of a restore: what is built, in which order, and what of the old log is still older than the new one (laws 2, 3, 13)."""

from __future__ import annotations

from typing import Final

from tests.hazards.mutation import Mutation, without

PARTITION: Final = "infra.restoring.partition:PartitionRestore"

RESTORED: Final[tuple[Mutation, ...]] = (
    without(
        "restored-without-receipts", "13", "what was delivered is restored with the state that would deliver it again",
        f"{PARTITION}.write", "await self._write_receipts()", "pass", "H39",
    ),
    without(
        "report-knows-nothing-yet", "13", "the report reads the restored receipts before any partition is valid",
        "infra.restoring.run:restore", "await workers.end(BEFORE)", "pass", "H39",
    ),
    without(
        "receipts-are-not-asked", "3", "what a receipt holds is not emitted again",
        "streams.rebuild:_note", "min(held.get(row.window, NEVER), row.rev)", "NEVER", "H39",
    ),
    without(
        "restored-below-what-was-delivered", "3", "the restored log's generation is above every one that a total names",
        f"{PARTITION}._rebuilt", "max(end.generation, archive.newest_generation()) + 1", "end.generation + 1", "H39",
    ),
    without(
        "offsets-of-two-logs", "3", "a control record of a later log is newer than those of the logs before it",
        "streams.step:_fold", "position(state.generation, offset)", "offset", "H39",
    ),
    without(
        "any-archive-is-a-base", "2", "the archived log is held against the meter's own counters before anything is built from it",
        f"{PARTITION}._fold", "if wrong:", "if False:", "H39 damage",
    ),
)  # fmt: skip
