"""Kafka's jars: from the cache without a network, never with a wrong sum, and one sentence where they cannot be had."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from infra.embedded import jars, ports
from infra.embedded.jars import Jar, JarsAltered, JarsUnavailable

FAKES = {"org.example:one:1.0": b"first", "org.example:two:2.0": b"second"}


def listed(contents: dict[str, bytes]) -> str:
    """A list of sums for jars with these contents."""
    return "".join(f"{hashlib.sha256(content).hexdigest()}  {name}\n" for name, content in contents.items())


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache and a list of two jars of our own, so that nothing is fetched from anywhere."""
    sums = tmp_path / "jars.sha256"
    sums.write_text("# a comment\n" + listed(FAKES))
    monkeypatch.setattr(jars, "SUMS_FILE", sums)
    monkeypatch.setenv("TIDEMARK_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def give(monkeypatch: pytest.MonkeyPatch, contents: dict[str, bytes]) -> list[str]:
    """A repository with these contents; the list of what was fetched from it."""
    fetched: list[str] = []

    def download(jar: Jar, work: Path) -> Path:
        work.mkdir(parents=True, exist_ok=True)
        fetched.append(jar.filename)
        (work / jar.filename).write_bytes(contents[f"{jar.group}:{jar.artifact}:{jar.version}"])
        return work / jar.filename

    monkeypatch.setattr(jars, "_download", download)
    return fetched


def test_jars_are_fetched_once(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first call fetches every jar and says so, the second neither fetches nor says anything."""
    fetched, said = give(monkeypatch, FAKES), list[str]()
    first = jars.class_path(said.append)
    assert sorted(fetched) == ["one-1.0.jar", "two-2.0.jar"]
    assert [Path(path).read_bytes() for path in first.split(os.pathsep)] == [b"first", b"second"]
    assert len(said) == 1
    assert jars.class_path(said.append) == first
    assert (len(fetched), len(said)) == (2, 1)
    assert Path(first.split(os.pathsep)[0]).is_relative_to(cache)


def test_a_damaged_jar_is_fetched_again(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A jar in the cache whose bytes changed is not used: it, and only it, is fetched again."""
    fetched = give(monkeypatch, FAKES)
    damaged = Path(jars.class_path().split(os.pathsep)[1])
    damaged.write_bytes(b"secanda")
    jars.class_path()
    assert fetched[2:] == ["two-2.0.jar"]
    assert damaged.read_bytes() == b"second"


def test_an_altered_download_is_never_used(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A download with another sum than the committed one stops everything and leaves no jar of that name behind."""
    give(monkeypatch, {**FAKES, "org.example:two:2.0": b"malice"})
    with pytest.raises(JarsAltered, match=r"two-2\.0\.jar"):
        jars.class_path()
    assert not list(cache.glob("kafka-*/two-2.0.jar"))


def test_two_processes_fetch_at_once_without_harm(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two callers at the same time fetch each jar once between them and get the same class path."""
    fetched, found = give(monkeypatch, FAKES), list[str]()
    threads = [threading.Thread(target=lambda: found.append(jars.class_path())) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(fetched) == ["one-1.0.jar", "two-2.0.jar"]
    assert found[0] == found[1]


def test_without_a_network_there_is_one_sentence(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A repository that cannot be reached is said in one sentence without its address, and counts as unreachable (exit 3)."""
    for name in ("HTTPS_PROXY", "https_proxy"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{ports.free_port()}")
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(JarsUnavailable) as failed:
        jars.class_path()
    assert failed.value.exit_code == 3
    assert "could not be downloaded" in str(failed.value)
    assert "http" not in str(failed.value).replace("HTTPS_PROXY", "")
    assert "\n" not in str(failed.value)


def test_the_cache_can_be_named(tmp_path: Path) -> None:
    """TIDEMARK_CACHE names the cache, else it is a folder of the user's cache."""
    script = "from infra.embedded.jars import cache_dir; print(cache_dir())"
    for environment, expected in (({"TIDEMARK_CACHE": str(tmp_path)}, tmp_path), ({"HOME": str(tmp_path)}, tmp_path / ".cache/tidemark")):
        done = subprocess.run([sys.executable, "-c", script], env={"PYTHONPATH": "."} | environment, capture_output=True, text=True, check=True)
        assert done.stdout.strip() == str(expected)
