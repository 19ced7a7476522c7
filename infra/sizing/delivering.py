"""Whether deliveries keep up with what closes, and with the end of a billing period. Pure."""

from __future__ import annotations

from infra.sizing.figure import Figure
from infra.sizing.load import Load
from infra.sizing.state import State


def deliveries(load: Load, state: State) -> tuple[list[Figure], list[str]]:
    """Calls a second against the limit, how long a window's calls take, and how long those of a period's edge."""
    wanted_per_s = state.revisions_per_s
    drain_s = state.cells / load.calls_per_s
    edge_s = state.cells * load.together / load.calls_per_s
    parts = f"cells ÷ --window ({state.closings_per_s:,.1f}) + late ({state.late_per_s:,.1f})"
    figures = [
        Figure("calls", wanted_per_s, "calls/s", f"a call for each revision of a cell: {parts}"),
        Figure("calls_limit", load.calls_per_s, "calls/s", "[stripe] calls_per_second, or meter_calls_per_second, of all report workers together"),
        Figure("window_drain", drain_s, "s", "cells of one window ÷ the limit: when the last one is delivered after closing"),
        Figure("edge_drain", edge_s, "s", f"the same for those whose periods end --together; --edge-room is {load.edge_room_s:,.0f} s"),
    ]
    misfits = []
    if wanted_per_s > load.calls_per_s:
        compared = f"{wanted_per_s:,.1f} calls a second are wanted, {load.calls_per_s:g} are allowed"
        misfits.append(f"deliveries cannot keep up: {compared}. {_remedy(load, state)}")
    if edge_s > load.edge_room_s:
        calls = f"the last window's {state.cells * load.together:,.0f} calls take {edge_s:,.0f} s"
        misfits.append(
            f"when {load.together:.0%} of the periods end together, {calls} and have {load.edge_room_s:,.0f} s: "
            "what comes later becomes an adjustment. Spread the customers' billing anchors, or raise the limit"
        )
    return figures, misfits


def _remedy(load: Load, state: State) -> str:
    room_per_s = load.calls_per_s - state.late_per_s
    if room_per_s <= 0:
        return f"Late events alone want {state.late_per_s:,.1f}: raise the meters' grace, or timing.revision_delay, or ask the provider for more"
    hours = state.cells / room_per_s / 3600
    if hours > 24:
        return "Windows of a day would be too short still: ask the provider for a higher limit, or share the customers out over several accounts"
    return f"Use windows of {hours:,.2f} h or longer, or ask the provider for a higher limit"
