"""Guards of laws 12 to 15 and 17: what a cell is, in which order things are said to the provider, what an answer means."""

from __future__ import annotations

from typing import Final

from tests.hazards.edits import Edit
from tests.hazards.mutation import Mutation, without

CELL, RECEIPTS, CALLS, OUTCOMES, LOG = "sinks.cell_state", "sinks.receipts", "sinks.calls", "sinks.outcomes", "sinks.stripe.receipt_log"
KEYS, COVERAGE, PLACING = "sinks.keys", "sinks.coverage", "sinks.placing"

LAW_12: Final = (
    without(
        "shared-cell-overwritten", "12", "windows that share a cell are summed",
        f"{CELL}:CellState._units", "total_of(part.quantity for part in self.wanted.values())",
        "total_of(part.quantity for part in list(self.wanted.values())[-1:])", "H30",
    ),
    without(
        "second-of-the-period-start", "12", "a cell's second is after the period's start, as Stripe wants it",
        "sinks.cells:cell_of", "timestamp_s = max(window.start_s, period_start_s + 1)", "timestamp_s = window.start_s", "H30",
    ),
    without(
        "before-the-period-is-billed", "12", "a window that ends before its item is billed is parked",
        "sinks.cells:cell_of", "if window.end_s <= period_start_s:", "if False:", "H30",
    ),
    without(
        "two-owners-of-a-cell", "12", "a cell that belongs to another customer or period takes no window",
        f"{PLACING}:Placing._place", "elif cell.place.owner != place.owner:", "elif False:", "H30",
    ),
    without(
        "keys-without-their-cell", "12, 14", "a key names its cell",
        f"{KEYS}:idempotency_key", "encode([account, provider, cell, revision,", "encode([account, provider, revision,", "H17",
    ),
)  # fmt: skip

LAW_13: Final = (
    Mutation(
        "no-resolve-first", "13", "an open intent is driven to a definite answer before a higher one is written",
        (
            Edit(f"{CELL}:CellState.needs", 'if self.receipt is not None and self.receipt.state == "intent":',
                 'if self.receipt is not None and self.receipt.state == "intent" and not self.dirty:'),
            Edit(f"{CELL}:CellState.compose", 'if self.receipt is not None and self.receipt.state == "intent":',
                 'if self.receipt is not None and self.receipt.state == "intent" and not self.dirty:'),
        ), ("H22 storm", "H22", "H27"),
    ),
    without(
        "no-60-seconds", "13", "a call starts only within 60 s of its intent's commit",
        f"{CALLS}:not_after_ms", "return min(committed_at_ms + CALL_WITHIN_MS, intent.intent_at_ms + UNKNOWN_AFTER_MS)",
        "return committed_at_ms + 365 * 86_400_000", "H22",
    ),
    without(
        "no-clock-at-the-socket", "13", "the clock is looked at again when the connection stands",
        "sinks.stripe.app_calls:Caller.report", "lambda: self._now_ms() <= call.not_after_ms", "lambda: True", "H22 socket",
    ),
    Mutation(
        "unknown-sent-blindly", "13", "after 23 hours an intent is read back, never sent again",
        (
            Edit(f"{CALLS}:is_old", "return now_ms >= intent.intent_at_ms + UNKNOWN_AFTER_MS", "return False"),
            Edit(f"{CALLS}:not_after_ms", "min(committed_at_ms + CALL_WITHIN_MS, intent.intent_at_ms + UNKNOWN_AFTER_MS)",
                 "committed_at_ms + CALL_WITHIN_MS"),
        ), ("H22 storm",),
    ),
    without(
        "read-back-too-soon", "13", "what stands is read back only when nothing of the intent can be under way any more",
        f"{CALLS}:readable_at_ms", "return intent.intent_at_ms + UNKNOWN_AFTER_MS + QUIET_MS", "return intent.intent_at_ms", "H22 doubt",
    ),
    without(
        "offset-before-its-receipt", "13", "an offset of usage.windows is committable once the receipts hold its revision",
        f"{COVERAGE}:Coverage.committable", "return self._heap[0] if self._heap else self.next_offset", "return self.next_offset", "H23",
    ),
    without(
        "lower-revision-covers", "13", "only the same or a higher revision in the receipts covers an offset",
        f"{COVERAGE}:Coverage.cover", "if held <= revision:", "if True:", "H23",
    ),
    without(
        "parked-not-recorded", "13", "a window without a cell is a record before its offset passes",
        f"{PLACING}:Placing._park", "self._schedule.record(parked)", "self.coverage.cover(parked.key, parked.part.revision)", "H23",
    ),
    without(
        "older-total-wins", "13", "a cell holds the highest revision of each window, whatever comes later",
        f"{PLACING}:Placing._want", "if known is None or part.revision > known.revision:", "if True:", "H23",
    ),
    without(
        "replayed-total-wins", "13", "a revision that the receipts already hold, or a higher one, changes nothing",
        f"{RECEIPTS}:Deliveries.total", "elif cell is not None and part.revision > _durable(cell, key):", "elif cell is not None:",
        "H23", "H22 storm",
    ),
    without(
        "retry-with-a-new-key", "13, 14", "a call without a definite answer is repeated with its own key and bytes",
        f"{RECEIPTS}:Deliveries.answered", "elif isinstance(outcome, RetryAfter) and not outcome.spent:", "elif False:", "H22 storm",
    ),
    without(
        "forgets-what-may-stand", "13", "units of an attempt without a definite end are remembered as possibly standing",
        f"{CELL}:CellState.answered", "maybe = (*maybe, intent.units)", "pass", "H22 doubt",
    ),
    without(
        "writer-without-a-fence", "13", "the writer's transactional id names the partition, so a successor fences a paused worker",
        f"{LOG}:ReceiptLog.open", 'transactional_id=f"tidemark-report-{self._partition}"',
        'transactional_id=f"tidemark-report-{self._partition}-{id(self)}"', "H23 log",
    ),
    without(
        "reads-before-it-fences", "13", "receipts are read after the worker before is fenced",
        f"{LOG}:ReceiptLog.open",
        "await self._producer.start()\n        # 2. Read to the end; a crash after it changes nothing.\n"
        "        receipts = await self._read_receipts()",
        "receipts = await self._read_receipts()\n        await self._producer.start()", "H23 log",
    ),
    without(
        "receipts-read-uncommitted", "13", "receipts are read committed",
        f"{LOG}:ReceiptLog._consumer", '"read_committed"', '"read_uncommitted"', "H23 log",
    ),
    without(
        "first-receipt-wins", "13", "of a key's receipts the last one stands",
        f"{LOG}:ReceiptLog._read_receipts", "last[record.key] = record if record.value is not None else None",
        "last.setdefault(record.key, record if record.value is not None else None)", "H23 log",
    ),
    without(
        "receipts-not-read-to-the-end", "13", "receipts are read until the position reaches the end",
        f"{LOG}:ReceiptLog._read_to_end", "while await consumer.position(tp) < end:",
        "while not found and await consumer.position(tp) < end:", "H23 log",
    ),
    without(
        "receipts-by-their-own-key", "topics", "receipts lie on their customer's home partition",
        f"{LOG}:ReceiptLog.write", "key=key, partition=self._partition)",
        "key=key, partition=__import__('topics.home', fromlist=['x']).home_of(key, 4))", "H27 places",
    ),
    without(
        "windows-by-their-own-key", "topics", "totals lie on their customer's home partition",
        "streams.durability:build_emission", "Send(WINDOWS, state.partition, window_key(row.window).encode(),",
        "Send(WINDOWS, __import__('topics.home', fromlist=['x']).home_of(window_key(row.window).encode(), 4), window_key(row.window).encode(),",
        "H27 places",
    ),
)  # fmt: skip

LAW_14: Final = (
    without(
        "key-without-attempt", "14", "a key names its attempt",
        f"{KEYS}:idempotency_key", "str(units), attempt]", "str(units)]", "H24",
    ),
    without(
        "key-without-revision", "14", "a key names its revision",
        f"{KEYS}:idempotency_key", "cell, revision, str(units)", "cell, str(units)", "H24",
    ),
    Mutation(
        "key-of-the-cell-alone", "14", "one key never names two bodies",
        (Edit(f"{KEYS}:idempotency_key", "cell, revision, str(units), attempt]", "cell]"),), ("H24",),
    ),
    without(
        "asserted-under-a-new-key", "13, 14", "an intent that is written again keeps its key and bytes",
        f"{CELL}:CellState.compose", 'if self.receipt is not None and self.receipt.state == "intent":\n        return self.receipt',
        'if self.receipt is not None and self.receipt.state == "intent":\n'
        "        return msgspec.structs.replace(self.receipt, idempotency_key=f'{self.receipt.idempotency_key}{now_ms}')", "H22", "H22 storm",
    ),
    without(
        "attempt-never-rises", "14", "the attempt rises after a spent key",
        f"{CELL}:CellState._fresh", "attempt = last.attempt + 1 if last is not None and again else 1", "attempt = 1", "H24",
    ),
)  # fmt: skip

LAW_15: Final = (
    without(
        "saved-failure-is-retried", "15", "a replayed 500 has spent its key",
        f"{OUTCOMES}:outcome_of", "spent=replayed, down=True", "spent=False, down=True", "H24",
    ),
    without(
        "any-500-spends-its-key", "15", "a 500 that is not a replay says nothing about its effect",
        f"{OUTCOMES}:outcome_of", "spent=replayed, down=True, may_stand=True", "spent=True, down=True, may_stand=False", "H22 storm", "H24",
    ),
    without(
        "no-answer-is-a-refusal", "15", "no answer is no refusal: the same request is sent again",
        f"{OUTCOMES}:outcome_of", "if answer.status is None:",
        'if answer.status is None and answer.sent:\n        return Refused(reason="no_answer")\n    if answer.status is None:', "H22 storm", "H22",
    ),
    without(
        "any-200-is-believed", "15", "a 200 counts only with the item, second and quantity that were sent",
        f"{OUTCOMES}:_accepted", 'if record.object != "usage_record" or got != wanted:', "if False:", "H24",
    ),
)  # fmt: skip

LAW_17: Final = (
    without(
        "fractions-are-cut", "17", "a fraction is parked where the provider takes whole units, never rounded",
        "sinks.units:units_of", "if rest:", "if False:", "H30",
    ),
    Mutation(
        "negative-is-sent", "17", "a negative total is parked where the provider takes none",
        # sent_units refuses what is less than nothing beside a stray copy, and so this too: one of the two is left away in vain
        (Edit("sinks.units:units_of", "if units < 0:", "if False:"), Edit("sinks.restated:sent_units", "if parse_total(left) < 0:", "if False:")),
        ("H30",),
    ),
)  # fmt: skip

DELIVERING: Final = LAW_12 + LAW_13 + LAW_14 + LAW_15 + LAW_17
