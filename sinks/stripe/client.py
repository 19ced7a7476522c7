"""The only file that talks to Stripe: the official client, pinned to the API version that has usage records, its own retries off.

A request without a definite answer is a value (`sinks/outcomes.py`); the state machine decides when it is sent again, with the same key and bytes.
The key is in no message, no URL and no repr.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final

import msgspec
import stripe

from sinks.outcomes import Answer, Refused, RetryAfter
from sinks.readback import Summary
from sinks.remedy_calls import LookUp, Quote, Quoted
from sinks.stripe.refusal import StripeRefusal
from sinks.stripe.remedy_reading import look_up, quote
from sinks.stripe.request import (
    API_VERSION,
    METERS_PATH,
    MODERN_VERSION,
    body_parameters,
    event_summaries_path,
    summaries_path,
    version_of,
)
from sinks.stripe.transport import TIMEOUT_S, Connections, NotSent, TooLateToSend
from topics.errors import TidemarkError, Unreachable, UsageError
from topics.quantity import BadQuantity, Digits, OutOfRange, parse

_UNREADABLE: Final = (AttributeError, TypeError, ValueError, LookupError, RecursionError)
"""What Stripe's library raises over JSON that is not shaped as Stripe's."""
LIVE_KEYS: Final = ("sk_live_", "rk_live_")
PAGE: Final = 100
"""Stripe's largest page; its default is 10, and an hourly month has 744 rows."""


class _Period(msgspec.Struct):
    start: int | None = None
    end: int | None = None


class _SummaryRow(msgspec.Struct):
    total_usage: int
    period: _Period = msgspec.field(default_factory=_Period)


class _EventSummary(msgspec.Struct):
    id: str
    start_time: int
    end_time: int
    aggregated_value: msgspec.Raw


class _EventPage(msgspec.Struct):
    data: list[_EventSummary]
    has_more: bool = False


_event_page = msgspec.json.Decoder(_EventPage)


def _summary_row(row: dict[str, Any]) -> _SummaryRow:
    return msgspec.convert(row, _SummaryRow)


class Modern:
    """An account's reads under the modern API version, for what is no usage record."""

    def __init__(self, account: StripeAccess, client: stripe.StripeClient) -> None:
        self._account = account
        self._client = client

    def get(self, path: str, **parameters: Any) -> dict[str, Any]:
        """GET; the decoded object. Raises Unreachable or StripeRefusal."""
        return self._account._plain("get", path, parameters, self._client)

    def pages(self, path: str, **parameters: Any) -> Iterator[dict[str, Any]]:
        """All rows of a list, page by page. Raises Unreachable or StripeRefusal."""
        return self._account._pages(self._client, path, parameters)


class StripeAccess:
    """One account at one base address. Calls block: the worker makes them in threads, the command line as they are."""

    def __init__(self, api_base: str, api_key: str, *, live: bool = False, timeout_s: float = TIMEOUT_S, version: str = API_VERSION) -> None:
        if not api_key:
            raise UsageError("no Stripe key: set STRIPE_API_KEY (a test key, sk_test_…)")
        if not api_key.isascii() or not api_key.isprintable() or " " in api_key:
            # In a header it would be refused by the HTTP library, whose message repeats it.
            raise UsageError("STRIPE_API_KEY holds a blank or a character that no key has (a line's end, perhaps): set it again")
        if api_key.startswith(LIVE_KEYS) and not live:
            raise UsageError("STRIPE_API_KEY is a live key: real invoices would change; use a test key, or allow it on purpose")
        self.api_base = api_base.rstrip("/")
        self._secret = api_key
        self._connections = Connections(self.api_base, timeout_s)
        stripe.enable_telemetry = False
        # One client per API version: each asks and is answered in the shapes of its own.
        self._clients = {name: self._client_of(name) for name in {version, API_VERSION, MODERN_VERSION}}
        self._client = self._clients[version]
        self._meters: dict[str, str] = {}

    def _client_of(self, version: str) -> stripe.StripeClient:
        return stripe.StripeClient(
            self._secret,
            stripe_version=version,
            base_addresses={"api": self.api_base},
            max_network_retries=0,
            http_client=self._connections,
        )

    def report(self, path: str, body: str, idempotency_key: str, may_send: Callable[[], bool]) -> Answer:
        """Post an intent's exact request, if `may_send()` is still true when the connection stands."""
        parameters = body_parameters(body)
        try:
            with self._connections.guarded(may_send):
                client = self._clients[version_of(path)]
                reply = client.raw_request("post", path, **parameters, idempotency_key=idempotency_key)
        except stripe.StripeError as error:
            return self._answer_of(error)
        except _UNREADABLE:
            # Stripe's library reads errors as objects, and fails on a proxy's {"error": "Bad Gateway"}. What came is known all the same.
            answered = self._connections.last_answer
            if answered is None:
                raise
            return Answer(answered[1], self._text(answered[0]), _lower(answered[2]))
        return Answer(reply.code, self._text(reply.body), _lower(reply.headers))

    def summaries(self, item: str, back_to_s: int) -> list[Summary] | RetryAfter:
        """The item's totals per period, newest first, as far back as the one that holds `back_to_s`; empty where the item is gone."""
        found: list[Summary] = []
        try:
            for row in self.pages(summaries_path(item)):
                summary = self._summary(row)
                found += [] if summary is None else [summary]
                if summary is not None and summary.start_s < back_to_s:
                    break
        except TidemarkError as error:
            if isinstance(error, StripeRefusal) and error.code == "resource_missing":
                return []
            return RetryAfter(reason="no_read_back", sentence=str(error), down=True)
        return found

    def event_summaries(self, event_name: str, customer: str, grouping: str, start_s: int, end_s: int) -> list[Summary] | RetryAfter:
        """A customer's usage of a meter by UTC hours or days of [start, end), exactly as the answer's digits say it; what is absent is 0.

        `grouping` empty: of the whole time in one; its ends are whole minutes.
        """
        try:
            meter = self._meter_of(event_name)
            if meter is None:
                return RetryAfter(reason="no_meter", sentence=f"no active meter has the event name {event_name!r}")
            found: list[Summary] = []
            after: dict[str, Any] = {}
            asked: dict[str, Any] = {"customer": customer, "start_time": start_s, "end_time": end_s, "limit": PAGE}
            asked |= {"value_grouping_window": grouping} if grouping else {}
            while True:
                page = self._event_page(event_summaries_path(meter), {**asked, **after})
                found += [Summary(row.start_time, row.end_time, self._exact(row)) for row in page.data]
                if not page.has_more or not page.data:
                    return found
                after = {"starting_after": page.data[-1].id}
        except StripeRefusal as error:
            return RetryAfter(reason="no_read_back", sentence=str(error))
        except TidemarkError as error:
            return RetryAfter(reason="no_read_back", sentence=str(error), down=True)

    def _meter_of(self, event_name: str) -> str | None:
        """The id of the active meter with this event name; looked up once, since an active meter keeps its name."""
        if event_name not in self._meters:
            modern = self._clients[MODERN_VERSION]
            for row in self._pages(modern, METERS_PATH, {"status": "active"}):
                self._meters[str(row.get("event_name"))] = row["id"]
        return self._meters.get(event_name)

    def _event_page(self, path: str, parameters: dict[str, Any]) -> _EventPage:
        reply = self._asked(self._clients[MODERN_VERSION], "get", path, parameters)
        try:
            return _event_page.decode(self._text(reply.body))
        except (msgspec.DecodeError, RecursionError):
            raise self._not_stripe() from None

    def _exact(self, row: _EventSummary) -> int:
        """The value × 10¹²: a JSON number, read from its digits and never as a float."""
        try:
            return parse(Digits(bytes(row.aggregated_value).decode()))
        except (BadQuantity, OutOfRange):
            raise self._not_stripe() from None

    def _summary(self, row: dict[str, Any]) -> Summary | None:
        """A row of the totals; None for the period that is to come, which has no edges yet. A total is never guessed at: Unreachable."""
        try:
            found = _summary_row(row)
        except msgspec.ValidationError:
            raise self._not_stripe() from None
        start_s, end_s = found.period.start, found.period.end
        return None if start_s is None or end_s is None else Summary(start_s, end_s, found.total_usage)

    def quote(self, asked: Quote) -> Quoted | Refused | RetryAfter:
        """By which price an item's units cost what, who pays, and what an invoice's lines can give back."""
        return quote(self, self.modern, asked)

    def look_up(self, asked: LookUp) -> str | RetryAfter:
        """The id of what a remedy has made; empty where it made nothing."""
        return look_up(self.modern, asked)

    @property
    def modern(self) -> Modern:
        """The same account under the modern API version."""
        return Modern(self, self._clients[MODERN_VERSION])

    def get(self, path: str, **parameters: Any) -> dict[str, Any]:
        """GET; the decoded object. Raises Unreachable or StripeRefusal."""
        return self._plain("get", path, parameters)

    def post(self, path: str, idempotency_key: str | None = None, **parameters: Any) -> dict[str, Any]:
        """POST; the decoded object, which has an id. Raises Unreachable or StripeRefusal."""
        options = {} if idempotency_key is None else {"idempotency_key": idempotency_key}
        made = self._plain("post", path, {**parameters, **options})
        if not isinstance(made.get("id"), str):
            raise self._not_stripe()
        return made

    def pages(self, path: str, **parameters: Any) -> Iterator[dict[str, Any]]:
        """All rows of a list, page by page; each is an object with an id. Raises Unreachable or StripeRefusal."""
        return self._pages(self._client, path, parameters)

    def _pages(self, client: stripe.StripeClient, path: str, parameters: dict[str, Any]) -> Iterator[dict[str, Any]]:
        after: dict[str, Any] = {}
        while True:
            page = self._asked(client, "get", path, {"limit": PAGE, **parameters, **after}).data
            if not isinstance(page, dict):
                raise self._not_stripe()
            rows = page.get("data", [])
            if not isinstance(rows, list) or not all(isinstance(row, dict) and isinstance(row.get("id"), str) for row in rows):
                raise self._not_stripe()
            yield from rows
            if not page.get("has_more") or not rows:
                return
            after = {"starting_after": rows[-1]["id"]}

    def close(self) -> None:
        """Close idle connections."""
        self._connections.close()

    def _plain(self, method: str, path: str, parameters: dict[str, Any], client: stripe.StripeClient | None = None) -> dict[str, Any]:
        reply = self._asked(client or self._client, method, path, parameters)
        if not isinstance(reply.data, dict):
            raise self._not_stripe()
        return reply.data

    def _asked(self, client: stripe.StripeClient, method: str, path: str, parameters: dict[str, Any]) -> Any:
        try:
            return client.raw_request(method, path, **parameters)
        except stripe.StripeError as error:
            if error.http_status is None:
                raise Unreachable(f"Stripe at {self.api_base} does not answer: {error.user_message}") from None
            raise StripeRefusal(error.http_status, str(error.code or ""), self._text(error.user_message)) from None
        except _UNREADABLE:
            raise self._not_stripe() from None

    def _not_stripe(self) -> Unreachable:
        return Unreachable(f"{self.api_base} answers, but not as Stripe documents it: is this its address, or does something stand in between?")

    def _answer_of(self, error: stripe.StripeError) -> Answer:
        if error.http_status is None:
            late = isinstance(error, TooLateToSend)
            return Answer(None, sent=not late and not isinstance(error, NotSent), late=late, error=error.user_message or type(error).__name__)
        return Answer(error.http_status, self._text(error.http_body), _lower(error.headers))

    def _text(self, body: Any) -> str:
        """Text of an answer; should the other side ever repeat our key, it goes no further."""
        text = body.decode("utf-8", "replace") if isinstance(body, bytes) else str(body or "")
        return text.replace(self._secret, "…")


def _lower(headers: Any) -> dict[str, str]:
    return {str(name).lower(): str(value) for name, value in (headers or {}).items()}
