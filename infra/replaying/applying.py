"""`tidemark replay --apply`: a correction in the log for each window in which the running total differs.

One effect a window: a `tidemark.amend` record of kind `correct` on the customer's home, which says what the log adds up to at the window's
revision. Where the window has moved on by the time the meter reads it, it is refused, and the next replay finds what is left. It adds nothing to
what the log adds up to, so a replay, a recount or a restore after it come to the same total, and running it twice corrects once.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from infra.amending.drafts import Draft, rebuild
from infra.replaying.compare import Line
from infra.replaying.run import PartitionReplay
from streams.rows import split_revision
from topics.errors import TidemarkError


class NoBase(TidemarkError):
    """The archive's copy of the log is not what was counted, so its totals correct nothing."""


class Correction(NamedTuple):
    """One line and what can be done about it: a draft, or a sentence that says why not."""

    line: Line
    draft: Draft | None
    sentence: str


def corrections(found: Sequence[PartitionReplay], reason: str, who: str) -> list[Correction]:
    """What `--apply` would publish. Raises NoBase where a partition's copy is not whole."""
    if wrong := [sentence for result in found for sentence in result.wrong]:
        raise NoBase(f"{wrong[0]}. It is the archive that lacks something: `tidemark audit` names the records; nothing may be corrected by it")
    return [_correction(line, reason, who) for result in found for line in result.lines]


def _correction(line: Line, reason: str, who: str) -> Correction:
    if line.is_final:
        return Correction(line, None, "the window is final: bill or credit the difference by hand (`tidemark adjustments` shows what is open)")
    replayed, running = line.replayed, line.running
    if replayed is None or running is None or (replayed.rev, replayed.events) != (running.rev, running.events):
        return Correction(line, None, "not the same events are counted, so one sum cannot be put in the place of the other: see `tidemark audit`")
    draft = rebuild(line.window, replayed.scaled, replayed.hash, split_revision(replayed.rev), reason, who)
    return Correction(line, draft, "")
