"""Parameters of a call: what each may hold, read from the form's tree into Python values, or refused as Stripe refuses them.

Validation happens before the idempotency layer, so nothing refused here is ever saved under a key.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from infra.sandbox import errors
from infra.sandbox.form import Raw, Tree

INT64_MAX = 2**63 - 1
"""Integers are 64-bit on the wire and in SQLite; a quantity above this is refused, never wrapped."""
_INTEGER = re.compile(r"[+-]?\d{1,40}")
_DECIMAL = re.compile(r"\d{1,20}(?:\.\d{1,12})?")


class Kind(Protocol):
    """One kind of value."""

    def read(self, raw: Raw, name: str) -> Any:
        """The value of `raw`; `name` is the full name (`items[0][price]`) for the refusal."""


@dataclass(frozen=True, slots=True)
class Param:
    """One parameter: its kind, whether it must be there, and whether an empty string unsets it (then None)."""

    kind: Kind
    required: bool = False
    unsets: bool = False


Spec = Mapping[str, Param]


def validate(spec: Spec, tree: Tree, prefix: str = "") -> dict[str, Any]:
    """The values of `tree` by `spec`: unknown names first, then missing ones, then each value; absent ones stay absent."""
    unknown = [_full(prefix, name) for name in tree if name not in spec]
    if unknown:
        raise errors.unknown_parameters(unknown)
    values: dict[str, Any] = {}
    for name, param in spec.items():
        raw = tree.get(name)
        full = _full(prefix, name)
        if raw is None:
            if param.required:
                raise errors.missing(full)
        elif raw == "":
            if not param.unsets:
                raise errors.empty(full)
            values[name] = None
        else:
            values[name] = param.kind.read(raw, full)
    return values


def _full(prefix: str, name: str) -> str:
    return f"{prefix}[{name}]" if prefix else name


def _text(raw: Raw, name: str) -> str:
    if not isinstance(raw, str):
        raise errors.wrong_shape(name, "a string")
    return raw


@dataclass(frozen=True, slots=True)
class String:
    """Text of at most `longest` characters."""

    longest: int = 5000

    def read(self, raw: Raw, name: str) -> str:
        """The text itself."""
        text = _text(raw, name)
        if len(text) > self.longest:
            raise errors.wrong_shape(name, f"at most {self.longest} characters")
        return text


@dataclass(frozen=True, slots=True)
class Integer:
    """A whole number within [least, most]; digits only: `1.0` and `1e3` are no integers."""

    least: int = -INT64_MAX
    most: int = INT64_MAX

    def read(self, raw: Raw, name: str) -> int:
        """The number."""
        text = _text(raw, name)
        if _INTEGER.fullmatch(text) is None:
            raise errors.not_integer(name, text[:80])
        number = int(text)
        if number < self.least:
            raise errors.out_of_range(name, f"This value must be greater than or equal to {self.least}.")
        if number > self.most:
            raise errors.out_of_range(name, f"This value must be less than or equal to {self.most}.")
        return number


@dataclass(frozen=True, slots=True)
class Decimal:
    """A decimal string with at most 12 places, non-negative unless it may be `negative`, kept as text: prices are never floats."""

    negative: bool = False

    def read(self, raw: Raw, name: str) -> str:
        """The text."""
        text = _text(raw, name)
        if _DECIMAL.fullmatch(text.removeprefix("-") if self.negative else text) is None:
            kind = "a decimal" if self.negative else "a non-negative decimal"
            raise errors.wrong_shape(name, f"{kind} with at most 12 places")
        return text


@dataclass(frozen=True, slots=True)
class Boolean:
    """`true` or `false`."""

    def read(self, raw: Raw, name: str) -> bool:
        """The truth value."""
        if not isinstance(raw, str) or raw not in {"true", "false"}:
            raise errors.wrong_shape(name, "true or false")
        return raw == "true"


@dataclass(frozen=True, slots=True)
class Timestamp:
    """Unix seconds; with `now` also the literal `now`, which is read as None: the endpoint asks the clock."""

    now: bool = False

    def read(self, raw: Raw, name: str) -> int | None:
        """The second, or None for `now`."""
        if raw == "now" and self.now:
            return None
        # Through 9999-12-31: a millisecond value is refused here, where it is easiest to understand.
        return Integer(0, 253_402_300_799).read(raw, name)


@dataclass(frozen=True, slots=True)
class UpTo:
    """The end of a tier: a whole number above 0, or `inf`, which is read as None."""

    def read(self, raw: Raw, name: str) -> int | None:
        """The last unit of the tier, or None."""
        return None if raw == "inf" else Integer(1).read(raw, name)


@dataclass(frozen=True, slots=True)
class Enum:
    """One of a few words."""

    words: tuple[str, ...]

    def read(self, raw: Raw, name: str) -> str:
        """The word."""
        if not isinstance(raw, str) or raw not in self.words:
            raise errors.wrong_shape(name, " or ".join(self.words))
        return raw


@dataclass(frozen=True, slots=True)
class Hash:
    """An object with its own parameters."""

    spec: Spec

    def read(self, raw: Raw, name: str) -> dict[str, Any]:
        """Its values."""
        if isinstance(raw, str):
            raise errors.wrong_shape(name, "an object")
        return validate(self.spec, raw, name)


@dataclass(frozen=True, slots=True)
class Array:
    """A list of one kind of value, at most `longest`; indices may have gaps, their order counts."""

    kind: Kind
    longest: int = 100

    def read(self, raw: Raw, name: str) -> list[Any]:
        """The values in index order."""
        if isinstance(raw, str) or not all(index.isdecimal() and len(index) < 10 for index in raw):
            raise errors.wrong_shape(name, "an array")
        if len(raw) > self.longest:
            raise errors.wrong_shape(name, f"an array of at most {self.longest} entries")
        return [self.kind.read(raw[index], f"{name}[{index}]") for index in sorted(raw, key=int)]


@dataclass(frozen=True, slots=True)
class Metadata:
    """At most 50 entries, keys of at most 40 and values of at most 500 characters; an empty value removes its key."""

    longest_key: int = 40
    longest_value: int = 500
    most: int = field(default=50)

    def read(self, raw: Raw, name: str) -> dict[str, str]:
        """The entries, empty ones included: the endpoint merges them."""
        if isinstance(raw, str):
            raise errors.wrong_shape(name, "an object")
        entries: dict[str, str] = {}
        for key, value in raw.items():
            if len(key) > self.longest_key:
                raise errors.wrong_shape(name, f"an object with keys of at most {self.longest_key} characters")
            entries[key] = String(self.longest_value).read(value, f"{name}[{key}]")
        if len(entries) > self.most:
            raise errors.wrong_shape(name, f"an object with at most {self.most} keys")
        return entries
