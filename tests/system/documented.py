"""Which documented commands do not run on the shared stack, each with why, and the test that runs it instead.

A new command of a document or a help text runs on the shared stack by itself (`test_documented.py`). Where it must not, because it would change
what other tests count, or needs what is not there, it gets a line here. The longest beginning that fits a command decides.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple


class Elsewhere(NamedTuple):
    """Why a command is not run on the shared stack, and `file::function` below `tests/` of the test that runs it or its like."""

    why: str
    test: str


ANOTHER_STACK = "it starts or ends a stack"
WAITS = "it runs until it is ended"
SENDS = "it sends usage, and the shared stack's is counted by an oracle"
CHANGES = "it changes totals or deliveries that other tests compare"

ELSEWHERE: Final[dict[str, Elsewhere]] = {
    "up": Elsewhere(ANOTHER_STACK, "system/test_stack_supervisor.py::test_everything_runs_when_up_returns_and_nothing_after_down"),
    "down": Elsewhere(ANOTHER_STACK, "system/test_stack_supervisor.py::test_everything_runs_when_up_returns_and_nothing_after_down"),
    "demo": Elsewhere(ANOTHER_STACK, "system/test_demo.py::test_the_demo_convinces"),
    "worker meter --take-out": Elsewhere(CHANGES, "system/test_exactness.py::test_workers_join_die_and_leave"),
    "worker": Elsewhere(WAITS, "system/test_stack_supervisor.py::test_everything_runs_when_up_returns_and_nothing_after_down"),
    "serve webhooks": Elsewhere(WAITS, "system/test_webhooks.py::test_a_subscription_lives_and_ends_by_webhooks"),
    "serve": Elsewhere(WAITS, "system/test_webhooks.py::test_a_subscription_lives_and_ends_by_webhooks"),
    "sandbox --port": Elsewhere(WAITS, "system/test_stack_supervisor.py::test_everything_runs_when_up_returns_and_nothing_after_down"),
    "sandbox --fault": Elsewhere(WAITS, "contract/test_sandbox_wire.py"),
    "send": Elsewhere(SENDS, "system/test_files.py::test_files_count_as_their_lines"),
    "migrate --analyst": Elsewhere("the embedded engine has no users", "core/test_analyst_access.py::test_only_views_are_granted"),
    "settle --close": Elsewhere(CHANGES, "system/test_demo.py::test_the_demo_convinces"),
    "flush": Elsewhere(CHANGES, "hazards/test_h32_plan_changes_are_billed.py"),
    "clock": Elsewhere("it needs a customer on a test clock", "system/test_webhooks.py::test_a_test_clock_is_followed"),
    "release": Elsewhere(CHANGES, "core/test_report_receipts.py"),
    "adopt --partition": Elsewhere("it needs a recreated log", "system/test_adopt.py::test_a_recreated_log_is_adopted_and_counts_only_what_is_new"),
    "explain --invoice-line": Elsewhere("it needs an invoice of that name", "system/test_demo.py::test_the_demo_convinces"),
    "stripe setup": Elsewhere("it binds customers of the file", "system/test_two_stacks.py::test_setup_and_sync_make_who_is_billed"),
    "stripe sync": Elsewhere("it binds whoever is subscribed", "system/test_two_stacks.py::test_setup_and_sync_make_who_is_billed"),
    "stripe compare": Elsewhere("it needs two billing modes side by side", "contract/test_stripe_compare.py"),
    "amend void": Elsewhere(CHANGES, "system/test_audit.py::test_an_amended_event_is_set_again_at_the_provider"),
    "amend set": Elsewhere(CHANGES, "system/test_audit.py::test_an_amended_event_is_set_again_at_the_provider"),
    "adjustments settle": Elsewhere("it needs an adjustment", "system/test_adjustments.py::test_what_comes_after_the_last_invoice"),
    "replay": Elsewhere("it folds a month of every partition again", "core/test_replay.py"),
    "restore": Elsewhere("it needs a Kafka that was lost", "system/test_restore.py::test_a_lost_kafka_is_built_again_from_the_archive"),
    "serve reconcile": Elsewhere(WAITS, "system/test_exactness_audited.py::test_the_stack_reconciles_by_itself"),
    "reconcile --repair --apply": Elsewhere(
        CHANGES, "system/test_reconcile_repair.py::test_drift_at_stripe_and_in_the_archive_is_repaired_through_the_log"
    ),
}  # fmt: skip

FINDS: Final[dict[str, tuple[int, ...]]] = {
    "check": (0, 1),  # the shared stack's file names periods, which `check` complains of
    "release": (0, 1),
    "dead-letters fix": (0, 1),
    "dead-letters replay": (0, 1),
    "stripe": (0, 1),
    "audit": (0, 1),  # what a test before it planted may still be there
    "explain": (0, 1),
    "reconcile": (0, 1),
}
"""Exit codes that a command may end with beside its usual 0: 1 says that it found something."""


def rule(words: Sequence[str], rules: dict[str, object]) -> str | None:
    """The longest beginning of `rules` that fits."""
    text = " ".join(words) + " "
    fitting = [start for start in rules if text.startswith(start + " ")]
    return max(fitting, key=len) if fitting else None
