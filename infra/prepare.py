"""What an embedded stack needs before its workers start: called by the supervisor once Kafka, the engine and the sandbox answer.

Numbered effects, each idempotent, so that a crash anywhere is repaired by the next `up`: 1 topics; 2 the archive's schema; 3 meters as the
first record of every partition (law 0: a partition that does not begin with a meters record halts). Where Kafka's data is lost and the archive
still has it, 3 is left out: the stack comes up, counts nothing, and `tidemark restore` can work on it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from infra.applying import apply_topics, migrate_settings, publish_meters
from infra.restoring.guard import lost_partitions
from infra.settings import load_settings
from infra.target import stack_tree

if TYPE_CHECKING:
    from infra.embedded.state import StackState


def prepare(state: StackState) -> None:
    """Makes the servers of a stack ready for its workers. Blocks; raises TidemarkError in one sentence.

    Answers are not waited for: the workers are not up yet. `up` asks for them afterwards.
    """
    settings = load_settings(state.config, stack=stack_tree(state.document()))
    apply_topics(settings)
    migrate_settings(settings)
    if not lost_partitions(settings):
        publish_meters(settings)
