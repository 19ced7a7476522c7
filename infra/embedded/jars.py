"""Kafka's jars: fetched once by jgo into a per-user cache, and used only where their SHA-256 sums are the committed ones.

The list of sums is also the list of what is fetched, so nothing that a repository's metadata says today can change what runs.
Verifying all jars takes 40 ms; it is done at every start, so there is no stamp that could be wrong.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from topics.errors import TidemarkError, Unreachable

SUMS_FILE = Path(__file__).with_name("kafka_jars.sha256")

BROKER = "org.apache.kafka:kafka_2.13:4.1.1"
"""What the list was resolved from."""

LOG_BINDING = "org.apache.logging.log4j:log4j-slf4j-impl:2.24.3"
"""Without it the broker logs nothing, and one that fails must say why. Added by itself: resolved together with the broker,
its parent's managed versions would replace kafka-clients by one of another release."""

FETCHERS = 8
"""Downloads at once: 46 files of mostly a few 100 kB are bound by round trips, and eight connections are polite to a mirror."""

FETCH_TIMEOUT_S = 60
"""Silence on one connection after which a download is given up: slow lines pause for seconds, never for a minute."""


class JarsUnavailable(Unreachable):
    """Kafka's jars are not in the cache and could not be fetched."""


class JarsAltered(TidemarkError):
    """A downloaded jar is not the one whose sum is committed."""


@dataclass(frozen=True)
class Jar:
    """One jar that the broker needs: Maven coordinates and the SHA-256 of its bytes, in hex."""

    group: str
    artifact: str
    version: str
    sha256: str

    @property
    def filename(self) -> str:
        """The jar's name in a class path."""
        return f"{self.artifact}-{self.version}.jar"


def parse_sums(text: str) -> tuple[Jar, ...]:
    """The jars of a list of lines `<sha256>  <group>:<artifact>:<version>`; `#` starts a comment line."""
    jars = []
    for line in text.splitlines():
        if not line.strip() or line.startswith("#"):
            continue
        sha256, coordinates = line.split()
        group, artifact, version = coordinates.split(":")
        jars.append(Jar(group, artifact, version, sha256))
    return tuple(jars)


def cache_dir() -> Path:
    """Where downloads are kept for this user: TIDEMARK_CACHE, else the platform's cache folder."""
    named = os.environ.get("TIDEMARK_CACHE")
    if named:
        return Path(named).expanduser().absolute()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache").absolute() / "tidemark"


def class_path(tell: Callable[[str], None] = lambda _: None, sums: Path | None = None) -> str:
    """Java's class path of a Kafka broker (or of another list of `sums`); fetches what the cache lacks, and says so to `tell`, one sentence at
    a time.

    Raises JarsUnavailable (nothing to fetch from) or JarsAltered (a wrong sum). Two processes may call it at once.
    """
    text = (sums or SUMS_FILE).read_text(encoding="ascii")
    jars = parse_sums(text)
    home = cache_dir() / f"kafka-{hashlib.sha256(text.encode()).hexdigest()[:12]}"
    if _missing(jars, home):
        with _locked(home):
            # Another process may have fetched them while this one waited for the lock.
            missing = _missing(jars, home)
            if missing:
                size = "" if sums else "45 MB in all, "
                tell(f"fetching {len(missing)} of Kafka's {len(jars)} jars ({size}once per user)")
                _fetch(missing, home)
    return os.pathsep.join(str(home / jar.filename) for jar in jars)


def _missing(jars: tuple[Jar, ...], home: Path) -> list[Jar]:
    """The jars that are not in `home` with the right sum."""
    return [jar for jar in jars if _sum(home / jar.filename) != jar.sha256]


def _sum(path: Path) -> str | None:
    """SHA-256 of a file in hex, or None where there is no such file."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError:
        return None


@contextmanager
def _locked(home: Path) -> Iterator[None]:
    """Holds the cache folder for this process; the kernel lets go of it whatever becomes of us."""
    try:
        home.mkdir(parents=True, exist_ok=True)
        with (home / ".lock").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield
    except (PermissionError, FileExistsError, NotADirectoryError) as error:
        raise TidemarkError(f"the cache folder {home} cannot be used ({error.strerror}): name another with TIDEMARK_CACHE") from error


def _fetch(jars: list[Jar], home: Path) -> None:
    """Downloads jars into `home`.

    Side effects, in order, and what a crash after each costs:
    1. an unfinished download folder of a killed process is removed: nothing;
    2. a jar is downloaded beside its place: that download again;
    3. its sum is compared and it is moved into its place: nothing, the next run finds it there and verifies it.
    """
    work = home / ".downloads"
    shutil.rmtree(work, ignore_errors=True)
    with ThreadPoolExecutor(FETCHERS) as pool:
        for jar, fetched in zip(jars, pool.map(lambda jar: _download(jar, work), jars), strict=True):
            if _sum(fetched) != jar.sha256:
                raise JarsAltered(
                    f"the downloaded {jar.filename} is not the one that Tidemark was built with (its SHA-256 differs): "
                    "a mirror or proxy altered it; nothing of it was run"
                )
            fetched.replace(home / jar.filename)
    shutil.rmtree(work, ignore_errors=True)


def _download(jar: Jar, work: Path) -> Path:
    """One jar as jgo fetches it from the repositories that it is configured for."""
    import requests
    from jgo.maven import MavenContext

    context = MavenContext(repo_cache=work, local_repos=[], timeout=FETCH_TIMEOUT_S)
    artifact = context.project(jar.group, jar.artifact).at_version(jar.version).artifact()
    try:
        return Path(artifact.resolve())
    except (requests.RequestException, RuntimeError, OSError) as error:
        raise JarsUnavailable(
            f"Kafka's jars could not be downloaded ({jar.filename}: {type(error).__name__}): "
            "connect to the network (or set HTTPS_PROXY) and run the same command again; what was fetched is kept"
        ) from error


def resolve_sums() -> str:
    """The text of a new list of sums for BROKER and LOG_BINDING, as jgo resolves them now; for whoever upgrades Kafka."""
    import tempfile

    import jgo

    resolved = [f"{found.groupId}:{found.artifactId}:{found.version}" for found in jgo.resolve(BROKER)]
    lines = []
    with tempfile.TemporaryDirectory() as work:
        for coordinates in sorted({*resolved, LOG_BINDING}):
            group, artifact, version = coordinates.split(":")
            fetched = _download(Jar(group, artifact, version, ""), Path(work))
            lines.append(f"{_sum(fetched)}  {coordinates}")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.stdout.write(resolve_sums())
