"""What the invoice gate asks of the outside: drafts at Stripe, and each partition's deliveries. Tests hand in models of both."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple, ParamSpec, Protocol, TypeVar

from sinks.gate_stands import Gated
from sinks.stripe.access import Access
from sinks.stripe.drafts import DraftInvoice, invoice_of
from sinks.stripe.refusal import StripeRefusal
from topics.batch import TopicPartition
from topics.errors import TidemarkError

P = ParamSpec("P")
R = TypeVar("R")
PAGE: Final = 100
PASSING: Final = frozenset({401, 403, 409, 429})
"""Refusals that say nothing of the invoice."""


class Declined(TidemarkError):
    """Stripe answers that it will not change this invoice; asking again would be answered the same."""


class Page(NamedTuple):
    """Some drafts, and whether there are more after the last of them."""

    drafts: list[DraftInvoice]
    has_more: bool


class Drafts(Protocol):
    """Invoices at the provider. Calls block and are made in threads; each may raise Unreachable, and StripeRefusal where Stripe says no."""

    def page(self, after: str, subscription: str) -> Page:
        """Drafts after the one named ("": from the newest on), of one subscription ("": of all that live by the world's time)."""
        ...

    def invoice(self, name: str) -> DraftInvoice | None:
        """An invoice as it is now; None where there is none (a draft that was deleted)."""
        ...

    def lines(self, name: str) -> list[dict[str, Any]]:
        """All its lines."""
        ...

    def change(self, name: str, wanted: Mapping[str, Any]) -> DraftInvoice:
        """Set what is wanted; the invoice after that. Raises Declined where Stripe will not."""
        ...


class StripeDrafts:
    """`Drafts` over a connection under the API version before basil."""

    def __init__(self, access: Access) -> None:
        self._access = access

    def page(self, after: str, subscription: str) -> Page:
        """See `Drafts.page`."""
        named = {"subscription": subscription} if subscription else {}
        further = {"starting_after": after} if after else {}
        found = self._access.get("/v1/invoices", status="draft", limit=PAGE, **named, **further)
        return Page([invoice_of(row) for row in found.get("data", [])], bool(found.get("has_more")))

    def invoice(self, name: str) -> DraftInvoice | None:
        """See `Drafts.invoice`."""
        try:
            return invoice_of(self._access.get(f"/v1/invoices/{name}"))
        except StripeRefusal as refusal:
            if refusal.status == 404:
                return None
            raise

    def lines(self, name: str) -> list[dict[str, Any]]:
        """See `Drafts.lines`."""
        return list(self._access.pages(f"/v1/invoices/{name}/lines"))

    def change(self, name: str, wanted: Mapping[str, Any]) -> DraftInvoice:
        """See `Drafts.change`. It needs no idempotency key: to set it twice is to set it once."""
        try:
            return invoice_of(self._access.post(f"/v1/invoices/{name}", **wanted))
        except StripeRefusal as refusal:
            if 400 <= refusal.status < 500 and refusal.status not in PASSING:
                raise Declined(str(refusal)) from None
            raise


class Partition(Protocol):
    """One partition that this worker holds in this assignment (`app_driver.PartitionDriver`)."""

    @property
    def tp(self) -> TopicPartition:
        """Which partition of `usage.windows`."""
        ...

    @property
    def is_current(self) -> bool:
        """True while it is held."""
        ...

    @property
    def machine(self) -> Gated:
        """Its deliveries."""
        ...


class Ends(Protocol):
    """Where topics end (`topics.batch.Flow`)."""

    async def last_stable_offset(self, tp: TopicPartition) -> int:
        """The offset after the last record that is there for good. Raises Unreachable."""
        ...


class Asking(Protocol):
    """Makes a blocking call when the deliveries leave room for it (`app_calls.Caller.ask`)."""

    async def __call__(self, call: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """The call's answer, or what it raises."""
        ...
