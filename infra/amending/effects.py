"""What an amendment would do: each window before and after it, and what that means at the provider. Reads; changes nothing."""

from __future__ import annotations

from typing import Any, NamedTuple

from infra.amending.drafts import Draft
from infra.amending.finding import Reader
from sinks.clickhouse.bounds import scaled_of
from sinks.clickhouse.span import query, shown
from topics.definitions import Definitions
from topics.instants import US_PER_MS, US_PER_S, format_s, parse_s
from topics.quantity import format_scaled, parse
from topics.windows import Window


class Effect(NamedTuple):
    """One window. `before` is what is counted now, whether a revision covers it or not; quantities × 10¹². `means` is for people."""

    window: Window
    before_scaled: int
    after_scaled: int
    state: str
    is_final: bool
    means: str

    def document(self) -> dict[str, Any]:
        """For a program."""
        return {
            "meter": self.window.meter,
            "start": format_s(self.window.start_s),
            "end": format_s(self.window.end_s),
            "before": format_scaled(self.before_scaled),
            "after": format_scaled(self.after_scaled),
            "difference": format_scaled(self.after_scaled - self.before_scaled),
            "state": self.state,
            "final": self.is_final,
            "means": self.means,
        }


def effects(reader: Reader, draft: Draft, in_force: Definitions, now_ms: int) -> list[Effect]:
    """Each window that the draft posts to. `in_force` says what is final; it is the meter that decides, when it reads the record."""
    found = []
    final_us = in_force.final_us(draft.customer, (now_ms - in_force.timing.horizon_ms) * US_PER_MS)
    for entry in draft.record.postings:
        window = Window(draft.customer, entry.meter, parse_s(entry.start) or 0, parse_s(entry.end) or 0)
        asked = {"customer": draft.customer, "meter": entry.meter, "start_s": window.start_s, "end_s": window.end_s}
        rows = reader.rows(query("window_standing"), asked)
        state, reason, counted, _, _, period_end_ms = rows[0] if rows else (b"unknown", b"", 0, 0, 0, 0)
        before = scaled_of(counted) if rows else 0
        is_final = window.end_s <= final_us // US_PER_S
        means = _means(shown(state), shown(reason), is_final=is_final, is_over=0 < period_end_ms <= now_ms)
        found.append(Effect(window, before, before + parse(entry.quantity), shown(state), is_final, means))
    return found


def _means(state: str, reason: str, *, is_final: bool, is_over: bool) -> str:
    if is_final:
        return "the window is final: it will be refused; credit or bill the difference by hand (`tidemark adjustments` lists what is open)"
    if state == "open":
        return "it was not emitted yet: its first revision will hold the corrected total"
    if state == "unbound":
        return "nobody is told to bill it"
    if state == "parked":
        return f"it is parked ({reason}): the corrected total is parked in its place"
    if is_over:
        return "a new revision follows; where the invoice of its period is final, the difference becomes an adjustment (`tidemark adjustments`)"
    return "a new revision follows, and replaces what the provider holds"
