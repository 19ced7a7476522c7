"""A Stripe stand-in: Stripe's wire protocol and documented rules for what Tidemark calls, a settable clock, faults by seed.

Pure rules: `rules`, `knobs`, `form`, `params`, `specs`, `versions`, `periods`, `usage`, `idempotency`, `limiter`, `faults`, `shapes`, `resources`.
Shell: `store` (SQLite), `engine` (order of the rules), `server` (HTTP), `control` (`/_sandbox/...`), `serve` (a process).
"""
