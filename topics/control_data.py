"""The `data` of a control record as a record of ours, or the sentence that says why it cannot be one."""

from __future__ import annotations

from typing import Any, TypeVar

import msgspec

from topics.codec import CONTROL_VERSION
from topics.quantity import Digits

T = TypeVar("T")


def read_data(data: Any, kind: type[T]) -> T | str:
    """`data` converted strictly; an unknown version or a wrong shape is said in one sentence."""
    if isinstance(data, dict) and data.get("v") != CONTROL_VERSION:
        return f"record version {data.get('v')!r} is unknown to this program (it knows {CONTROL_VERSION})"
    try:
        return msgspec.convert(_plain(data), kind, strict=True)
    except msgspec.ValidationError as error:
        return f"the record's data cannot be used: {error}"


def _plain(data: Any) -> Any:
    """Numbers with a fraction have no place in a control record: as text they fail the conversion with a clear sentence."""
    if isinstance(data, Digits):
        return str(data)
    if isinstance(data, dict):
        return {name: _plain(value) for name, value in data.items()}
    if isinstance(data, list):
        return [_plain(value) for value in data]
    return data
