"""Guards of corrections: which amendment acts, what it adds to a row, what the meter remembers of it (laws 2, 3, 5, 7, 10)."""

from __future__ import annotations

from typing import Final

from tests.hazards.mutation import Mutation, without

AMENDING: Final = "streams.amending"

AMENDED: Final[tuple[Mutation, ...]] = (
    without(
        "amended-twice-at-once", "2", "an amendment names the one of the same event that it replaces; of two at once, one acts",
        f"{AMENDING}:_stale", "if held != reading.record.replaces:", "if False:", "H38",
    ),
    without(
        "stale-correction-acts", "3", "a correction acts only on the revision of the window that it was computed from",
        f"{AMENDING}:_unpostable", "if held != (entry.generation, entry.through_offset):", "if False:", "H38",
    ),
    without(
        "final-windows-are-amended", "10", "a window that no event can change is changed by no amendment",
        f"{AMENDING}:fold_amendment", "if is_final(state, posting.window):", "if False:", "H38",
    ),
    without(
        "final-is-what-was-let-go", "0", "whether an amendment acts hangs on the log alone, not on which rows were let go by then",
        f"{AMENDING}:is_final", "if window.end_s <= final_s:", "if window.end_s <= state.retired.until_s:", "H38",
    ),
    without(
        "amended-below-zero", "11", "a meter that takes no negative quantities holds no negative total",
        f"{AMENDING}:_unpostable", "if total < 0 and not meter.allow_negative:", "if False:", "H38",
    ),
    without(
        "amended-without-a-fence", "2", "an amendment is the newest thing in its row: its offset is the row's revision",
        f"{AMENDING}:take_amendment", "row.rev = revision(state.generation, amendment.offset)", "pass", "H38",
    ),
    without(
        "amendment-is-no-posting", "7", "postings counted equal the events of all rows, amendments too",
        f"{AMENDING}:take_amendment", "state.counters.postings += len(rows)", "pass", "H38",
    ),
    without(
        "amended-rows-are-not-written", "5", "a row that an amendment changed is durable before its offset may be committed",
        "streams.step:_amend", "changed.append(", "(lambda _: None)(", "H38",
    ),
    without(
        "amendments-are-not-recovered", "4", "what is in force of each event comes back from the changelog after a crash",
        "streams.recovery:_apply", "state.amended.learn(definition)", "pass", "H38",
    ),
    without(
        "begun-in-the-future", "0", "a correction begins no window where no event can lie yet: a later meter or binding would cut it",
        f"{AMENDING}:_unbeginnable", "if reading.time_us >= state.definitions.ahead_us(window.customer, state.clocks.ahead_until_us):",
        "if False:", "H38",
    ),
    without(
        "archived-without-its-postings", "19", "an amendment's raw row carries what it adds, so that whatever adds up rows is right",
        "sinks.clickhouse.rows:_corrected", "return () if isinstance(reading, str) else reading.postings", "return ()", "H38",
    ),
)  # fmt: skip
