"""The rules of invoices: when they come, what is on them, when they are final, how they are paid."""

from __future__ import annotations

from infra.sandbox.rule import assumed, documented

WORKFLOW = "https://docs.stripe.com/invoicing/integration/workflow-transitions"
OF_SUBSCRIPTIONS = "https://docs.stripe.com/billing/invoices/subscription"
GRACE = "https://docs.stripe.com/billing/subscriptions/usage-based/configure-grace-period"
HOW = "https://docs.stripe.com/billing/subscriptions/usage-based/how-it-works"
MODELS = "https://docs.stripe.com/products-prices/pricing-models"
PRICES = "https://docs.stripe.com/api/prices/object"
INVOICES = "https://docs.stripe.com/api/invoices"
OVERVIEW = "https://docs.stripe.com/billing/subscriptions/overview"
METERED = "https://docs.stripe.com/billing/subscriptions/usage-based/recording-usage-api"
RETRIES = "https://docs.stripe.com/billing/revenue-recovery/smart-retries"
RECORDING = "https://docs.stripe.com/billing/subscriptions/usage-based-legacy/recording-usage"

INVOICE_RULES = (
    # when
    documented("invoices.cycle", "at a period's edge a draft: what was used in the old period, what is paid ahead for the new one", OF_SUBSCRIPTIONS),
    documented("invoices.first", "the first invoice of a subscription, and one for a change, is final at once", OF_SUBSCRIPTIONS),
    documented(
        "invoices.grace", "a draft is finalised an hour after it came, or up to 72 hours by the account's setting", GRACE, "finalization_grace_s"
    ),
    documented("invoices.auto_advance", "with auto_advance=false a draft stays a draft until it is finalised by hand or set to true", WORKFLOW),
    assumed(
        "invoices.auto_advance_again",
        "set to true again it is finalised when its grace has passed, or at once if it has",
        "Stripe names no time",
    ),
    documented(
        "invoices.webhook",
        "a draft whose invoice.created was not answered waits for that, at most 72 hours, and then for its hour; here only if the knob says so",
        WORKFLOW,
        "finalization_waits_s",
    ),
    documented("invoices.draft", "only a draft can be finalised, once", WORKFLOW),
    documented("invoices.final", "nothing changes a final invoice's lines; usage that comes later is on none of its lines", HOW),
    documented(
        "invoices.pending", "pending invoice items of the customer and currency come onto the next invoice of their subscription, or of any", INVOICES
    ),
    documented("invoices.zero", "an invoice with nothing due is paid by being finalised", WORKFLOW),
    documented("invoices.number", "a number from the customer's prefix and sequence, given when it is finalised", INVOICES),
    documented(
        "invoices.balance",
        "a customer's credit is used up first, and a negative total becomes credit",
        "https://docs.stripe.com/billing/customer/balance",
    ),
    documented("invoices.void", "an open or uncollectible invoice can be voided", WORKFLOW),
    documented("invoices.uncollectible", "an open invoice can be given up, and still be paid", WORKFLOW),
    documented("invoices.delete", "only a draft that no subscription has created can be deleted", "https://docs.stripe.com/api/invoices/delete"),
    documented("invoices.upcoming", "a preview is the coming edge's invoice as it would be now; before basil by GET, from then on by POST", INVOICES),
    assumed("invoices.preview", "a preview takes a subscription or a customer, no changes to try out", "the sandbox refuses the others as unknown"),
    assumed("invoices.upcoming_event", "invoice.upcoming comes 7 days before the edge, if the period is longer", "an account setting", "upcoming_s"),
    # payment
    documented(
        "invoices.pay",
        "an open or uncollectible invoice can be paid, also out of band; a draft is finalised first",
        "https://docs.stripe.com/api/invoices/pay",
    ),
    documented(
        "payments.declined",
        "a payment method named pm_card_chargeCustomerFail or pm_card_chargeDeclined... is declined",
        "https://docs.stripe.com/testing",
    ),
    assumed("payments.pay_declined", "a declined call of /pay leaves no trace: its attempt is not counted", "a 402 undoes what the call did"),
    assumed("payments.method", "any other payment method pays, and so does none", "the sandbox moves no money", "payment_method_needed"),
    documented("payments.retries", "a failed payment is tried again after some days", RETRIES, "payment_retry_days"),
    documented("payments.past_due", "while a renewal's payment fails the subscription is past_due; when it is paid, active", OVERVIEW),
    documented(
        "payments.after", "after the last retry it is canceled, unpaid or stays past_due, by the account's setting", OVERVIEW, "after_retries"
    ),
    documented("payments.overdue", "an invoice that is sent falls overdue at its due date, and its subscription past_due", OVERVIEW),
    documented("payments.unpaid", "an unpaid subscription's invoices stay drafts", OVERVIEW),
    # lines
    documented("lines.usage", "a metered price has a line for the period that has ended, a licensed one for the one that begins", OF_SUBSCRIPTIONS),
    documented("lines.legacy", "usage records by the price's aggregate over the period", PRICES),
    documented("lines.carried", "usage records of the grace are on the old period's invoice, or if it is final in the new period", RECORDING),
    documented("lines.meter", "meter events stamped in the period count until its invoice is final", GRACE),
    documented("lines.negative", "a negative total is billed as a quantity of 0", METERED),
    documented(
        "lines.tiers", "tiers end at up_to, inclusive: graduated goes by tier, volume by the tier of the whole quantity; plus flat amounts", MODELS
    ),
    assumed("lines.tier_lines", "each graduated tier that is reached has a line of its own", "seen on invoices, nowhere described", "tier_lines"),
    assumed("lines.tier_flat", "a quantity of 0 owes the first tier's flat amount", "Stripe does not say", "tier_flat_at_zero"),
    documented("lines.packages", "transform_quantity divides the period's whole usage and rounds up or down", PRICES),
    assumed("lines.package_quantity", "the line of a package price shows the usage, not the packages", "Stripe does not say"),
    assumed("lines.rounding", "each line is rounded to the minor unit, halves away from zero", "Stripe does not say"),
    documented("lines.quantity", "quantity is the whole part of quantity_decimal", INVOICES),
    documented(
        "lines.zero_classic",
        "in classic billing mode a metered price has a line of nothing at the beginning, in flexible mode none",
        OF_SUBSCRIPTIONS,
    ),
    assumed("lines.backdated", "a backdated first period is charged by the second, as a longer one", "Stripe documents the total only"),
)
