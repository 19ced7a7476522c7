"""The parts that are fuzzed, by name: each opens what it needs and yields a function of a seeded generator; what it returns names the way taken."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Final

from tests.fuzz import answers, events, files, records, sandboxed, stacked
from tests.fuzz.events import Case

PARTS: Final[dict[str, Callable[[], AbstractContextManager[Case]]]] = {
    "event": events.reading,
    "fold": events.folding,
    "control": events.controlling,
    "beginning": events.beginning,
    "record": records.storing,
    "rejected": records.rejecting,
    "changelog": records.recovering,
    "toml": files.configuring,
    "files": files.sending,
    "outcome": answers.deciding,
    "stripe": answers.reporting,
    "clickhouse": answers.archiving,
    "sandbox": sandboxed.engaging,
    "front": sandboxed.fronting,
    "stack": stacked.keeping,
    "engine": stacked.asking,
}
