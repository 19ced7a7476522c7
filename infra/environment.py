"""Builds `.venv` from the pinned requirements, once; `make env` runs it, and every other target through it.

Standard library only and old syntax, like preflight.py: it runs before anything is installed, under whatever `python3` is.

Side effects, in order, and what a crash after each costs:
1. `.venv` is created: the next run finds no stamp, and goes on with the half-made folder;
2. pip installs, and what is compiled is compiled: as above, both skip what is there;
3. the stamp is written: done, the next run reads two small files and returns.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import subprocess
import sys
from pathlib import Path

from infra import preflight

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
REQUIREMENTS = ROOT / "infra" / "requirements" / "dev.txt"
STAMP = VENV / ".tidemark-environment"


def key() -> str:
    """What the environment depends on, as one hash: the pins, the project's metadata, and where it stands (a venv cannot be moved)."""
    digest = hashlib.sha256(str(VENV).encode())
    for path in (REQUIREMENTS, ROOT / "pyproject.toml"):
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def is_current() -> bool:
    """Whether `.venv` was built to its end from exactly these files and its Python still starts."""
    python = VENV / "bin" / "python"
    return STAMP.is_file() and STAMP.read_text(encoding="ascii") == key() and python.exists()


def has_usable_python() -> bool:
    """Whether `.venv` already holds a Python that we can install into; one whose Python is gone or out of range is built anew."""
    python = VENV / "bin" / "python"
    if not python.exists():
        return False
    code = f"import sys, pip; sys.exit(not {preflight.OLDEST} <= sys.version_info[:2] <= {preflight.NEWEST})"
    return subprocess.run([str(python), "-c", code], stderr=subprocess.DEVNULL, check=False).returncode == 0


def build() -> int:
    """Makes `.venv` as the pins say; returns 0, 2 for a machine that cannot run it, 3 for a pip that could not fetch."""
    found = preflight.faults(ROOT)
    if found:
        print(preflight.report(found), file=sys.stderr)
        return 2
    print(preflight.download_notice(), flush=True)
    # A user's `user = true` in pip's configuration is meant for outside of venvs, where alone it can work; all else of it holds.
    environment = dict(os.environ, PIP_USER="0", PIP_DISABLE_PIP_VERSION_CHECK="1")
    python = str(VENV / "bin" / "python")
    pip = [python, "-m", "pip", "install", "--quiet"]
    steps = [
        [*pip, "--require-hashes", "-r", str(REQUIREMENTS)],
        [*pip, "--no-deps", "--no-build-isolation", "-e", str(ROOT)],
        [python, "-m", "infra.kernels"],
    ]
    if not has_usable_python():
        steps.insert(0, [sys.executable, "-m", "venv", "--clear", str(VENV)])
    for step in steps:
        if subprocess.run(step, cwd=str(ROOT), env=environment, check=False).returncode != 0:
            print("the environment is not complete; this step failed, run it again:\n  " + " ".join(step), file=sys.stderr)
            return 3
    STAMP.write_text(key(), encoding="ascii")
    print("ready: .venv/bin/tidemark --help")
    return 0


def main() -> int:
    """Builds unless current; a second make beside this one waits for the first."""
    if is_current():
        return 0
    # The lock stands beside the folder, which `venv --clear` empties.
    with (ROOT / ".venv.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        return 0 if is_current() else build()


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit("stopped: what is fetched is kept, run it again")
