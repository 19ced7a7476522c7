"""Every rule that the sandbox enforces, with where it comes from: a page of Stripe's documentation, evidence from the field, or our guess.

`tidemark sandbox --rules` prints this table. A guess (`assumption`) names the knob that turns it, or says that only the wording is ours.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import Any, Literal

from infra.sandbox.knobs import Knobs

Evidence = Literal["documented", "field", "assumption"]
"""documented: Stripe's pages, API reference or OpenAPI description · field: answers that others saw and published · assumption: ours."""

IDEMPOTENCY = "https://docs.stripe.com/api/idempotent_requests"
LOW_LEVEL = "https://docs.stripe.com/error-low-level"
ERROR_CODES = "https://docs.stripe.com/error-codes"
BASIL = "https://docs.stripe.com/changelog/basil/2025-03-31/deprecate-legacy-usage-based-billing"
RECORDING = "https://docs.stripe.com/billing/subscriptions/usage-based-legacy/recording-usage"
USAGE_SPEC = "stripe/openapi 2023-08-16, POST /v1/subscription_items/{subscription_item}/usage_records"
PRICE_SPEC = "stripe/openapi 2023-08-16, recurring"
CYCLE = "https://docs.stripe.com/billing/subscriptions/billing-cycle"
BACKDATING = "https://docs.stripe.com/billing/subscriptions/backdating"
SUBSCRIPTIONS = "https://docs.stripe.com/api/subscriptions"
METADATA = "https://docs.stripe.com/api/metadata"
PAGINATION = "https://docs.stripe.com/api/pagination"
RATE_LIMITS = "https://docs.stripe.com/rate-limits"


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule: an id that errors refer to, a sentence, its evidence, its source, the knob that changes it and the knob's value."""

    id: str
    sentence: str
    evidence: Evidence
    source: str
    knob: str | None = None
    value: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


_ROWS: tuple[tuple[str, str, Evidence, str, str | None], ...] = (
    # order of the layers
    ("order", "key, rate limiter, parameters, idempotency, execution, saving, in this order", "documented", LOW_LEVEL, None),
    ("auth.key", "401 without a key or with an unknown one; Bearer, or Basic with the key as user name", "documented", "https://docs.stripe.com/api/authentication", None),
    ("limiter.rate", "429 above the calls a second of the account; never saved under a key; Stripe-Rate-Limited-Reason says why", "documented", RATE_LIMITS, "calls_per_second"),
    ("limiter.endpoint", "429 above the calls a second of one resource", "documented", RATE_LIMITS, "endpoint_calls_per_second"),
    ("limiter.body", "a 429 carries code rate_limit and these words", "assumption", "wording only; callers go by the status", None),
    ("url.unknown", "404 for a URL that the API version does not have", "field", "answers quoted in many public reports", None),
    ("version.header", "Stripe-Version chooses the shapes and is echoed", "documented", "https://docs.stripe.com/api/versioning", None),
    ("version.default", "without the header the account's version holds; a new account's is newer than usage records", "documented", "https://docs.stripe.com/api/versioning", "default_version"),
    ("version.usage_records", "usage records and their summaries end with 2025-03-31.basil", "documented", BASIL, None),
    ("version.usage_records_404", "after that their URLs answer 404, unrecognized request URL", "assumption", "the only answer Stripe has for URLs that a version lacks", None),
    ("version.metered_price", "from 2025-03-31.basil on a metered price needs a meter, and one without cannot be put on a subscription", "documented", BASIL, None),
    ("version.period", "the current period stands on the subscription, from 2025-03-31.basil on its items", "documented", "https://docs.stripe.com/changelog/basil", None),
    # parameters
    ("form.encoding", "bodies are forms; anything else is 400", "field", "answers quoted in many public reports", None),
    ("params.unknown", "400 parameter_unknown; also for parameters that Stripe has and the sandbox does not implement", "documented", ERROR_CODES, None),
    ("params.missing", "400 parameter_missing", "documented", ERROR_CODES, None),
    ("params.empty", "400 parameter_invalid_empty where an empty value cannot unset", "documented", ERROR_CODES, None),
    ("params.integer", "400 parameter_invalid_integer for 1.5, 1e3, a negative quantity, more than 64 bits", "documented", ERROR_CODES, None),
    ("params.integer_words", "the words for a number outside its range", "assumption", "wording only", None),
    ("params.shape", "400 for a value of another shape", "assumption", "wording only", None),
    ("params.not_saved", "what fails in the parameters is not saved under a key", "documented", LOW_LEVEL, None),
    ("metadata", "at most 50 keys of 40 characters with values of 500; an empty value removes a key, an empty metadata all", "documented", METADATA, None),
    # idempotency
    ("idempotency.saved", "status and body of the first execution are saved, 500 and refusals while executing included", "documented", IDEMPOTENCY, None),
    ("idempotency.replay", "the same request again is answered with them and Idempotent-Replayed: true", "documented", LOW_LEVEL, None),
    ("idempotency.prune", "a key is forgotten once it is 24 hours old", "documented", IDEMPOTENCY, "idempotency_ttl_s"),
    ("idempotency.length", "1 to 255 characters, POST only", "documented", IDEMPOTENCY, None),
    ("idempotency.parameters", "the same key with other parameters: 400 idempotency_error", "field", "stripe/stripe-ruby#503", None),
    ("idempotency.endpoint", "the same key for another URL: 400 idempotency_error", "field", "stripe/stripe-ruby#598", None),
    ("idempotency.in_flight", "while the first still executes: 409 idempotency_key_in_use, not saved", "documented", LOW_LEVEL, None),
    ("idempotency.not_found", "an unknown object is found out while executing, so its 404 is saved", "assumption", "Stripe says 'once execution began' and draws no line", None),
    # objects and lists
    ("objects.missing", "resource_missing: 404 for the object of the URL, 400 for one named by a parameter", "documented", ERROR_CODES, None),
    ("lists.page", "newest first; limit 1..100, default 10; starting_after or ending_before", "documented", PAGINATION, None),
    ("lists.items", "the items of a subscription come in the order of their creation", "assumption", "Stripe promises no order", None),
    ("lists.expand", "expand replaces ids of customers, products and prices, at most four levels deep", "documented", "https://docs.stripe.com/api/expanding_objects", None),
    ("products.id", "a product may be given its id; a taken one is refused", "documented", "https://docs.stripe.com/api/products/create", None),
    ("prices.product", "a price names a product or makes one, not both", "documented", "https://docs.stripe.com/api/prices/create", None),
    ("prices.amount", "exactly one of unit_amount and unit_amount_decimal (at most 12 places)", "documented", "https://docs.stripe.com/api/prices/create", None),
    ("prices.interval", "an interval lasts at most three years", "documented", "https://docs.stripe.com/api/prices/create", None),
    ("prices.metered_only", "aggregate_usage and meter belong to metered prices; aggregate_usage is sum unless said otherwise", "documented", PRICE_SPEC, None),
    ("prices.meter", "recurring[meter] is taken unchecked: the sandbox has no meters yet", "assumption", "so that a sink can meet a price on a meter", None),
    ("prices.lookup_key", "a lookup key belongs to one price; transfer_lookup_key moves it", "documented", "https://docs.stripe.com/api/prices/create", None),
    # subscriptions
    ("subscriptions.prices", "recurring, active, one currency, one interval, each price once", "documented", SUBSCRIPTIONS, None),
    ("subscriptions.period", "edges at anchor + k intervals; a month's missing day becomes its last", "documented", CYCLE, None),
    ("subscriptions.anchor", "billing_cycle_anchor lies in the future, at most one interval ahead, and ends the first period", "documented", CYCLE, None),
    ("subscriptions.backdate", "backdate_start_date lies in the past and sets start_date; without an anchor the anchor is now", "documented", BACKDATING, None),
    ("subscriptions.backdate_usage", "the first period of a backdated subscription begins at its start date, so usage since then is taken", "assumption", "Stripe documents the invoice, not the usage", "backdated_usage"),
    ("subscriptions.status", "active until canceled: every payment succeeds", "assumption", "the sandbox has no payments yet", None),
    ("subscriptions.canceled", "an ended subscription takes new metadata only; canceling it again is 404", "field", "answers quoted in public reports", None),
    ("items.quantity", "a metered item has no quantity, a licensed one has 1 by default", "field", "'You cannot set the quantity for metered plans'", None),
    ("items.clear_usage", "a metered item is deleted only with clear_usage=true, which destroys its usage", "field", "stripe/stripe-go#743", None),
    ("items.last", "the last item of a subscription stays", "field", "answers quoted in public reports", None),
    # usage
    ("usage.cell", "a cell is (item, second): increment adds to it, set replaces it; nothing lists or deletes single records", "documented", USAGE_SPEC, None),
    ("usage.aggregate", "sum, last_during_period, last_ever, max over a period's cells", "documented", PRICE_SPEC, None),
    ("usage.aggregate_cell", "last and max look at the cell after its increments merged", "assumption", "Stripe names 'the last usage record'", None),
    ("usage.before_period", "a timestamp at or before the current period's start is refused", "field", "authgear/authgear-server#2430, stripe/stripe-node#725", None),
    ("usage.period_start", "the period's own first second counts as before it: 'must be after'", "assumption", "AngularFirebase/121-stripe-billing-metered-subscriptions#2", "period_start_taken"),
    ("usage.grace", "with sum, in a period's first minutes the last minutes of the old one are still taken", "documented", RECORDING, "grace_s"),
    ("usage.future", "a timestamp in the future is refused", "documented", USAGE_SPEC, None),
    ("usage.future_tolerance", "a few minutes ahead are tolerated; the words of the refusal are ours", "assumption", "plugins in the field send now + 5 minutes", "future_s"),
    ("usage.after_period", "a timestamp after the current period is refused even within that tolerance; the words are ours", "documented", USAGE_SPEC, None),
    ("usage.quantity", "a whole number, 0 or more", "documented", USAGE_SPEC, None),
    ("usage.thresholds", "with billing thresholds only increment; the words are ours", "documented", USAGE_SPEC, None),
    ("usage.licensed", "no usage on a licensed price; the words are ours", "assumption", "follows from usage_type", None),
    ("usage.canceled", "no usage on an ended subscription; the words are ours", "assumption", "follows from the current period", None),
    ("usage.on_meter", "neither usage records nor summaries for a price on a meter", "field", "laravel/cashier-stripe#1709", None),
    ("usage.summaries", "newest period first, the current one first of all", "documented", "stripe/openapi 2023-08-16, usage_record_summaries", None),
    ("usage.summaries_empty", "periods without usage are listed with 0, and every period has both ends", "assumption", "the reference shows neither", None),
    # faults
    ("faults.saved_500", "a 500 while executing is saved and replayed, with or without its effect", "documented", LOW_LEVEL, None),
    ("faults.unsaved_503", "a 503 before execution is not saved", "assumption", "follows from the order of the layers", None),
    ("faults.hold", "a broken connection does not stop an execution: the key stays in use, the effect comes", "assumption", "follows from 409; its length is a knob", "hold_ms"),
    ("faults.delay", "an answer may take its time", "assumption", "its length is a knob", "delay_ms"),
)


def rules_table(knobs: Knobs | None = None) -> list[Rule]:
    """All rules, each with the value of its knob in `knobs` (by default the defaults)."""
    knobs = knobs or Knobs()
    values = {each.name: getattr(knobs, each.name) for each in fields(knobs)}
    return [Rule(*row, None if row[4] is None else str(values[row[4]])) for row in _ROWS]
