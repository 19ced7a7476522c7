"""A failed comparison in words: which line of it failed, and what is lost, doubled or different there."""

from __future__ import annotations

import linecache
from collections.abc import Mapping
from typing import Any

SHOWN = 12
"""Differences that are listed; the rest are counted."""


def in_words(error: BaseException) -> str:
    """The sentence of a failed comparison: its own text, or the failed line with the difference of what it compared."""
    text = str(error)
    place = error.__traceback__
    while place is not None and place.tb_next is not None:
        place = place.tb_next
    if place is None:
        return text or repr(error)
    code = place.tb_frame.f_code
    line = linecache.getline(code.co_filename, place.tb_lineno).strip()
    said = [f"{code.co_name}: {line}", text] if text else [f"{code.co_name}: {line}"]
    found = place.tb_frame.f_locals
    pairs = [(found.get(wanted), found.get(shown)) for wanted, shown in (("expected", "shown"), ("expected", "rows"), ("said", "line"))]
    for wanted, shown in pairs:
        if isinstance(wanted, Mapping) and isinstance(shown, Mapping):
            said += difference(wanted, shown)
    simple = {name: value for name, value in found.items() if isinstance(value, int | str | tuple) or name in {"stands", "line", "row", "where"}}
    return "\n  ".join([*said, f"there: {simple}"])[:6000]


def difference(expected: Mapping[Any, Any], shown: Mapping[Any, Any]) -> list[str]:
    """What stands in one mapping and not in the other."""
    lost = [key for key in expected if key not in shown]
    doubled = [key for key in shown if key not in expected]
    other = [key for key in expected if key in shown and expected[key] != shown[key]]
    said = [f"missing {len(lost)}, too many {len(doubled)}, different {len(other)}"]
    said += [f"missing: {key}: {expected[key]}" for key in lost[:SHOWN]]
    said += [f"too many: {key}: {shown[key]}" for key in doubled[:SHOWN]]
    said += [f"different: {key}: must be {expected[key]}, is {shown[key]}" for key in other[:SHOWN]]
    return said
