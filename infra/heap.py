"""Gives back to the system what the allocator keeps free, after work that held far more than what is left of it: a recovery.

glibc keeps a freed block wherever a block in use lies above it, so the changelog's records, gigabytes that were read once, would stay with the worker
for as long as it lives. `malloc_trim` lets go of every page between. Other systems have no such call and no such need is known there.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from functools import cache


@cache
def _trim() -> Callable[[int], int] | None:
    """glibc's call; None where the C library has none (musl, macOS) or cannot be asked."""
    try:
        found = ctypes.CDLL(None).malloc_trim
    except (OSError, AttributeError, TypeError):
        return None
    found.argtypes, found.restype = [ctypes.c_size_t], ctypes.c_int
    return found


def give_back() -> None:
    """Some milliseconds a gigabyte, so the caller just waits for it. Does nothing where the system has no such call."""
    trim = _trim()
    if trim is not None:
        trim(0)
