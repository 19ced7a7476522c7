"""The URLs of billing's own resources: test clocks, invoices, invoice items, credit notes."""

from __future__ import annotations

from infra.sandbox import clocks, specs, specs_billing
from infra.sandbox.endpoint import Endpoint, Key, crud

BILLING: dict[Key, Endpoint] = {
    **crud(
        "test_clocks",
        [
            ("POST", "create", specs_billing.CLOCK_CREATE, clocks.create_clock),
            ("GET", "list", specs_billing.CLOCK_LIST, clocks.list_clocks),
            ("GET", "retrieve", specs.RETRIEVE, clocks.retrieve_clock),
            ("DELETE", "delete", specs.NOTHING, clocks.delete_clock),
        ],
        under="test_helpers/",
    ),
    ("POST", "test_helpers/test_clocks", 3, "advance"): Endpoint(
        "POST", "test_clocks", "advance", specs_billing.CLOCK_ADVANCE, clocks.advance_clock
    ),
}
