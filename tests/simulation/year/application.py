"""What a company's own application does at Stripe, without Tidemark: prices, customers, subscriptions, and their changes of plan."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

from tests.simulation.year.shop import LEGACY, MODERN, Shop
from tests.simulation.year.subscriber import MODES, PRICES, Change, Subscriber
from topics.periods import Interval

BASE: Final = {"unit_amount": 900, "currency": "usd", "product_data": {"name": "base"}}
"""What is paid in advance, a piece."""
Cycle = tuple[Interval, int]


def version_of(meter: str) -> str:
    """The API version that makes prices and subscriptions of a meter's mode."""
    return MODERN if MODES[meter] else LEGACY


@dataclass
class Account:
    """One customer at Stripe: `item` and `base` are those of the subscription that runs, `items` all that ever were; `changed` when its plan did."""

    subscriber: Subscriber
    customer: str
    price: str
    cycle: Cycle
    anchor_s: int = 0
    subscription: str = ""
    item: str = ""
    base: str = ""
    subscriptions: list[str] = field(default_factory=list)
    items: list[str] = field(default_factory=list)
    changed: list[int] = field(default_factory=list)

    @property
    def meter(self) -> str:
        """Our meter."""
        return self.subscriber.meter


class Application:
    """All accounts of one shop, by number."""

    def __init__(self, shop: Shop) -> None:
        self.shop = shop
        self.accounts: dict[int, Account] = {}
        self.numbers: dict[str, int] = {}
        """By Stripe customer."""
        self._meters: dict[str, str] = {}
        self._prices: dict[tuple[str, str, Cycle], str] = {}

    def join(self, each: Subscriber) -> None:
        """A customer and its first subscription."""
        customer = self.shop.call("POST", "/v1/customers", {"name": "c", "metadata": {"tidemark_customer": each.name}})["id"]
        account = Account(each, customer, each.price, (each.interval, each.count))
        self.accounts[each.number], self.numbers[customer] = account, each.number
        begins = {"billing_cycle_anchor": each.anchor_s} if each.anchor_s else {"trial_period_days": each.trial_days or None}
        self._subscribe(account, begins)

    def change(self, account: Account, change: Change) -> None:
        """A change of plan, now."""
        changes: dict[str, Callable[[Account, Change], object]] = {
            "switch": self._switch,
            "replace": self._replace,
            "move": self._move,
            "cycle": self._cycle,
            "pause": lambda account, change: self._update(account, pause_collection={"behavior": change.behavior}),
            "resume": lambda account, _: self._update(account, pause_collection=""),
            "quantity": lambda account, change: self._item(account.base, quantity=change.quantity),
            "end_trial": lambda account, _: self._update(account, trial_end="now"),
            "cancel": lambda account, _: self._cancel(account),
            "cancel_at_end": lambda account, _: self._update(account, cancel_at_period_end=True),
        }
        changes[change.kind](account, change)
        account.changed.append(int(self.shop.clock.at_s))

    def _subscribe(self, account: Account, begins: dict[str, Any]) -> None:
        items = [self._metered(account)]
        if account.subscriber.base:
            items.append(self._base(account.cycle))
        asked = {"customer": account.customer, "items": [{"price": price} for price in items], **begins}
        made = self.shop.call("POST", "/v1/subscriptions", asked, version_of(account.meter))
        account.subscription, account.anchor_s = made["id"], made["billing_cycle_anchor"]
        account.subscriptions.append(made["id"])
        rows = [row["id"] for row in made["items"]["data"]]
        account.item, account.base = rows[0], rows[1] if account.subscriber.base else ""
        account.items.append(account.item)

    def _switch(self, account: Account, change: Change) -> None:
        """Another price on the same item."""
        account.price = change.price
        self._item(account.item, version_of(account.meter), price=self._metered(account))

    def _replace(self, account: Account, change: Change) -> None:
        """Another item on the same subscription."""
        account.price = change.price
        # A legacy item is deleted only with its usage records.
        clears = {} if MODES[account.meter] else {"clear_usage": True}
        asked = {"items": [{"id": account.item, "deleted": True, **clears}, {"price": self._metered(account)}]}
        made = self._update(account, **asked)
        account.item = next(row["id"] for row in made["items"]["data"] if row["id"] not in {*account.items, account.base})
        account.items.append(account.item)

    def _move(self, account: Account, change: Change) -> None:
        """Another subscription: the old one ends now and bills what was used."""
        self._cancel(account)
        account.price, account.cycle = change.price, change.cycle
        self._subscribe(account, {})

    def _cycle(self, account: Account, change: Change) -> None:
        """The same item and subscription in another interval, which begins now."""
        account.price, account.cycle = change.price, change.cycle
        items = [{"id": account.item, "price": self._metered(account)}]
        if account.base:
            items.append({"id": account.base, "price": self._base(account.cycle)})
        self._update(account, items=items)

    def _cancel(self, account: Account) -> None:
        self.shop.call("DELETE", f"/v1/subscriptions/{account.subscription}", {"invoice_now": True})

    def _update(self, account: Account, **asked: Any) -> dict[str, Any]:
        made = self.shop.call("POST", f"/v1/subscriptions/{account.subscription}", asked, version_of(account.meter))
        account.anchor_s = made["billing_cycle_anchor"]
        return made

    def _item(self, item: str, version: str = LEGACY, **asked: Any) -> None:
        self.shop.call("POST", f"/v1/subscription_items/{item}", asked, version)

    def _billing_meter(self, slug: str) -> str:
        if slug not in self._meters:
            asked = {"display_name": slug, "event_name": slug, "default_aggregation": {"formula": "sum"}}
            window = {} if MODES[slug] == "sum" else {"event_time_window": MODES[slug]}
            self._meters[slug] = self.shop.call("POST", "/v1/billing/meters", {**asked, **window}, MODERN)["id"]
        return self._meters[slug]

    def _metered(self, account: Account) -> str:
        key = (account.meter, account.price, account.cycle)
        if key not in self._prices:
            recurring = {"interval": account.cycle[0], "interval_count": account.cycle[1], "usage_type": "metered"}
            recurring |= {"meter": self._billing_meter(account.meter)} if MODES[account.meter] else {"aggregate_usage": "sum"}
            metadata = {"tidemark_meter": account.meter, "kind": account.price}
            asked = {"currency": "usd", "product_data": {"name": account.price}, "recurring": recurring, "metadata": metadata}
            self._prices[key] = self.shop.call("POST", "/v1/prices", {**asked, **PRICES[account.price]}, version_of(account.meter))["id"]
        return self._prices[key]

    def _base(self, cycle: Cycle) -> str:
        key = ("", "", cycle)
        if key not in self._prices:
            asked = {**BASE, "recurring": {"interval": cycle[0], "interval_count": cycle[1]}}
            self._prices[key] = self.shop.call("POST", "/v1/prices", asked)["id"]
        return self._prices[key]
