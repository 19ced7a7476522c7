"""Handler of event summaries: what a customer used by a meter, in a range, in one piece or by hours or days."""

from __future__ import annotations

import hashlib

from infra.sandbox import errors, meter_judging, meter_usage, meter_values, shapes
from infra.sandbox.call import Call, Json
from infra.sandbox.meters import KIND
from infra.sandbox.paging import cursor, cut
from topics import quantity

MINUTE_S = 60


def list_summaries(call: Call) -> Json:
    """GET /v1/billing/meters/{id}/event_summaries: eventually consistent, as events are counted after their 200"""
    meter = call.addressed(KIND)
    customer = call.the("customer", call.params["customer"], param="customer")
    _check_range(call)
    meter_judging.settle(call.store, call.knobs, call.now_s)
    summaries = _summaries(call, meter, customer["id"])
    at, backwards = cursor(call)
    place = None
    if at is not None:
        place = next((n for n, each in enumerate(summaries) if each["id"] == at), None)
        if place is None:
            raise errors.no_such("billing_meter_event_summary", at, param="ending_before" if backwards else "starting_after", in_url=False)
    if backwards:
        rows = summaries[:place][::-1]
    else:
        rows = summaries if place is None else summaries[place + 1 :]
    data, has_more = cut(rows, call, backwards=backwards)
    return shapes.page(call.url, data, has_more=has_more)


def _check_range(call: Call) -> None:
    """Ends on whole minutes, hours or days, in order."""
    window = call.params.get("value_grouping_window")
    unit_s = MINUTE_S if window is None else meter_values.WINDOW_S[window]
    for name in ("start_time", "end_time"):
        if call.params[name] % unit_s:
            message = f"`{name}` must be aligned with {window or 'minute'} boundaries (UTC)."
            raise errors.refused(message, rule="meter_summaries.aligned", param=name)
    if call.params["start_time"] >= call.params["end_time"]:
        raise errors.refused("`start_time` must be before `end_time`.", rule="meter_summaries.range", param="start_time")


def _summaries(call: Call, meter: Json, customer_id: str) -> list[Json]:
    start_s, end_s = call.params["start_time"], call.params["end_time"]
    window, formula = meter["event_time_window"], meter["default_aggregation"]["formula"]
    received = meter_usage.usages(call.store, meter["id"], customer_id, *meter_values.bounds(window, start_s, end_s))
    inside = [usage for usage in meter_values.standing(window, received) if start_s <= usage.second < end_s]
    grouping = call.params.get("value_grouping_window")
    if grouping is None:
        return [_summary(meter["id"], customer_id, start_s, end_s, meter_values.folded(formula, inside))]
    length_s = meter_values.WINDOW_S[grouping]
    groups: dict[int, list[meter_values.Usage]] = {first: [] for first in range(start_s, end_s, length_s)} if call.knobs.summaries_empty else {}
    for usage in inside:
        groups.setdefault(usage.second - usage.second % length_s, []).append(usage)
    firsts = sorted(groups, reverse=call.knobs.summaries_newest_first)
    return [_summary(meter["id"], customer_id, first, first + length_s, meter_values.folded(formula, groups[first])) for first in firsts]


def _summary(meter_id: str, customer_id: str, start_s: int, end_s: int, scaled: int) -> Json:
    """One summary. It does not name its customer, and its value is a JSON number: exact only as far as a double is."""
    whole, fraction = divmod(scaled, quantity.ONE)
    return {
        "id": "mtrusg_test_1" + hashlib.sha256(f"{meter_id}/{customer_id}/{start_s}/{end_s}".encode()).hexdigest()[:23],
        "object": "billing.meter_event_summary",
        "aggregated_value": scaled / quantity.ONE if fraction else whole,
        "end_time": end_s,
        "livemode": False,
        "meter": meter_id,
        "start_time": start_s,
    }
