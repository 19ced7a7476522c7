"""Contestant: Faust's windowed table as its documentation shows it: one agent, one event at a time, `table[customer] += units`."""

from __future__ import annotations

import json
import os
from datetime import timedelta
from typing import Any

import faust

app: Any = faust.App(
    os.environ.get("BENCH_GROUP", "bench-faust"),
    broker=f"kafka://{os.environ.get('BENCH_BOOTSTRAP', '127.0.0.1:9092')}",
    topic_partitions=4,
    topic_replication_factor=1,
    table_standby_replicas=0,
    broker_commit_interval=0.5,
    web_enabled=False,
    datadir=os.environ.get("BENCH_DIR", "bench-faust"),
)
topic = app.topic(os.environ.get("BENCH_TOPIC", "bench.faust"), value_type=bytes, value_serializer="raw")
sums = app.Table("sums", default=int, partitions=4).tumbling(timedelta(minutes=1), expires=timedelta(hours=1))


@app.agent(topic, name="stock")
async def count(stream: Any) -> None:
    """Sum units per customer and minute."""
    async for value in stream:
        event = json.loads(value)
        sums[event["subject"]] += event["data"]["n"]


if __name__ == "__main__":
    app.main()
