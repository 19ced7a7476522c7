"""Stripe: pure requests and outcomes, one client, one transactional log of receipts, one agent."""
