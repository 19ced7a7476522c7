"""Runs a module under a sampling profiler: `python -m tests.benchmarks.profiled FILE MODULE …`; FILE gets one line a place.

A thread looks every few milliseconds at where all other threads are. Calls into C (msgspec, numpy, sockets) count for the Python line that made
them. A place in which a thread waits for work is left out. It slows what it looks at by a few per cent, so its run gives no rates.
"""

from __future__ import annotations

import runpy
import sys
import threading
import time
from collections import Counter
from pathlib import Path
from types import FrameType

EVERY_S = 0.004
SAVE_S = 1.0
WAITING = {"select", "wait", "poll", "_worker", "run_forever"}
"""Functions whose innermost frame means that the thread waits."""
TOP = 30


def main() -> None:
    """Sample in a thread, run the module in this one; what was seen is kept on disk as it goes, since a worker is ended by a signal."""
    out, module, *arguments = sys.argv[1:]
    sampler = threading.Thread(target=sample, args=(Path(out),), daemon=True)
    sampler.start()
    sys.argv = [module, *arguments]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


def sample(out: Path) -> None:
    """Look again and again; write every second."""
    own: Counter[str] = Counter()
    under: Counter[str] = Counter()
    me, saved_s = threading.get_ident(), time.monotonic()
    while True:
        time.sleep(EVERY_S)
        for thread, frame in sys._current_frames().items():
            if thread != me and frame.f_code.co_name not in WAITING:
                look(frame, own, under)
        if time.monotonic() > saved_s + SAVE_S:
            out.write_text("\n".join(lines(own, under)))
            saved_s = time.monotonic()


def look(frame: FrameType, own: Counter[str], under: Counter[str]) -> None:
    """Count where a thread is, and every function that led there once."""
    own[place(frame)] += 1
    seen = set()
    at: FrameType | None = frame
    while at is not None:
        seen.add(place(at))
        at = at.f_back
    under.update(seen)


def place(frame: FrameType) -> str:
    """A function as file and name."""
    return f"{'/'.join(Path(frame.f_code.co_filename).parts[-2:])}:{frame.f_code.co_qualname}"


def lines(own: Counter[str], under: Counter[str]) -> list[str]:
    """The places with most samples of their own: share of their own, share with what they called, place."""
    total = sum(own.values()) or 1
    return [f"{count / total:6.1%} own  {under[name] / total:6.1%} with callees  {name}" for name, count in own.most_common(TOP)]


if __name__ == "__main__":
    main()
