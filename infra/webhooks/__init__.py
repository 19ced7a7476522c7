"""The webhook receiver: what Stripe says happened, as records in the log. It believes no payload: each object is read again before it counts."""
