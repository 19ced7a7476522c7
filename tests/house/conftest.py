"""For the house tests: nothing is collected while they parse.

On CPython up to 3.11.8 a collection in the middle of a parse that formats what an earlier test left behind ends it with "AST constructor recursion
depth mismatch" (gh-106905). What was left behind is collected before.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True)
def nothing_is_collected() -> Iterator[None]:
    """Collects once, and then not before the test's end."""
    gc.collect()
    was_enabled = gc.isenabled()
    gc.disable()
    yield
    if was_enabled:
        gc.enable()
