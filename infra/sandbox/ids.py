"""Ids in Stripe's style."""

from __future__ import annotations

import os


def new_id(prefix: str) -> str:
    """Prefix and 24 characters, 88 bits of them random: a clash is not to be expected in any run."""
    return f"{prefix}_1{os.urandom(12).hex()[:23]}"
