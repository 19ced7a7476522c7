"""For the whole suite: hypothesis is imported before any test has run, and measures no time: on a busy machine any example may take long.

Its pytest plugin imports it in the summary, where pytest rewrites, and so parses, each of its files. On CPython up to 3.11.8 a garbage collection in
the middle of that parsing, which formats what a test left behind, ends the run with "AST constructor recursion depth mismatch" (gh-106905).

`make test` runs the suite in two processes (pytest-xdist). What needs real brokers and workers stays together in one of them, in its order: it waits
more than it computes, its folders share stacks, and two of them at once would be more than two cores have. All else goes to the other, by file.
"""

from __future__ import annotations

import os
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


COLLECTED, REPORTED = pytest.StashKey[set[str]](), pytest.StashKey[set[str]]()


class Reports:
    """Notes which tests have run, or failed before they could."""

    def __init__(self, reported: set[str]) -> None:
        self._reported = reported

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """One part of one test."""
        self._reported.add(report.nodeid)


def pytest_configure(config: pytest.Config) -> None:
    """Before any test."""
    config.stash[REPORTED] = set()
    config.pluginmanager.register(Reports(config.stash[REPORTED]))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_node_collection_finished(node: Any, ids: list[str]) -> None:
    """What there is to run, as each process has found it."""
    node.config.stash[COLLECTED] = set(ids)


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Where a process died, others that were to run in it did not: CI must not run again only what failed, and take that for all (`.ci/run`)."""
    stash = session.config.stash
    reported: set[str] = stash[REPORTED]
    left = stash[COLLECTED] - reported if COLLECTED in stash else set()
    if left and not session.shouldfail:
        session.exitstatus = pytest.ExitCode.INTERNAL_ERROR
        if "CI" in os.environ:
            session.config.cache.set("cache/lastfailed", {})
