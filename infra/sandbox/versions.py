"""API versions: `YYYY-MM-DD` or `YYYY-MM-DD.name`, ordered by their date.

The border that matters most here is 2025-03-31.basil, which removed usage records and moved a subscription's period to its items
(https://docs.stripe.com/changelog/basil/2025-03-31/deprecate-legacy-usage-based-billing).
"""

from __future__ import annotations

import re

from infra.sandbox import errors

ACACIA = "2024-09-30"
BASIL = "2025-03-31"
FLEXIBLE = "2025-06-30"
CLOVER = "2025-09-30"
DAHLIA = "2026-04-22"
_FORM = re.compile(r"\d{4}-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12]\d|3[01])(?:\.[a-z][a-z0-9_]*)?")


def checked(version: str) -> str:
    """`version` if it has the form of one, else ApiError 400. That such a version was really published is not checked."""
    if _FORM.fullmatch(version) is None:
        raise errors.bad_version(version[:40])
    return version


def is_basil(version: str) -> bool:
    """Whether the version is 2025-03-31.basil or newer: no usage records, periods on the items."""
    return version[:10] >= BASIL


def is_named(version: str) -> bool:
    """Whether the version has a name (2024-09-30.acacia or newer)."""
    return version[:10] >= ACACIA


def is_flexible(version: str) -> bool:
    """Whether the version is 2025-06-30.basil or newer: subscriptions have a billing mode."""
    return version[:10] >= FLEXIBLE


def is_clover(version: str) -> bool:
    """Whether the version is 2025-09-30.clover or newer: new subscriptions are in flexible billing mode unless they say classic."""
    return version[:10] >= CLOVER


def is_dahlia(version: str) -> bool:
    """Whether the version is 2026-04-22.dahlia or newer: a meter event's value with too many digits is refused in the call."""
    return version[:10] >= DAHLIA
