"""The composition root: settings in, one Faust app with its parts out. Only here do streams, sinks and infra meet."""

from __future__ import annotations

import os
import socket
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from infra.clock import now_ms
from infra.delivery import install
from infra.delivery_raw import fetched
from infra.face import Kind, Work, group
from infra.faust_app import build_app
from infra.heap import give_back
from infra.id_blocks import FileBlocks
from infra.metrics import WorkerMetrics
from infra.settings import Settings
from topics.catalog import EVENTS

WAITING_BATCHES = 2
"""Batches between delivery and the agent: one being applied, one ready, so that fetching and counting overlap; more only holds memory."""


class Resource(Protocol):
    """Something that lives as long as the app: started before it, stopped after it."""

    async def start(self) -> None:
        """Open it, in the app's loop."""
        ...

    async def stop(self) -> None:
        """Close it."""
        ...


@dataclass(frozen=True)
class Wired:
    """One worker, ready to be served."""

    app: Any
    work: Work
    resources: tuple[Resource, ...] = ()


def worker_name(kind: Kind, settings: Settings) -> str:
    """The worker's name, which is also its static membership; without one, one worker of a kind per machine."""
    return settings.worker.name or f"{kind}-{socket.gethostname()}"


def faust_app(kind: Kind, settings: Settings) -> Any:
    """The Faust app of a kind of worker."""
    name = worker_name(kind, settings)
    scratch = Path(settings.worker.dir) if settings.worker.dir else Path(tempfile.mkdtemp(prefix=f"tidemark-{name}-"))
    return build_app(
        group(kind),
        bootstrap=settings.kafka.bootstrap,
        partitions=settings.kafka.partitions,
        instance_id=name,
        session_timeout_s=settings.worker.session_timeout_s,
        datadir=scratch,
    )


def wire_meter(settings: Settings, _metrics: WorkerMetrics) -> Wired:
    """usage.events → rows in usage.state → usage.windows (laws 0 to 11)."""
    from infra.log_reader import KafkaLogReader
    from infra.outbox import KafkaOutbox
    from streams.agents import register
    from streams.driver import Meter, MeterOptions
    from streams.marking import MARK_EVERY_MS
    from streams.table import state_table

    app = faust_app("meter", settings)
    flow = install(app, [EVENTS])
    table = state_table(app, settings.kafka.partitions)
    flow.skip_unchanged(table.stands)
    outbox = KafkaOutbox(settings.kafka.bootstrap, worker_name("meter", settings))
    meter = Meter(
        flow=flow,
        changelog=table,
        outbox=outbox,
        log_reader=KafkaLogReader(settings.kafka.bootstrap),
        options=MeterOptions(partitions=settings.kafka.partitions, mark_every_ms=None if settings.stripe.gate == "off" else MARK_EVERY_MS),
        now_ms=now_ms,
        random_bytes=os.urandom,
        keep=FileBlocks(Path(app.conf.datadir)),
        give_back=give_back,
    )
    batches = app.channel(maxsize=WAITING_BATCHES)
    flow.attach(meter, lambda batch: batches.put(value=batch))
    register(app, batches, meter)
    return Wired(app, meter, (outbox,))


def wire_report(settings: Settings, metrics: WorkerMetrics) -> Wired:
    """usage.windows → one call per cell and revision to Stripe, receipts in usage.receipts (laws 12 to 15)."""
    from sinks.stripe.agent import REPORT_TOPICS, register
    from sinks.stripe.app import ReportSettings, ReportWorker

    app = faust_app("report", settings)
    flow = install(app, REPORT_TOPICS)
    key = settings.stripe.api_key
    report = ReportWorker(
        ReportSettings(
            bootstrap=settings.kafka.bootstrap,
            api_base=settings.stripe.api_base,
            api_key=key.get_secret_value() if key is not None else "",
            calls_per_second=float(settings.stripe.calls_per_second),
            meter_calls_per_second=float(settings.stripe.meter_calls_per_second),
            live=settings.stripe.live,
            gate=settings.stripe.gate,
            partitions=settings.kafka.partitions,
        ),
        flow=flow,
        metrics=metrics,
    )
    batches = app.channel(maxsize=WAITING_BATCHES)
    flow.attach(report, lambda batch: batches.put(value=batch))
    register(app, batches, report)
    return Wired(app, report, (report,))


def wire_archive(settings: Settings, _metrics: WorkerMetrics) -> Wired:
    """Every topic of ours → ClickHouse (laws 18 and 19)."""
    from sinks.clickhouse.agent import register
    from sinks.clickhouse.app import ARCHIVE_TOPICS, ArchiveSettings, ArchiveWorker
    from sinks.clickhouse.client import Address, ClickHouse, ClickHouseStore
    from sinks.clickhouse.raw_log import KafkaRawLog

    app = faust_app("archive", settings)
    flow = install(app, ARCHIVE_TOPICS)
    where = settings.clickhouse
    password = where.password.get_secret_value() if where.password is not None else ""
    archive = ArchiveWorker(
        ArchiveSettings(url=where.url, user=where.user, password=password, database=where.database, bootstrap=settings.kafka.bootstrap),
        flow=flow,
        store=ClickHouseStore(ClickHouse(Address(url=where.url, user=where.user, password=password, database=where.database))),
        raw_log=KafkaRawLog(settings.kafka.bootstrap, fetched),
    )
    batches = app.channel(maxsize=WAITING_BATCHES)
    flow.attach(archive, lambda batch: batches.put(value=batch))
    register(app, batches, archive)
    return Wired(app, archive)


WIRINGS: Mapping[Kind, Callable[[Settings, WorkerMetrics], Wired]] = {
    "meter": wire_meter,
    "report": wire_report,
    "archive": wire_archive,
}
