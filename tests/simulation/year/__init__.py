"""A year of billing in virtual time: the product's fold, delivery and bindings on one side, the sandbox's Stripe on the other."""
