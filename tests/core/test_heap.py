"""The allocator's free memory goes back to the system where the C library has a call for it, and nothing happens where it has none."""

from __future__ import annotations

import ctypes

import numpy as np
import psutil
import pytest

from infra import heap


def test_free_memory_below_memory_in_use_goes_back() -> None:
    """Of many blocks every other one is freed: what they took is the system's again, and the rest is as it was."""
    if heap._trim() is None:
        pytest.skip("the C library has no malloc_trim")
    blocks = [np.full(64 * 1024, number % 251, np.uint8) for number in range(2000)]
    del blocks[::2]
    before = psutil.Process().memory_info().rss
    heap.give_back()
    assert before - psutil.Process().memory_info().rss > 16_000_000
    assert all((block == (2 * at + 1) % 251).all() for at, block in enumerate(blocks))


@pytest.mark.parametrize("fault", [OSError("no such library"), AttributeError("malloc_trim"), TypeError("None is no name")])
def test_a_library_without_the_call_is_left_alone(monkeypatch: pytest.MonkeyPatch, fault: Exception) -> None:
    """On musl, macOS or wherever the library cannot be asked, giving back does nothing."""

    def refuse(_name: str | None) -> ctypes.CDLL:
        raise fault

    heap._trim.cache_clear()
    monkeypatch.setattr(ctypes, "CDLL", refuse)
    heap.give_back()
    assert heap._trim() is None
    heap._trim.cache_clear()
