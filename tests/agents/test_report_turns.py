"""Whose call is next, in the shell: four partitions share an account's limit on an event loop whose time is a number."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Callable, Coroutine, Iterable
from typing import Any

import pytest

from sinks.outcomes import Answer
from sinks.stripe.app import ReportSettings, ReportWorker
from tests.agents.report_bench import Counted, OneFlow, batch_of, total_of
from tests.agents.test_report_review_driver import Broker, FakeLog, FakeProvider
from tests.core.report_rush import Allowance
from tests.simulation.kernel import EPOCH_S, Kernel
from topics.bindings import Item, ItemVersion
from topics.catalog import DEFINITIONS, WINDOWS
from topics.meters import BEGINNING_S
from topics.receipt import Receipt

PARTITIONS = 4
DAY_S = 86_400
WRITE_S = 0.025


class SlowLog(FakeLog):
    """A transaction takes as long as on a broker."""

    async def write(self, records: Iterable[tuple[bytes, Receipt]]) -> None:
        """See Log."""
        await asyncio.sleep(WRITE_S)
        await super().write(records)

    async def new_definitions(self) -> list[Any]:
        """None come any more."""
        await asyncio.sleep(5)
        return []


class SlowProvider(FakeProvider):
    """Allows so many calls a second, and takes its time."""

    def __init__(self, kernel: Kernel, rate: float, answer_s: tuple[float, float]) -> None:
        super().__init__()
        self.kernel, self.answer_s = kernel, answer_s
        self.allowance = Allowance(rate)
        self.allowance.at_ms = kernel.now_ms()
        self.calls: list[tuple[float, str]] = []
        self.asked: list[float] = []

    def simulate(self, func: Callable[..., Any], args: tuple[Any, ...]) -> Coroutine[Any, Any, Any] | None:
        """What `Kernel.executor` is."""
        return self.slowly(*args) if getattr(func, "__name__", "") == "report" else None

    async def slowly(self, path: str, body: str, key: str, may_send: Callable[[], bool]) -> Answer:
        """One call."""
        self.calls.append((self.kernel.now_s, path.split("/")[3]))
        await asyncio.sleep(self.kernel.chance.uniform(0.001, 0.02))
        taken = self.allowance.takes(self.kernel.now_ms())
        answer = self.report(path, body, key, may_send)
        await asyncio.sleep(self.kernel.chance.uniform(*self.answer_s))
        refusal = {"type": "invalid_request_error", "code": "rate_limit", "message": "slow down"}
        return answer if taken else Answer(429, json.dumps({"error": refusal}))


def rush(seed: int, answer_s: tuple[float, float], *, of: int, cells: int, rate: int = 100, gate: bool = False) -> SlowProvider:
    """`cells` due cells in each of four partitions (of so many), delivered; partition 3 has the nearest finality, then 2, 1, 0."""
    kernel = Kernel(random.Random(seed))  # type: ignore[abstract]
    provider = SlowProvider(kernel, rate, answer_s)
    kernel.executor = provider.simulate
    kernel.run(_deliver(kernel, provider, of, cells, rate, gate=gate))
    assert kernel.errors == []
    return provider


async def _deliver(kernel: Kernel, provider: SlowProvider, of: int, cells: int, rate: int, *, gate: bool) -> None:
    brokers = {partition: Broker() for partition in range(PARTITIONS)}
    flow = OneFlow({(WINDOWS, partition): 1 for partition in brokers})
    settings = ReportSettings(bootstrap="-", api_base="http://-", api_key="sk_" + "test_x", calls_per_second=rate, partitions=of)
    worker = ReportWorker(
        settings, flow=flow, metrics=Counted(), provider=provider, open_log=lambda partition: SlowLog(brokers[partition]), now_ms=kernel.now_ms
    )
    for partition, broker in brokers.items():
        anchor_s = EPOCH_S - 5 * (1 + partition) * DAY_S
        for number in range(cells):
            name = f"{partition}_{number}"
            item = Item(meter="calls", item=f"si_{name}", subscription="sub_1", period_anchor_s=anchor_s)
            broker.definitions.append(ItemVersion(customer=f"c{name}", meter="calls", item=item, valid_from_s=BEGINNING_S, offset=number, digest="d"))
        flow.ends[DEFINITIONS, partition] = cells
    await worker.start_offsets(frozenset(flow.epochs), 1)
    asking = asyncio.create_task(_ask(kernel, provider, worker)) if gate else None
    for partition in brokers:
        totals = [total_of(f"c{partition}_{number}", EPOCH_S - 3600, 1 + number, number) for number in range(cells)]
        await worker.take(batch_of(totals, 0, 1, partition))
    while worker.status()["windows"]["undelivered"]:
        await asyncio.sleep(1)
    if asking is not None:
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
    await worker.stop()


async def _ask(kernel: Kernel, provider: SlowProvider, worker: ReportWorker) -> None:
    """As the invoice gate does with many drafts: one call after the other."""
    while True:
        await worker._caller.ask(provider.allowance.takes, kernel.now_ms())
        provider.asked.append(kernel.now_s)


def used(provider: SlowProvider) -> float:
    """Calls a second, from the first to the last."""
    return len(provider.calls) / (provider.calls[-1][0] - provider.calls[0][0])


@pytest.mark.parametrize("answer_s", [(0.002, 0.01), (0.1, 0.8)])
def test_partitions_use_the_whole_rate_and_no_more(answer_s: tuple[float, float]) -> None:
    """Whether answers take milliseconds or most of a second, 95 % of the allowed calls are made, none is refused, and none is made twice."""
    provider = rush(1, answer_s, of=PARTITIONS, cells=500)
    assert len(provider.calls) == len({item for _, item in provider.calls}) == 4 * 500
    assert provider.allowance.refused == 0
    assert used(provider) >= 95


def test_the_nearest_finality_goes_first_whichever_partition_it_is_in() -> None:
    """Of four partitions with as many due cells each, the one whose periods end first is served first: its calls come before nearly all others."""
    provider = rush(2, (0.05, 0.3), of=PARTITIONS, cells=250)
    turns = [int(item.split("_")[1]) for _, item in provider.calls]
    for place, partition in enumerate((3, 2, 1, 0)):
        own = [turn for turn, called in enumerate(turns) if called == partition]
        early = sum(turn < place * 250 for turn in own)
        assert early <= 25, f"{early} calls of partition {partition} went before their turn"


def test_a_worker_with_half_of_the_partitions_takes_half_of_the_rate() -> None:
    """Another worker has the other half: together they keep within the account's limit."""
    provider = rush(3, (0.05, 0.3), of=2 * PARTITIONS, cells=100)
    assert 46 <= used(provider) <= 53


@pytest.mark.parametrize("answer_s", [(0.002, 0.01), (0.1, 0.8)])
def test_the_gate_is_not_kept_waiting_by_a_rush(answer_s: tuple[float, float]) -> None:
    """While reports wait for their turns the gate's calls are made too, a quarter of all at most: it holds drafts for what is not delivered yet."""
    provider = rush(4, answer_s, of=PARTITIONS, cells=250, gate=True)
    end_s = provider.calls[-1][0]
    during = sum(at_s < end_s for at_s in provider.asked)
    assert 40 <= during <= len(provider.calls) / 3 + 2
    assert provider.allowance.refused == 0
    assert used(provider) >= 70
