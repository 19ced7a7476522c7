"""For the whole suite: hypothesis is imported before any test has run, and measures no time: on a busy machine any example may take long.

Its pytest plugin imports it in the summary, where pytest rewrites, and so parses, each of its files. On CPython up to 3.11.8 a garbage collection in
the middle of that parsing, which formats what a test left behind, ends the run with "AST constructor recursion depth mismatch" (gh-106905).

`make test` runs the suite in two processes (pytest-xdist). What needs real brokers and workers stays together in one of them, in its order: it waits
more than it computes, its folders share stacks, and two of them at once would be more than two cores have. All else goes to the other, by file.
"""

from __future__ import annotations

from typing import Any

import hypothesis
import hypothesis.internal.observability
import pytest
from xdist.scheduler import LoadScopeScheduling

hypothesis.settings.register_profile("tidemark", deadline=None)
hypothesis.settings.load_profile("tidemark")

STACKED = ("tests/agents/", "tests/system/")
"""Folders whose tests start brokers and workers."""


class ByFile(LoadScopeScheduling):
    """Hands out whole files, the fullest first, and the STACKED folders as one."""

    def _split_scope(self, nodeid: str) -> str:
        return "stack" if nodeid.startswith(STACKED) else nodeid.partition("::")[0]


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> ByFile:
    """Which test goes to which process; asked only where there are several (`-n`)."""
    return ByFile(config, log)
