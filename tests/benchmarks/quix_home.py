"""Where the contestant Quix Streams lives: a virtual environment of its own in the cache folder, never a dependency of the product.

Its requirements are pinned by hash like ours. Where it cannot be installed (no network, a Python that it does not know) it is skipped.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
from pathlib import Path

from infra.embedded.jars import cache_dir

REQUIREMENTS = Path(__file__).with_name("quix_requirements.txt")
INSTALL_S = 300


class Skipped(Exception):
    """A contestant cannot run on this machine; its text says why."""


def quix_python() -> Path:
    """The Python that has Quix Streams; installs it at the first use. Raises Skipped."""
    home = cache_dir() / f"bench-quix-{hashlib.sha256(REQUIREMENTS.read_bytes() + sys.version.encode()).hexdigest()[:12]}"
    python = home / "bin" / "python"
    if (home / "complete").exists():
        return python
    shutil.rmtree(home, ignore_errors=True)
    steps = (
        [sys.executable, "-m", "venv", str(home)],
        [str(python), "-m", "pip", "install", "--quiet", "--only-binary", ":all:", "--require-hashes", "-r", str(REQUIREMENTS)],
    )
    for step in steps:
        try:
            done = subprocess.run(step, capture_output=True, text=True, timeout=INSTALL_S, check=False)
        except (OSError, subprocess.TimeoutExpired) as error:
            raise Skipped(f"Quix Streams could not be installed: {error}") from error
        if done.returncode:
            raise Skipped(f"Quix Streams could not be installed: {(done.stderr.strip().splitlines() or ['no reason given'])[-1]}")
    (home / "complete").touch()
    return python
