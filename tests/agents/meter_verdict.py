"""What is wrong after a life in the world of chance: the shell's outcome against the naive account."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from tests.agents.meter_world import Worker, World


def verdicts(world: World) -> dict[str, int]:
    """The naive account by the counters' names."""
    counts = dict.fromkeys(("counted", "duplicate", "rejected", "too_late", "rerouted", "control"), 0)
    for verdict in world.naive.verdicts.values():
        counts[verdict if verdict in counts else "rejected"] += 1
    return counts


def disagreements(world: World, worker: Worker) -> list[str]:
    """Everything in which the outcome differs from the naive account; nothing when all is exact."""
    faults = list(world.faults)
    if worker.meter.halted:
        return [*faults, f"halted: {worker.meter.halted}"]
    counters = worker.meter.held[0].core.counters
    counted = {name: getattr(counters, name) for name in verdicts(world)}
    if counted != verdicts(world):
        faults.append(f"counters {counted}, truth {verdicts(world)}")
    if counters.residual:
        faults.append(f"residual {counters.residual}")
    bodies: dict[tuple[str, str, int, tuple[int, int]], bytes] = {}
    newest: dict[tuple[str, str, int], dict[str, Any]] = {}
    for send in world.windows:
        total = msgspec.json.decode(send.value or b"")
        start = int((send.key or b"").decode().split("|")[2])
        row = (total["customer"], total["meter"], start)
        revision = (total["generation"], total["through_offset"])
        if bodies.setdefault((*row, revision), send.value or b"") != send.value:
            faults.append(f"{row}: revision {revision} names two totals")
        if row not in newest or revision > (newest[row]["generation"], newest[row]["through_offset"]):
            newest[row] = total
    found = {row: (total["quantity"], total["events"]) for row, total in newest.items()}
    truth = {row: (str(total), world.naive.events[row]) for row, total in world.naive.sums.items()}
    faults += [f"{row}: {found.get(row)} emitted, truth {truth.get(row)}" for row in found.keys() | truth.keys() if found.get(row) != truth.get(row)]
    return faults
