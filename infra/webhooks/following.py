"""Errands by the configuration as it is now: customers and prices that came into the file since the receiver was started count from the next
webhook on, and what the file says explicitly wins at once, as it does for `apply`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from infra.webhooks.errands import Errand
from infra.webhooks.notification import Notification
from topics.errors import ConfigurationFault

if TYPE_CHECKING:
    from infra.settings import Settings
    from infra.webhooks.runner import Outcome, Runner

log = logging.getLogger(__name__)


class Stamp(NamedTuple):
    """What tells a written file from what it was: nanoseconds, bytes, and which file stands there."""

    changed_ns: int
    size: int
    inode: int


class Following:
    """Runs errands as the newest valid configuration has them."""

    def __init__(self, settings: Settings, load: Callable[[], Settings], make: Callable[[Settings], Runner]) -> None:
        """`settings` are those of the start; `load` reads them anew; `make` connects them to account and log."""
        self._source = settings.source
        self._load, self._make = load, make
        self._seen = stamp_of(self._source)
        self._runner = make(settings)

    async def run(self, errand: Errand, said: Notification) -> Outcome:
        """As Runner.run."""
        return await self.current().run(errand, said)

    def current(self) -> Runner:
        """The runner of the newest configuration. One that has a fault changes nothing: it is logged once, and the last good one goes on."""
        seen = stamp_of(self._source)
        if seen is not None and seen != self._seen:
            self._seen = seen
            try:
                self._runner = self._make(self._load())
            except ConfigurationFault as fault:
                log.warning("the configuration has changed and is not taken: %s", fault)
            else:
                log.info("the configuration has changed and is taken")
        return self._runner


def stamp_of(path: Path | None) -> Stamp | None:
    """None where there is no file, or just now none: an editor may put another in its place."""
    try:
        found = path.stat() if path is not None else None
    except OSError:
        return None
    return None if found is None else Stamp(found.st_mtime_ns, found.st_size, found.st_ino)
