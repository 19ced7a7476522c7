"""What the tests of the sandbox's billing share: a sandbox, a test clock, and a customer on it."""

from __future__ import annotations

from typing import Any

from tests.contract.sandbox_driver import Driver

CLOCKS = "/v1/test_helpers/test_clocks"
START = 1_706_659_200
"""2024-01-31T00:00:00Z: the next edges are February 29 and March 31."""
FEB_29, MAR_31 = 1_709_164_800, 1_711_843_200
HOUR, DAY = 3600, 86_400


class Bench:
    """A sandbox, a clock, and a customer on it."""

    def __init__(self, driver: Driver, **customer: object) -> None:
        self.driver = driver
        self.clock = driver.made(CLOCKS, {"frozen_time": START})["id"]
        self.customer = driver.made("/v1/customers", {"test_clock": self.clock, **customer})["id"]

    def subscribe(self, price: str, **more: object) -> tuple[str, str]:
        """(subscription, first item) on a price."""
        made = self.driver.made("/v1/subscriptions", {"customer": self.customer, "items[0][price]": price, **more})
        return made["id"], made["items"]["data"][0]["id"]

    def advance(self, to: int) -> None:
        """Moves the clock, and waits until it is there."""
        self.driver.made(f"{CLOCKS}/{self.clock}/advance", {"frozen_time": to})
        assert self.driver.get(f"{CLOCKS}/{self.clock}").json["frozen_time"] == to

    def invoices(self, **version: str) -> list[Any]:
        """The customer's invoices, oldest first."""
        return list(self.driver.get("/v1/invoices", {"customer": self.customer, "limit": 100}, **version).json["data"][::-1])

    def status(self, subscription: str) -> str:
        """A subscription's status."""
        return str(self.driver.get(f"/v1/subscriptions/{subscription}").json["status"])

    def post(self, path: str, **params: object) -> Any:
        """A POST that is taken; the answer."""
        return self.driver.made(path, params)

    def newest(self) -> Any:
        """The newest invoice."""
        return self.invoices()[-1]

    def lines(self, number: int = -1) -> list[tuple[int, int]]:
        """(quantity, amount) of an invoice's lines."""
        return [(line["quantity"], line["amount"]) for line in self.invoices()[number]["lines"]["data"]]

    def events(self) -> list[str]:
        """Types of all events, oldest first."""
        return [row[0] for row in self.driver.store.run("SELECT type FROM happened ORDER BY seq")]


def licensed(driver: Driver, **more: object) -> str:
    """The id of a monthly price of 30 dollars paid in advance."""
    params = {"currency": "usd", "unit_amount": 3000, "product_data[name]": "seat", "recurring[interval]": "month", **more}
    return str(driver.made("/v1/prices", params)["id"])
