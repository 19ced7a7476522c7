"""Whether this machine has room for a stack, said in one sentence with a remedy before anything is started."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import psutil

from infra.preflight import measured_memory_bytes
from topics.errors import TidemarkError

MIB = 1024 * 1024

DISK_BYTES = 1024 * MIB
"""Kafka preallocates 10 MiB of index for every new segment of a partition and writes until the disk is full; a stack that starts with
less than 1 GiB would stop in the middle of somebody's events."""

SERVERS_MEMORY_BYTES = 1200 * MIB
"""Measured resident sizes at rest: broker 380, engine 300, sandbox 80, report 110, archive 130, receiver of webhooks 100, reconciliation 100 MiB."""

WORKER_MEMORY_BYTES = 120 * MIB
"""A meter process with an empty table."""


def shortage(directory: str, free_disk_bytes: int, available_memory_bytes: int, workers: int) -> str | None:
    """Why a stack with so many meter workers cannot start here, or None."""
    if free_disk_bytes < DISK_BYTES:
        return (
            f"{free_disk_bytes / MIB:.0f} MiB are free in {directory}, a stack needs at least {DISK_BYTES / MIB:.0f} MiB: "
            "free some, or name a directory on another disk with --dir"
        )
    needed = SERVERS_MEMORY_BYTES + workers * WORKER_MEMORY_BYTES
    if available_memory_bytes < needed:
        return (
            f"{available_memory_bytes / MIB:.0f} MiB of memory are available, a stack with {workers} meter workers needs "
            f"{needed / MIB:.0f} MiB: close other programs, or take fewer workers with --workers"
        )
    return None


def check_directory(directory: Path) -> None:
    """Makes the directory; raises a TidemarkError where it cannot be one that we write to."""
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise TidemarkError(f"the directory {directory} cannot be used ({error.strerror}): name another with --dir") from error
    if not os.access(directory, os.W_OK | os.X_OK):
        raise TidemarkError(f"the directory {directory} cannot be written: name another with --dir")


def check(directory: Path, workers: int) -> None:
    """Raises a TidemarkError where the disk under a directory or the memory is too small for a stack with so many meter workers."""
    available = psutil.virtual_memory().available
    limit = measured_memory_bytes()
    found = shortage(str(directory), shutil.disk_usage(directory).free, min(available, limit) if limit else available, workers)
    if found:
        raise TidemarkError(found)
