"""The rules of billing: test clocks, what time does to subscriptions, invoices and their lines, invoice items, credit notes."""

from __future__ import annotations

from infra.sandbox.rule import Rule, assumed, documented
from infra.sandbox.rules_credits import CREDIT_RULES
from infra.sandbox.rules_invoices import INVOICE_RULES
from infra.sandbox.rules_subscriptions import SUBSCRIPTION_RULES

CLOCKS = "https://docs.stripe.com/billing/testing/test-clocks"
ADVANCE = "https://docs.stripe.com/api/test_clocks/advance"

_CLOCKS = (
    documented("clocks.customers", "a customer is put on a test clock when it is created; at most three on one", CLOCKS, "clock_customers"),
    documented("clocks.subscriptions", "at most three subscriptions of one customer on a clock", CLOCKS, "clock_subscriptions"),
    documented("clocks.time", "a customer's subscriptions and invoices live in the frozen time of its clock", CLOCKS),
    documented("clocks.lists", "lists of customers and subscriptions leave out those on a clock unless it (or the customer) is asked for", ADVANCE),
    assumed("clocks.lists_others", "lists of invoices and invoice items leave them out likewise", "as customers and subscriptions"),
    documented("clocks.forward", "a clock is only advanced forward; the words are ours", ADVANCE),
    documented("clocks.ahead", "at most two intervals of its shortest subscription, two years without one; the words are ours", ADVANCE),
    documented("clocks.advance", "an advance answers advancing; the clock is ready when everything in between has happened", ADVANCE),
    assumed("clocks.advance_time", "it begins with the next call or the next quarter second", "Stripe names no time", "clock_advance_s"),
    assumed("clocks.underway", "a clock that is not ready cannot be advanced", "wording ours"),
    documented("clocks.delete", "with a clock its customers and everything of theirs are deleted", "https://docs.stripe.com/api/test_clocks/delete"),
    assumed("clocks.kept", "a clock says that it is deleted after 30 days, but the sandbox keeps it", "stripe/stripe-python#789"),
)

BILLING_RULES: tuple[Rule, ...] = (*_CLOCKS, *SUBSCRIPTION_RULES, *INVOICE_RULES, *CREDIT_RULES)
