"""What this machine lacks for Tidemark, said all at once and before anything is downloaded.

Standard library only, and syntax that an old Python can read: its first duty is to tell such a Python that it is too old.
"""

from __future__ import annotations

import importlib.util
import os
import platform
import shutil
import sys
from pathlib import Path

OLDEST = (3, 11)
"""Below it the code does not parse (tomllib, ExceptionGroup, typing.Self)."""
NEWEST = (3, 14)
"""Above it the pinned aiokafka and chdb have no wheels, and no user should meet a compiler here."""

DISK_BYTES = 3 * 10**9
"""The environment takes 1.3 GB, pip's cache 0.4 GB, one demo 0.3 GB; below 3 GB a run may end in the middle of a write."""
MEMORY_BYTES = int(3.5 * 2**30)
"""A machine sold as 4 GB reports about 3.8 GiB; Kafka, the ClickHouse engine and four workers together take about 2.5 GB."""

PACKAGES_MB = 420
"""The wheels of infra/requirements/dev.txt on Linux x86-64, measured by `pip download`; half of it is the ClickHouse engine."""
KAFKA_MB = 45
"""Kafka's jars, which the first `up`, `demo` or `test` fetches and verifies."""


def python_fault(version: tuple[int, int]) -> str | None:
    """The sentence for a Python outside [OLDEST, NEWEST], or None."""
    if OLDEST <= version <= NEWEST:
        return None
    return (
        f"Python {version[0]}.{version[1]} ({sys.executable}) cannot run this: install one of 3.{OLDEST[1]} to 3.{NEWEST[1]} "
        "with its venv module, or name one: make env PYTHON=/path/to/python3.12"
    )


def venv_fault() -> str | None:
    """The sentence for a Python without venv or ensurepip (Debian and Ubuntu ship them apart), or None."""
    missing = [name for name in ("venv", "ensurepip") if importlib.util.find_spec(name) is None]
    if not missing:
        return None
    return f"Python's module {' and '.join(missing)} is missing: install it (Debian, Ubuntu: apt install python3-venv)"


def platform_fault(system: str, libc: str) -> str | None:
    """The sentence for a system without wheels, or None; `libc` is the first part of platform.libc_ver()."""
    if system == "Darwin" or (system == "Linux" and libc == "glibc"):
        return None
    if system == "Windows":
        return "Windows is served by WSL2: run make inside it"
    return f"{system} without glibc has no wheels of the ClickHouse engine: use a glibc Linux, macOS, or `docker compose up`"


def disk_fault(free_bytes: int, place: str) -> str | None:
    """The sentence for a disk with less than DISK_BYTES free, or None."""
    if free_bytes >= DISK_BYTES:
        return None
    return f"{free_bytes / 10**9:.1f} GB are free in {place}, {DISK_BYTES / 10**9:.0f} GB are needed"


def memory_fault(memory_bytes: int | None) -> str | None:
    """The sentence for less memory than MEMORY_BYTES, or None (also where the system does not say how much it has)."""
    if memory_bytes is None or memory_bytes >= MEMORY_BYTES:
        return None
    return f"{memory_bytes / 2**30:.1f} GB of memory, 4 GB are needed (Kafka, the ClickHouse engine and four workers run at once)"


def measured_memory_bytes() -> int | None:
    """Physical memory in bytes, or the container's limit where that is less; None where neither can be read."""
    sizes = []
    try:
        sizes.append(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    except (ValueError, OSError):
        return None
    for limit in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        try:
            text = Path(limit).read_text(encoding="ascii").strip()
        except OSError:
            continue
        if text.isdigit():
            sizes.append(int(text))
    return min(sizes)


def faults(root: Path) -> list[str]:
    """Every reason why this Python on this machine cannot build and run Tidemark in `root`; empty when all is well."""
    found = [
        python_fault((sys.version_info[0], sys.version_info[1])),
        venv_fault(),
        platform_fault(platform.system(), platform.libc_ver()[0]),
        disk_fault(shutil.disk_usage(str(root)).free, str(root)),
        memory_fault(measured_memory_bytes()),
    ]
    return [fault for fault in found if fault is not None]


def download_notice() -> str:
    """What the first build fetches, so that nobody on a train starts it unawares."""
    return f"first build: about {PACKAGES_MB} MB of Python packages now, {KAFKA_MB} MB of Kafka at the first `make demo` or `make test`"


def report(found: list[str]) -> str:
    """All faults as one message."""
    return "\n".join(["This machine is not ready for Tidemark:", *("  - " + fault for fault in found)])
