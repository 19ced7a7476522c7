"""A Stripe stand-in: Stripe's wire protocol and documented rules for what Tidemark calls, a settable clock, faults by seed.

The README in this folder says which file holds what; `rules.py` says where each rule comes from.
"""
