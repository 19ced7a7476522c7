"""The name of an event type as a parameter: its form is checked, not whether Stripe has such a type, because new ones come every month."""

from __future__ import annotations

import re

from infra.sandbox import errors
from infra.sandbox.form import Raw

_TYPE = re.compile(r"\*|[a-z0-9_]+(?:\.[a-z0-9_]+)+|ping", re.ASCII)


class EventType:
    """`*` or dotted words."""

    def read(self, raw: Raw, name: str) -> str:
        """The type."""
        if not isinstance(raw, str) or len(raw) > 100 or _TYPE.fullmatch(raw) is None:
            raise errors.wrong_shape(name, "* or the name of an event type, such as invoice.paid")
        return raw
