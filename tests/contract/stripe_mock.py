"""stripe-mock: Stripe's own stateless server, which validates every request against the OpenAPI description that it was built with.

Built with `go install` into the cache that Kafka's jars live in, once for a version; started on free loopback ports and stopped by its pid.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from infra.embedded.jars import cache_dir

USAGE_RECORDS: Final = "v0.148.0"
"""Has usage records and `aggregate_usage`; v0.194.0 dropped them, and billing's meters come later still."""
METERS: Final = "v0.203.0"
"""Has Billing Meters and meter events, and no usage records."""
BUILD_S: Final = 300.0
"""A cold build takes a minute on two cores; a machine that needs five has no Go in any useful sense."""
START_S: Final = 30.0
"""It listens within a second; a machine under load gets half a minute."""
_LISTENING = re.compile(r"HTTP at address: (\S+)")


class NoStripeMock(Exception):
    """It cannot be built or started here; the message is the reason to skip with."""


@dataclass(frozen=True)
class StripeMock:
    """A running one; any test key is taken."""

    url: str
    version: str
    key: str = "sk_test_123"


def binary(version: str) -> Path:
    """The program of that version, built if it is not there. Raises NoStripeMock with the reason."""
    home = cache_dir() / f"stripe-mock-{version}"
    found = home / "stripe-mock"
    if found.exists():
        return found
    go = shutil.which("go")
    if go is None:
        raise NoStripeMock("stripe-mock is built with Go, and there is no `go` here")
    home.mkdir(parents=True, exist_ok=True)
    with (home / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if found.exists():
            return found
        environment = {**os.environ, "GOBIN": str(home / "building"), "GOFLAGS": ""}
        try:
            built = subprocess.run(
                [go, "install", f"github.com/stripe/stripe-mock@{version}"],
                cwd=home,
                env=environment,
                capture_output=True,
                text=True,
                timeout=BUILD_S,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise NoStripeMock(f"stripe-mock {version} was not built within {BUILD_S:.0f} s") from None
        if built.returncode != 0:
            raise NoStripeMock(f"stripe-mock {version} cannot be built: {built.stderr.strip().splitlines()[-1:]}")
        # Whole or not there: a build that is killed leaves no half program under the name that is looked for.
        (home / "building" / "stripe-mock").rename(found)
    return found


@contextmanager
def stripe_mock(version: str, log: Path) -> Iterator[StripeMock]:
    """One that runs inside the block. Raises NoStripeMock."""
    command = [str(binary(version)), "-http-addr", "127.0.0.1:0", "-https-addr", "127.0.0.1:0"]
    with log.open("w") as out:
        process = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT)
    try:
        yield StripeMock("http://" + _address(process, log), version)
    finally:
        process.kill()
        process.wait()


def _address(process: subprocess.Popen[bytes], log: Path) -> str:
    """Where it listens, as it says itself: no port is guessed that another process could take first."""
    until = time.monotonic() + START_S
    while time.monotonic() < until and process.poll() is None:
        said = _LISTENING.search(log.read_text())
        if said is not None:
            return said[1]
        time.sleep(0.05)
    raise NoStripeMock(f"stripe-mock did not start: {log.read_text()[-300:]}")
