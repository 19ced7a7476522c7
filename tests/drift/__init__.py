"""Honest books, drift of eleven kinds planted in them by seed, found by `reconcile` and repaired. `python -m tests.drift`."""
