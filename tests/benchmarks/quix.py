"""Contestant: Quix Streams' tumbling window sum as its documentation shows it: RocksDB state with its changelog, at least once.

Run by a Python of its own (`quix_home.py`), so it imports nothing of ours. Windows of a minute by the event's own time, open for a day, so that
a late event counts as it does in Tidemark; `final` and not `current`, which would hand on every intermediate sum for nobody to read.
"""

from __future__ import annotations

import logging
import os
from datetime import datetime, timedelta
from typing import Any

from quixstreams import Application


def main() -> None:
    """Sum until asked to end."""
    app = Application(
        broker_address=os.environ["BENCH_BOOTSTRAP"],
        consumer_group=os.environ["BENCH_GROUP"],
        state_dir=os.environ["BENCH_DIR"],
        auto_offset_reset="earliest",
        commit_interval=0.5,
        consumer_extra_config={"fetch.queue.backoff.ms": 5},
        loglevel="WARNING",
    )
    topic = app.topic(os.environ["BENCH_TOPIC"], key_deserializer="str", value_deserializer="json", timestamp_extractor=time_of)
    events = app.dataframe(topic)
    units = events.apply(lambda event: event["data"]["n"])
    units.tumbling_window(duration_ms=timedelta(minutes=1), grace_ms=timedelta(days=1), name="sums").sum().final()
    app.run()


def time_of(value: Any, headers: Any, timestamp_ms: float, kind: Any) -> int:
    """The event's own time in milliseconds."""
    return int(datetime.fromisoformat(value["time"]).timestamp() * 1000)


if __name__ == "__main__":
    logging.basicConfig(level=logging.WARNING)
    main()
