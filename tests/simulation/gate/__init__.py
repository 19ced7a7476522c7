"""An outage over a period's edge in virtual time: the product's meter, report and invoice gate on one side, the sandbox's Stripe on the other."""
