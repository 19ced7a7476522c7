"""A failing history, told as briefly as it can be: what is not needed for the failure is left out, and the steps of the rest are printed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final, TypeVar

from tests.simulation.plan import Deed, Plan, Sent
from tests.simulation.running import history
from tests.simulation.world import Result

Part = TypeVar("Part", Deed, Sent)
MOST_TRIES: Final = 120
"""Histories that making one smaller may cost: ten seconds."""


def smallest(result: Result, say: Callable[[str], None]) -> Result:
    """The same failure with fewer events and disasters. Each candidate is a whole history of its own; one that fails otherwise counts too."""
    tries = 0

    def without(plan: Plan, parts: Sequence[Part], make: Callable[[list[Part]], Plan], best: Result) -> Result:
        nonlocal tries
        size, kept = max(1, len(parts) // 2), list(parts)
        while size and tries < MOST_TRIES:
            for at in range(0, len(kept), size):
                candidate = kept[:at] + kept[at + size :]
                tries += 1
                found = history(make(candidate)) if len(candidate) < len(kept) and tries < MOST_TRIES else None
                if found is not None and found.faults:
                    say(f"  {len(candidate)} of {len(parts)} parts are enough")
                    best, kept = found, candidate
                    break
            else:
                size //= 2
        return best

    deeds_first = without(result.plan, result.plan.deeds, lambda deeds: replace(result.plan, deeds=deeds), result)
    plan = deeds_first.plan
    return without(plan, plan.sent, lambda sent: replace(plan, sent=sent), deeds_first)


def told(result: Result) -> str:
    """The steps and what came of them."""
    plan = result.plan
    lines = [f"seed {plan.seed}: {len(plan.customers)} customers, {len(plan.sent)} records sent, {len(plan.deeds)} disasters, about {plan.focus}"]
    steps = [(one.at_s, f"sent to partition {one.partition}: {_event(one)}") for one in plan.sent] + list(result.story)
    lines += [f"{at_s:11.3f} s  {sentence}" for at_s, sentence in sorted(steps, key=lambda step: step[0])]
    lines += [f"FAULT: {fault}" for fault in result.faults] or ["every total is exact"]
    return "\n".join(lines)


def _event(one: Sent) -> str:
    age = "" if one.age_s is None else f", {one.age_s:.1f} s old"
    transaction = f", its transaction is to {one.transaction}" if one.transaction else ""
    return f"{one.value[:160].decode(errors='replace')}{age}{transaction}"
