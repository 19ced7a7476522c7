"""The report worker on a real Kafka and the sandbox: faults, take-overs, restarts; at the end Stripe holds the latest totals."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from infra import kafka_io
from infra.embedded.testing import KafkaCluster
from infra.sandbox.testing import Sandbox, sandbox_server
from sinks.stripe.app import ReportSettings, ReportWorker
from tests.agents.delivery_broker import FAUST_LEAVES, bootstrap, cluster, remove_topics
from tests.agents.report_bench import Counted, OneFlow, all_delivered, batch_of, item_of, total_of, tp_of, until
from topics.bindings import ItemVersion
from topics.catalog import DEFINITIONS, RECEIPTS
from topics.codec import encode
from topics.definitions import definition_key
from topics.meters import BEGINNING_S
from topics.window_total import WindowTotal

__all__ = ["bootstrap", "cluster"]
pytestmark = FAUST_LEAVES

FAULTS = {"429": 0.05, "500": 0.05, "500_effect": 0.05, "503": 0.05, "lost": 0.1, "cut": 0.05}


@dataclass
class Stage:
    """Kafka, a sandbox with items, and the workers that come and go on one partition."""

    bootstrap: str
    sandbox: Sandbox
    items: dict[str, str]
    now_s: int
    source: list[WindowTotal] = field(default_factory=list)
    flow: OneFlow = field(default_factory=OneFlow)
    epoch: int = 0

    async def worker(self) -> ReportWorker:
        """A worker that takes the partition over and reads what is in the source."""
        self.epoch += 1
        flow = OneFlow({tp_of(): self.epoch}, self.flow.marked, {tp_of(): len(self.source)})
        settings = ReportSettings(bootstrap=self.bootstrap, api_base=self.sandbox.url, api_key=self.sandbox.key, calls_per_second=1000)
        worker = ReportWorker(settings, flow=flow, metrics=Counted())
        starts = await worker.start_offsets(frozenset({tp_of()}), self.epoch)
        await self.feed(worker, starts[tp_of()])
        return worker

    async def feed(self, worker: ReportWorker, start: int) -> None:
        """Hand over the source from an offset on."""
        await worker.take(batch_of(self.source[start:], start, worker._flow.epoch(tp_of())))

    def emit(self, customer: str, window: int, units: int) -> None:
        """A total of the window so many minutes ago."""
        self.source.append(total_of(customer, self.now_s // 60 * 60 - 60 * (window + 1), units, len(self.source)))

    async def bind(self, *customers: str) -> None:
        """Publish the items of these customers."""
        async with kafka_io.producer(self.bootstrap) as producer:
            for number, customer in enumerate(customers):
                item = item_of(self.items[customer], self.now_s - 86_400)
                version = ItemVersion(customer=customer, meter="calls", item=item, valid_from_s=BEGINNING_S, offset=number, digest="d")
                await producer.send_and_wait(DEFINITIONS, encode(version), key=definition_key(version), partition=0)

    async def standing(self) -> dict[tuple[str, int], int]:
        """What the sandbox holds, cell by cell."""
        return {(item, second): units for item in self.items.values() for second, units in (await self.sandbox.cells(item)).items()}

    def expected(self) -> dict[tuple[str, int], int]:
        """The latest total of each window."""
        latest = {total.window: int(total.quantity) for total in sorted(self.source, key=lambda total: total.revision)}
        return {(self.items[window.customer], window.start_s): units for window, units in latest.items()}

    async def calls(self, counter: str = "total") -> int:
        """A counter of the sandbox's: all calls it answered, or those that misused a key."""
        return int((await self.sandbox.control("calls"))[counter])


@asynccontextmanager
async def stage(bootstrap: str, directory: Path, *customers: str, **options: object) -> AsyncIterator[Stage]:
    """Fresh topics and a fresh sandbox, with an item for each customer (not yet bound)."""
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        await remove_topics(admin, (RECEIPTS, DEFINITIONS))
        await admin.create_topics([NewTopic(name, 1, 1, topic_configs={"cleanup.policy": "compact"}) for name in (RECEIPTS, DEFINITIONS)])
    finally:
        await admin.close()
    async with sandbox_server(directory / "sandbox", **options) as sandbox:  # type: ignore[arg-type]
        items = {customer: (await sandbox.metered_item())[2] for customer in customers}
        yield Stage(bootstrap, sandbox, items, int((await sandbox.control("clock"))["now"]))


async def test_windows_are_delivered_and_committed(bootstrap: str, tmp_path: Path) -> None:
    """Every window becomes its own cell, corrections replace it, the offset follows, and a new worker calls nobody again."""
    async with stage(bootstrap, tmp_path, "acme", "zen") as scene:
        await scene.bind("acme", "zen")
        for window in range(30):
            scene.emit("acme", window, window + 1)
            scene.emit("zen", window, window + 2)
        worker = await scene.worker()
        await all_delivered(worker)
        assert await scene.standing() == scene.expected()
        scene.emit("acme", 3, 1000)
        await scene.feed(worker, 60)
        await all_delivered(worker)
        await until(lambda: scene.flow.marked[tp_of()] == 61)
        await worker.stop()
        assert await scene.standing() == scene.expected()
        calls = await scene.calls()
        scene.flow.marked.clear()
        again = await scene.worker()
        await until(lambda: scene.flow.marked.get(tp_of()) == 61)
        assert again.status()["windows"] == {"delivered": 60, "undelivered": 0, "parked": 0, "unbound": 0}
        await again.stop()
        assert await scene.calls() == calls


async def test_faults_and_takeovers_end_exact(bootstrap: str, tmp_path: Path) -> None:
    """Under lost replies, failures and limits, with a successor that takes over while its predecessor goes on, Stripe ends exact (H22, H23, H27)."""
    chance = random.Random(5)
    async with stage(bootstrap, tmp_path, "acme", "zen", seed=5) as scene:
        await scene.bind("acme", "zen")
        await scene.sandbox.control("faults", {"seed": 5, "rates": FAULTS, "only": "usage_records"})
        workers = []
        for _ in range(4):
            for _ in range(40):
                scene.emit(chance.choice(("acme", "zen")), chance.randrange(20), chance.randrange(1000))
            workers.append(await scene.worker())
            await asyncio.sleep(chance.random())
        await scene.sandbox.control("faults", {"seed": 5, "rates": {}})
        await all_delivered(workers[-1], 120)
        for worker in workers:
            await worker.stop()
        assert await scene.standing() == scene.expected()
        assert await scene.calls("idempotency_errors") == 0


async def test_a_binding_that_comes_later_is_acted_upon(bootstrap: str, tmp_path: Path) -> None:
    """Usage of a customer without an item is shown as unbound and committed; once the binding is published it is delivered, without a restart."""
    async with stage(bootstrap, tmp_path, "acme") as scene:
        scene.emit("acme", 1, 7)
        worker = await scene.worker()
        await until(lambda: worker.status()["windows"]["unbound"] == 1)
        await until(lambda: scene.flow.marked.get(tp_of()) == 1)
        await scene.bind("acme")
        await until(lambda: worker.status()["windows"]["delivered"] == 1)
        await worker.stop()
        assert await scene.standing() == scene.expected()


async def test_kafka_gone_for_a_while_loses_nothing(cluster: KafkaCluster, tmp_path: Path) -> None:
    """The broker killed while deliveries are under way and started again: the worker reads its receipts anew and ends exact."""
    async with stage(cluster.bootstrap, tmp_path, "acme") as scene:
        await scene.bind("acme")
        for window in range(200):
            scene.emit("acme", window, window)
        worker = await scene.worker()
        await until(lambda: worker.status()["windows"]["delivered"] > 10)
        cluster.nodes[0].kill()
        await asyncio.sleep(1)
        cluster.nodes[0].start()
        await asyncio.to_thread(cluster.wait)
        await all_delivered(worker, 120)
        assert worker.halted is None
        await worker.stop()
        assert await scene.standing() == scene.expected()


async def test_an_unreadable_total_halts_and_says_where(bootstrap: str, tmp_path: Path) -> None:
    """A record of `usage.windows` that cannot be read stops the partition with its place; nothing is guessed."""
    async with stage(bootstrap, tmp_path, "acme") as scene:
        worker = await scene.worker()
        broken = batch_of([total_of("acme", 0, 1, 1)], 0, 1)
        await worker.take(type(broken)(**{name: getattr(broken, name) for name in broken.__slots__} | {"values": [b"{}"]}))
        assert worker.halted is not None and "usage.windows 0 offset 0" in worker.halted
        await worker.stop()


async def test_a_gap_between_batches_is_refused(bootstrap: str, tmp_path: Path) -> None:
    """A batch that does not begin where the last one ended is a defect of delivery: it is refused, not repaired (law 2)."""
    async with stage(bootstrap, tmp_path, "acme") as scene:
        worker = await scene.worker()
        await worker.take(batch_of([total_of("acme", 0, 1, 1)], 7, 1))
        assert worker.halted is not None and "expected 0" in worker.halted
        await worker.stop()


async def test_a_log_that_lost_totals_halts(bootstrap: str, tmp_path: Path) -> None:
    """Totals that retention removed before they were reported are named, and nothing goes on as if they had been."""
    async with stage(bootstrap, tmp_path, "acme") as scene:
        worker = await scene.worker()
        await worker.on_out_of_range(tp_of(), 5, 9, 20)
        assert worker.halted is not None and "5 to 8" in worker.halted
        await worker.stop()
