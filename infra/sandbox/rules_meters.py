"""The rules of meters: their events, what becomes of them, cancellation, summaries, and what adds up to an invoice's quantity."""

from __future__ import annotations

from infra.sandbox.rule import Rule, assumed, documented, seen

METER_SPEC = "stripe/openapi 2026-09-30, billing/meters"
EVENT_SPEC = "stripe/openapi 2026-09-30, billing/meter_events"
ADJUSTMENT_SPEC = "stripe/openapi 2026-09-30, billing/meter_event_adjustments"
SUMMARY_SPEC = "stripe/openapi 2026-09-30, billing/meters/{id}/event_summaries"
CONFIGURE = "https://docs.stripe.com/billing/subscriptions/usage-based/meters/configure"
RECORDING = "https://docs.stripe.com/billing/subscriptions/usage-based/recording-usage-api"
RATE_LIMITS = "https://docs.stripe.com/rate-limits"
ERROR_EVENTS = "https://docs.stripe.com/api/v2/core/events/event-types"

_METERS = (
    documented("meters.formula", "sum, count or last over a period's events; only the display name changes later", METER_SPEC),
    documented("meters.mapping", "by default the payload names its customer as stripe_customer_id and its value as value", METER_SPEC),
    seen("meters.event_name", "two active meters never share an event name; the words are ours", "getpaykit/paykit#204, stripe/stripe-cli#1470"),
    assumed("meters.event_name_kept", "a deactivated meter lets go of its name", "one report says that it keeps it", "meter_name_kept"),
    documented("meters.inactive", "a deactivated meter takes no events and no new prices, until it is reactivated", METER_SPEC),
    assumed("meters.status", "a meter that has the status already is refused, and one with prices on it may be deactivated", "wording ours"),
)
_HAPPENED = documented(
    "meters.events", "billing.meter.created, updated, deactivated and reactivated say what happened to a meter", "https://docs.stripe.com/api/events/types"
)
_EVENTS = (
    documented("meter_events.payload", "flat text by key, values of at most 100 characters", EVENT_SPEC),
    seen("meter_events.no_meter", 'refused in the call: No active meter found for event name "x".', "error texts in public reports"),
    seen(
        "meter_events.identifier",
        "an identifier within its time is 400 without a code: An event already exists with identifier x.",
        "langfuse/langfuse#16292",
    ),
    documented(
        "meter_events.identifier_time", "an identifier is taken for at least 24 hours; one is made up if absent", EVENT_SPEC, "meter_identifier_s"
    ),
    assumed(
        "meter_events.identifier_scope",
        "identifiers are unique in the account, over all event names, and refused or canceled events keep theirs",
        "Stripe does not say",
        "meter_identifier_by_name",
    ),
    documented("meter_events.past", "at most 35 calendar days old, read as 35 × 24 hours", EVENT_SPEC, "meter_past_s"),
    documented("meter_events.future", "at most 5 minutes ahead", EVENT_SPEC, "meter_future_s"),
    seen("meter_events.timestamp", "a timestamp out of range is refused in the call; the words are ours", "error tables in public repositories"),
    assumed(
        "meter_events.sync",
        "no active meter and a timestamp out of range are refused in the call, not reported afterwards",
        "Stripe has asynchronous codes for both",
        "meter_sync_checks",
    ),
    assumed("meter_events.clock", "of a customer on a test clock, now is the clock's frozen time", "so that its periods can take usage at all"),
    documented(
        "meter_events.digits",
        "a value with more than 15 digits is refused in the call from 2026-04-22.dahlia on, and reported afterwards before",
        "https://docs.stripe.com/changelog/dahlia",
    ),
    assumed("meter_events.digits_counted", "leading zeros are no digits, zeros at the end are", "the stricter reading of significant"),
    documented("meter_events.decimals", "decimals and negative values count", RECORDING),
    assumed("meter_events.places", "a value with more than 12 places is no number", "an invoice line has at most 12"),
    assumed("meter_events.exponents", "a value with an exponent is no number", "Stripe does not say", "meter_exponents"),
    documented("meter_events.one_at_a_time", "one call at a time for a customer and meter; a second is 429", RATE_LIMITS, "meter_one_at_a_time"),
    assumed("meter_events.lock", "that 429 has code lock_timeout and Stripe-Should-Retry: true, and is not saved", "as Stripe's object locks"),
    documented("meter_events.rate", "1,000 calls a second in live mode", RATE_LIMITS, "meter_calls_per_second"),
    documented("meter_events.apart", "not counted in the account's basic limit in live mode, but in a sandbox", RATE_LIMITS, "meter_calls_counted"),
)
_AFTERWARDS = (
    documented("meter_events.async", "counted some time after the 200; so a 200 does not say that it counts", RECORDING),
    assumed("meter_events.delay", "how long after", "Stripe names no time", "meter_delay_s"),
    documented(
        "meter_errors.codes",
        "no_meter, archived_meter, meter_event_no_customer_defined, meter_event_customer_not_found, meter_event_invalid_value, "
        "meter_event_value_too_many_digits, timestamp_too_far_in_past, timestamp_in_future",
        RECORDING,
    ),
    assumed(
        "meter_errors.no_value",
        "a payload without a value is meter_event_invalid_value",
        "older pages have a code of its own, which the client's list no longer has",
        "meter_no_value_code",
    ),
    documented(
        "meter_errors.report",
        "refusals of one meter and 10 seconds make one thin event v1.billing.meter.error_report_triggered; those without a meter make "
        "v1.billing.meter.no_meter_found; each sample names its request by the Idempotency-Key",
        ERROR_EVENTS,
        "meter_report_s",
    ),
    assumed("meter_errors.samples", "at most ten samples of a code", "Stripe says 'a list of sample errors'", "meter_report_samples"),
    assumed("meter_errors.words", "the sentences of the errors, but for a missing customer and too many digits", "wording only"),
)
_TOTALS = (
    documented("meter_totals.raw", "without a window events never replace each other, also not those of one second", CONFIGURE),
    documented(
        "meter_totals.window",
        "with event_time_window the event received last within the UTC hour or day of its timestamp replaces the one before",
        CONFIGURE,
    ),
    assumed(
        "meter_totals.window_edge",
        "it does so also where the two lie in different billing periods; it then counts in the period of its own timestamp",
        "Stripe ties the boundaries to UTC alone",
    ),
    assumed("meter_totals.last", "the last event is the one with the greatest timestamp, of equal ones the one received last", "Stripe says 'last'"),
    documented("meter_totals.negative", "a negative total is shown as it is by summaries and as 0 by an invoice", RECORDING),
    documented(
        "meter_adjustments.age", "an event can be canceled within 24 hours of its receipt; the words are ours", ADJUSTMENT_SPEC, "meter_cancel_s"
    ),
    assumed("meter_adjustments.unknown", "an unknown identifier is 400", "wording and status ours: Stripe shows neither"),
    assumed(
        "meter_adjustments.effect",
        "a canceled event is as if never received (in a window the one before counts again); pending until the delay is over",
        "Stripe only has the two statuses",
    ),
    documented("meter_summaries.aligned", "ends on whole minutes, or by the grouping on whole UTC hours or days", SUMMARY_SPEC),
    documented("meter_summaries.range", "from start_time inclusive to end_time exclusive; the words for an empty range are ours", SUMMARY_SPEC),
    assumed("meter_summaries.order", "grouped summaries come newest first", "as all of Stripe's lists", "summaries_newest_first"),
    assumed("meter_summaries.empty", "hours or days without events are listed with 0", "Stripe does not say", "summaries_empty"),
)
METER_RULES: tuple[Rule, ...] = (*_METERS, _HAPPENED, *_EVENTS, *_AFTERWARDS, *_TOTALS)
