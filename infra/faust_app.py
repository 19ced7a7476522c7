"""The Faust app of a worker, and how it is run: every setting that money depends on, in one place.

First `build_app`, then `infra.delivery.install`, then the app's tables and agents, then `serve`, whose answer is the
process's exit code.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from pathlib import Path
from typing import Any, NoReturn

import faust
from mode.supervisors import CrashingSupervisor
from yarl import URL

from infra.delivery_log import say_outages_once

log = logging.getLogger(__name__)

MAX_REQUEST_BYTES = 2 * 1024 * 1024 + 64 * 1024
"""The largest record we write: `max.message.bytes` of usage.state and usage.rejected (2 MiB) and its framing. A larger
one must be refused by the broker, with its name, not here."""

PARTITION_FETCH_BYTES = 4 * 1024 * 1024
"""Per partition and fetch: at 135 bytes an event about one full batch (`delivery_columns.MAX_RECORDS`); 1 MiB is 10 % slower."""

PRODUCER_BATCH_BYTES = 256 * 1024
"""aiokafka's default of 16 KiB makes a request of every few verdicts; a packed changelog segment is larger anyway."""

LINGER_S = 0.005
"""How long the producer waits for more: awaited flushes pay it once each, and it halves the requests under load."""

COMMIT_INTERVAL_S = 0.5
"""The group's offset is advisory for the meter; for report and archive it bounds what a crash replays. It is also how soon the lag that others
see in the group follows what is durable; a commit is one small request, and none is made where nothing was marked since the last."""

MAX_POLL_INTERVAL_S = 1000.0
"""Faust's default. Lower values make a worker that was suspended longer than that hang for ever (facts/faust.md §4)."""

REBALANCE_TIMEOUT_S = 60.0
"""How long the broker waits for members to let go; must exceed delivery's 8 s + 5 s of flush and commit."""

LONGEST_HEARTBEAT_S = 3.0
"""Kafka's own default. A member hears by its next heartbeat that the group shares its partitions anew, and the others wait for it: a sixth of a
server's session time-out of 45 s would be 7.5 s of that."""

REQUEST_TIMEOUT_S = 90.0
"""Faust's default: after that a request counts as lost. Its recovery service ends silently when one of its steps takes
longer, so it is not lowered; an absent broker is noticed by the connection long before."""

METADATA_MAX_AGE_MS = 5_000
"""How old the consumer's list of topics may be. A group leader that joined while a broker was still starting may not know our topics yet
and assigns none of them (seen after a kill -9 of the broker): until it hears of them its group does nothing, after Kafka's default for five
minutes. A request of one kilobyte every five seconds is nothing to a broker."""

STOP_TIMEOUT_S = 30.0
"""How long a stop may take before the process ends anyway: revoke (8 s) + commit (5 s) + Faust's own shutdown."""


class TidemarkApp(faust.App):
    """A Faust app that lets go of its partitions before it stops: Faust itself would stop the agents first."""

    delivery: Any = None
    mundane_level = "debug"  # mode says "Starting..." and "Stopping..." for every service

    async def _stop_consumer(self) -> None:
        # A crashed app flushes nothing: what it holds may be ahead of its changelog, and replay is always exact.
        if self._consumer is not None and self.delivery is not None and not self.crashed:
            await self._consumer.let_go()
        await super()._stop_consumer()


def build_app(
    app_id: str,
    *,
    bootstrap: str,
    partitions: int,
    instance_id: str,
    session_timeout_s: float,
    datadir: Path,
    credentials: Any = None,
) -> faust.App:
    """A Faust app whose consumer group is `app_id`; `instance_id` is its static membership (1.4 s to take over again).

    `bootstrap` is `host:port[,host:port]`; `credentials` a `faust` credentials object for brokers that ask for one.
    """
    for noisy in ("faust", "mode"):
        logging.getLogger(noisy).setLevel(logging.WARNING)  # tables of offsets at every rebalance; delivery says what it reads
    datadir.mkdir(parents=True, exist_ok=True)  # Faust makes only the last folder and stops without its parent
    say_outages_once()
    return TidemarkApp(
        app_id,
        broker=[URL(f"kafka://{address.strip()}") for address in bootstrap.split(",")],
        broker_client_id=instance_id,
        broker_credentials=credentials,
        broker_session_timeout=session_timeout_s,
        broker_heartbeat_interval=min(session_timeout_s / 6, LONGEST_HEARTBEAT_S),
        broker_rebalance_timeout=REBALANCE_TIMEOUT_S,
        broker_request_timeout=REQUEST_TIMEOUT_S,
        broker_max_poll_interval=MAX_POLL_INTERVAL_S,
        broker_commit_interval=COMMIT_INTERVAL_S,
        consumer_group_instance_id=instance_id,
        consumer_auto_offset_reset="none",
        consumer_max_fetch_size=PARTITION_FETCH_BYTES,
        consumer_metadata_max_age_ms=METADATA_MAX_AGE_MS,
        producer_acks=-1,
        producer_compression_type=None,
        producer_linger=LINGER_S,
        producer_max_batch_size=PRODUCER_BATCH_BYTES,
        producer_max_request_size=MAX_REQUEST_BYTES,
        topic_partitions=partitions,
        topic_allow_declare=False,
        topic_disable_leader=True,
        table_standby_replicas=0,
        # Delivery has flushed and committed by then; Faust would wait for acks that nobody gives.
        stream_wait_empty=False,
        # An agent that raises has lost its batch: the worker ends and reads it again, it does not carry on after it.
        agent_supervisor=CrashingSupervisor,
        store="memory://",
        datadir=datadir,
        web_enabled=False,
        autodiscover=False,
    )


async def serve(app: faust.App, stop: asyncio.Event) -> int:
    """Run the app until `stop` is set (0) or it crashes (1). The answer is the process's exit code.

    After a crash Faust's threads may still be alive, so leave the process with `end_process`.
    """
    app.finalize()
    app.worker_init()
    starting = asyncio.ensure_future(app.start())
    try:
        while not (stop.is_set() or app.crashed or (starting.done() and starting.exception() is not None)):
            await asyncio.sleep(0.1)
    finally:
        crashed = app.crashed or (starting.done() and not starting.cancelled() and starting.exception() is not None)
        if crashed:
            reason = app.crash_reason if app.crashed else starting.exception()
            log.critical("%s crashed: %s: %s", app.conf.id, type(reason).__name__, reason)
        await _stop(app, starting)
    return 1 if crashed else 0


async def _stop(app: faust.App, starting: asyncio.Future[Any]) -> None:
    if not starting.done():
        starting.cancel()
    stopping = asyncio.ensure_future(app.stop())
    await asyncio.wait({stopping}, timeout=STOP_TIMEOUT_S)
    if not stopping.done():
        log.warning("%s did not stop within %s s and is left behind", app.conf.id, STOP_TIMEOUT_S)
        stopping.cancel()
    elif error := stopping.exception():
        log.warning("%s: while stopping: %r", app.conf.id, error)


def end_process(code: int) -> NoReturn:
    """Leave the process with `code` at once, whatever threads are left; everything durable is durable by now."""
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
