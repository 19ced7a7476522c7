"""Old digests of remembered ids in unnamed local files, so that they cost page cache, which the system may take back, and no memory.

A file has no name from its first byte on: no other worker can open it, nothing has to be tidied up at a start or a revoke, and the system frees
its disk when the block is let go or the process dies. What lies in it can be read again from the changelog, so it is never synced.
"""

from __future__ import annotations

import logging
import mmap
import tempfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

log = logging.getLogger(__name__)


class FileBlocks:
    """Holds blocks in files under `directory`; where that fails (a full disk), in memory, and says so once."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._failed = False

    def __call__(self, block: NDArray[np.uint64]) -> NDArray[np.uint64]:
        """The same digests, read-only, backed by a file of their own.

        1. the file is made, written and mapped; 2. its descriptor is closed, the mapping alone holds it. A crash at any point leaves nothing.
        The block is written whole before it is mapped, so a full disk is an error here and never a bus error when a page is touched.
        """
        try:
            return self._in_file(block)
        except OSError as error:
            if not self._failed:
                log.warning("remembered ids stay in memory, 16 bytes each: no file of %s bytes in %s: %s", block.nbytes, self._directory, error)
            self._failed = True
            return block

    def _in_file(self, block: NDArray[np.uint64]) -> NDArray[np.uint64]:
        self._directory.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=self._directory, buffering=0) as file:
            left = memoryview(block.reshape(-1).view(np.uint8).data)
            while left:
                left = left[file.write(left) :]
            mapped = mmap.mmap(file.fileno(), block.nbytes, access=mmap.ACCESS_READ)
        return np.frombuffer(mapped, np.uint64).reshape(block.shape)
