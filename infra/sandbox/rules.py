"""Every rule that the sandbox enforces, with where it comes from: a page of Stripe's documentation, evidence from the field, or our guess.

`tidemark sandbox --rules` prints this table. A guess (`assumption`) names the knob that turns it, or says that only the wording is ours.
"""

from __future__ import annotations

from dataclasses import fields, replace

from infra.sandbox.knobs import Knobs
from infra.sandbox.rule import Rule, assumed, documented, seen
from infra.sandbox.rules_billing import BILLING_RULES
from infra.sandbox.rules_events import EVENT_RULES
from infra.sandbox.rules_meters import METER_RULES, METER_SPEC

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


RULES: tuple[Rule, ...] = (
    # order of the layers
    documented("order", "key, rate limiter, parameters, idempotency, execution, saving, in this order", LOW_LEVEL),
    documented(
        "auth.key",
        "401 without a key or with an unknown one; Bearer, or Basic with the key as user name",
        "https://docs.stripe.com/api/authentication",
    ),
    documented(
        "limiter.rate",
        "429 above the calls a second of the account; never saved under a key; Stripe-Rate-Limited-Reason says why",
        RATE_LIMITS,
        "calls_per_second",
    ),
    documented("limiter.endpoint", "429 above the calls a second of one resource", RATE_LIMITS, "endpoint_calls_per_second"),
    assumed("limiter.body", "a 429 carries code rate_limit and these words", "wording only; callers go by the status"),
    seen("url.unknown", "404 for a URL that the API version does not have", "answers quoted in many public reports"),
    documented("version.header", "Stripe-Version chooses the shapes and is echoed", "https://docs.stripe.com/api/versioning"),
    documented(
        "version.default",
        "without the header the account's version holds; a new account's is newer than usage records",
        "https://docs.stripe.com/api/versioning",
        "default_version",
    ),
    documented("version.usage_records", "usage records and their summaries end with 2025-03-31.basil", BASIL),
    assumed(
        "version.usage_records_404",
        "after that their URLs answer 404, unrecognized request URL",
        "the only answer Stripe has for URLs that a version lacks",
    ),
    documented(
        "version.metered_price",
        "from 2025-03-31.basil on a metered price needs a meter, and one without cannot be put on a subscription",
        BASIL,
    ),
    documented(
        "version.period",
        "the current period stands on the subscription, from 2025-03-31.basil on its items",
        "https://docs.stripe.com/changelog/basil",
    ),
    # parameters
    seen("form.encoding", "bodies are forms; anything else is 400", "answers quoted in many public reports"),
    documented("params.unknown", "400 parameter_unknown; also for parameters that Stripe has and the sandbox does not implement", ERROR_CODES),
    documented("params.missing", "400 parameter_missing", ERROR_CODES),
    documented("params.empty", "400 parameter_invalid_empty where an empty value cannot unset", ERROR_CODES),
    documented("params.integer", "400 parameter_invalid_integer for 1.5, 1e3, a negative quantity, more than 64 bits", ERROR_CODES),
    assumed("params.integer_words", "the words for a number outside its range", "wording only"),
    assumed("params.shape", "400 for a value of another shape", "wording only"),
    documented("params.not_saved", "what fails in the parameters is not saved under a key", LOW_LEVEL),
    documented("metadata", "at most 50 keys of 40 characters with values of 500; an empty value removes a key, an empty metadata all", METADATA),
    # idempotency
    documented("idempotency.saved", "status and body of the first execution are saved, 500 and refusals while executing included", IDEMPOTENCY),
    documented("idempotency.replay", "the same request again is answered with them and Idempotent-Replayed: true", LOW_LEVEL),
    documented("idempotency.prune", "a key is forgotten once it is 24 hours old", IDEMPOTENCY, "idempotency_ttl_s"),
    documented("idempotency.length", "1 to 255 characters, POST only", IDEMPOTENCY),
    seen("idempotency.parameters", "the same key with other parameters: 400 idempotency_error", "stripe/stripe-ruby#503"),
    seen("idempotency.endpoint", "the same key for another URL: 400 idempotency_error", "stripe/stripe-ruby#598"),
    documented("idempotency.in_flight", "while the first still executes: 409 idempotency_key_in_use, not saved", LOW_LEVEL),
    assumed(
        "idempotency.not_found",
        "an unknown object is found out while executing, so its 404 is saved",
        "Stripe says 'once execution began' and draws no line",
    ),
    # objects and lists
    documented("objects.missing", "resource_missing: 404 for the object of the URL, 400 for one named by a parameter", ERROR_CODES),
    documented("lists.page", "newest first; limit 1..100, default 10; starting_after or ending_before", PAGINATION),
    assumed("lists.items", "the items of a subscription come in the order of their creation", "Stripe promises no order"),
    documented(
        "lists.expand",
        "expand replaces ids of customers, products, prices, subscriptions and invoices, at most four levels deep",
        "https://docs.stripe.com/api/expanding_objects",
    ),
    documented("products.id", "a product may be given its id; a taken one is refused", "https://docs.stripe.com/api/products/create"),
    documented("prices.product", "a price names a product or makes one, not both", "https://docs.stripe.com/api/prices/create"),
    documented(
        "prices.amount",
        "exactly one of unit_amount and unit_amount_decimal (at most 12 places)",
        "https://docs.stripe.com/api/prices/create",
    ),
    documented(
        "prices.tiers",
        "tiers with tiers_mode in ascending order, the last up to inf; shown only where expanded; no packages of them",
        "https://docs.stripe.com/api/prices/create",
    ),
    documented("prices.interval", "an interval lasts at most three years", "https://docs.stripe.com/api/prices/create"),
    documented(
        "prices.metered_only",
        "aggregate_usage and meter belong to metered prices; aggregate_usage is sum unless said otherwise",
        PRICE_SPEC,
    ),
    documented("prices.meter", "recurring[meter] names an active meter", METER_SPEC + " deactivate"),
    documented("prices.lookup_key", "a lookup key belongs to one price; transfer_lookup_key moves it", "https://docs.stripe.com/api/prices/create"),
    # subscriptions
    documented("subscriptions.prices", "recurring, active, one currency, one interval, each price once", SUBSCRIPTIONS),
    documented("subscriptions.period", "edges at anchor + k intervals; a month's missing day becomes its last", CYCLE),
    documented("subscriptions.anchor", "billing_cycle_anchor lies in the future, at most one interval ahead, and ends the first period", CYCLE),
    documented(
        "subscriptions.backdate",
        "backdate_start_date lies in the past and sets start_date; without an anchor the anchor is now",
        BACKDATING,
    ),
    assumed(
        "subscriptions.backdate_usage",
        "the first period of a backdated subscription begins at its start date, so usage since then is taken",
        "Stripe documents the invoice, not the usage",
        "backdated_usage",
    ),
    seen(
        "subscriptions.canceled",
        "an ended subscription takes new metadata only; canceling it again is 404",
        "answers quoted in public reports",
    ),
    seen(
        "items.quantity",
        "a metered item has no quantity, a licensed one has 1 by default",
        "'You cannot set the quantity for metered plans'",
    ),
    seen("items.clear_usage", "a metered item is deleted only with clear_usage=true, which destroys its usage", "stripe/stripe-go#743"),
    seen("items.last", "the last item of a subscription stays", "answers quoted in public reports"),
    # usage
    documented("usage.cell", "a cell is (item, second): increment adds to it, set replaces it; nothing lists or deletes single records", USAGE_SPEC),
    documented("usage.aggregate", "sum, last_during_period, last_ever, max over a period's cells", PRICE_SPEC),
    assumed("usage.aggregate_cell", "last and max look at the cell after its increments merged", "Stripe names 'the last usage record'"),
    seen(
        "usage.before_period",
        "a timestamp at or before the current period's start is refused",
        "authgear/authgear-server#2430, stripe/stripe-node#725",
    ),
    assumed(
        "usage.period_start",
        "the period's own first second counts as before it: 'must be after'",
        "AngularFirebase/121-stripe-billing-metered-subscriptions#2",
        "period_start_taken",
    ),
    documented("usage.grace", "with sum, in a period's first minutes the last minutes of the old one are still taken", RECORDING, "grace_s"),
    documented("usage.future", "a timestamp in the future is refused", USAGE_SPEC),
    assumed(
        "usage.future_tolerance",
        "a few minutes ahead are tolerated; the words of the refusal are ours",
        "plugins in the field send now + 5 minutes",
        "future_s",
    ),
    documented("usage.after_period", "a timestamp after the current period is refused even within that tolerance; the words are ours", USAGE_SPEC),
    documented("usage.quantity", "a whole number, 0 or more", USAGE_SPEC),
    documented("usage.thresholds", "with billing thresholds only increment; the words are ours", USAGE_SPEC),
    assumed("usage.licensed", "no usage on a licensed price; the words are ours", "follows from usage_type"),
    assumed("usage.canceled", "no usage on an ended subscription; the words are ours", "follows from the current period"),
    seen("usage.on_meter", "neither usage records nor summaries for a price on a meter", "laravel/cashier-stripe#1709"),
    documented("usage.summaries", "newest period first, the current one first of all", "stripe/openapi 2023-08-16, usage_record_summaries"),
    assumed("usage.summaries_empty", "periods without usage are listed with 0, and every period has both ends", "the reference shows neither"),
    *METER_RULES,
    *BILLING_RULES,
    *EVENT_RULES,
    # faults
    documented("faults.saved_500", "a 500 while executing is saved and replayed, with or without its effect", LOW_LEVEL),
    assumed("faults.unsaved_503", "a 503 before execution is not saved", "follows from the order of the layers"),
    assumed(
        "faults.hold",
        "a broken connection does not stop an execution: the key stays in use, the effect comes",
        "follows from 409; its length is a knob",
        "hold_ms",
    ),
    assumed("faults.delay", "an answer may take its time", "its length is a knob", "delay_ms"),
)


def rules_table(knobs: Knobs | None = None) -> list[Rule]:
    """All rules, each with the value of its knob in `knobs` (by default the defaults)."""
    knobs = knobs or Knobs()
    values = {each.name: getattr(knobs, each.name) for each in fields(knobs)}
    return [rule if rule.knob is None else replace(rule, value=str(values[rule.knob])) for rule in RULES]
