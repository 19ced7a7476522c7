"""Guards of laws 12 to 15 and 17 at meters: cells of an hour, events that stay the same event, what a 200 is worth, the ledger of a period."""

from __future__ import annotations

from typing import Final

from tests.hazards.edits import Edit
from tests.hazards.mutation import Mutation, without

EVENTS, OUTCOMES, LEDGER, CELLS = "sinks.meter_events", "sinks.outcomes", "sinks.ledger", "sinks.cells"

EVENT: Final = (
    without(
        "sum-goes-on-in-doubt", "13, 14", "where a meter adds up, an event that may stand is settled before another is sent",
        f"{EVENTS}:repeats", "return last.meter_target is not None", "return False and last.meter_target is not None", "H24 storm",
    ),
    without(
        "taken-identifier-is-a-refusal", "15", "an identifier of ours that is taken means that the event has landed",
        f"{OUTCOMES}:_event_refused", "if EVENT_TAKEN in error.message and wanted.identifier in error.message:", "if False:", "H24 event",
    ),
    without(
        "any-event-is-believed", "15", "a 200 counts only with the event that was sent",
        f"{OUTCOMES}:_event_accepted", 'if event.object != "billing.meter_event" or got != wanted:', "if False:", "H24 event",
    ),
    without(
        "identifier-without-revision", "14", "an event's identifier names its revision",
        "sinks.keys:meter_identifier", "cell, revision, units]", "cell, units]", "H24 event",
    ),
    without(
        "lost-event-keeps-its-identifier", "14", "an event that was accepted and does not count is sent again under another identifier",
        f"{EVENTS}:is_new_event", "return last.meter_target is not None", "return False and last.meter_target is not None", "H29",
    ),
    without(
        "accepted-is-final", "15", "what was accepted is looked for in the meter's usage",
        "sinks.confirming:Confirming.note", "if receipt is None or receipt.meter_target is None or not receipt.unconfirmed:", "if True:", "H29",
    ),
    without(
        "errors-are-not-heard", "15", "an error that the provider reports later comes back to its cell",
        "sinks.receipts:Deliveries._take_back", "if error is None or", "if True or", "H29",
    ),
    without(
        "refused-events-stand", "15", "an event that does not count is taken off what stands",
        f"{EVENTS}:taken_back", "if standing is not None:", "if False:", "H29",
    ),
)  # fmt: skip

CELL: Final = (
    without(
        "window-longer-than-its-hour", "12", "a window that does not fit into the meter's hour has no cell",
        f"{CELLS}:_meter_cell", "if window.end_s > start_s + length_s:", "if False:", "H25",
    ),
    without(
        "second-before-the-period", "12", "an hour's second lies in its billing period",
        f"{CELLS}:_meter_cell", "timestamp_s=max(start_s, period_start_s)", "timestamp_s=start_s", "H25",
    ),
    without(
        "two-periods-in-an-hour", "12", "a second period, or meter, takes no hour that is taken",
        "sinks.placing:Placing._place", "elif cell.place.owner != place.owner:", "elif False:", "H25",
    ),
)  # fmt: skip

LAW_17: Final = (
    without(
        "remainder-carried", "17", "a delivery looks at all other cells of its period, not only at those before it",
        f"{LEDGER}:Ledger.others", "return group.exact - exact, group.units - units",
        "earlier = [held for each, held in group.held.items() if each.place.timestamp_s < cell.place.timestamp_s]\n"
        "    return sum(each[0] for each in earlier), sum(each[1] for each in earlier)", "H26",
    ),
    without(
        "two-of-a-period-under-way", "17", "one cell of a period is under way at a time",
        f"{LEDGER}:Ledger.begins", "if group.busy - {cell}:", "if False:", "H26",
    ),
    without(
        "left-uneven", "17", "what a cell cannot take back below 0 is taken off another one",
        f"{LEDGER}:Ledger.note", "return free + self._to_even_out(group)", "return free", "H26",
    ),
    Mutation(
        "each-window-is-cut", "17", "parts of a unit are kept over the windows of a period",
        (Edit(f"{LEDGER}:Ledger.others", "return group.exact - exact, group.units - units", "return 0, 0"),), ("H26",),
    ),
)  # fmt: skip

METERS: Final = EVENT + CELL + LAW_17
