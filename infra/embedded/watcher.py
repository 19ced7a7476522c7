"""`python -m infra.embedded.watcher RUN_DIR`: ends a stack's processes when its supervisor is gone, however it went.

For systems without Linux's parent-death signal. It knows by its standard input: the other end of that pipe is the supervisor's alone.
"""

from __future__ import annotations

import signal
import sys
from pathlib import Path

from infra.embedded import process


def main(directory: Path) -> int:
    """Waits for the supervisor's end, then ends what it wrote down; the exit code."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    sys.stdin.buffer.read()
    process.end_recorded(directory)
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
