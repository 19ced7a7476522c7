"""What can be wrong inside delivery itself; each crashes the worker, which its supervisor starts again."""

from __future__ import annotations

from topics.errors import TidemarkError


class DeliveryBroken(TidemarkError):
    """Delivery found one of its own promises broken (or a library changed underneath it) and reads no further."""
