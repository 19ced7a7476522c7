"""The report's own log with damaged and exchanged records on a real Kafka: nothing is reported from it, and the place is said (A22)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from infra import kafka_io
from sinks.stripe.receipt_log import ReceiptLog
from tests.agents.delivery_broker import FAUST_LEAVES, bootstrap, cluster
from tests.agents.report_bench import batch_of, item_of, total_of
from tests.agents.test_report_log import receipt
from tests.agents.test_report_review_driver import NOW_S, Bench
from topics.bindings import ItemVersion
from topics.catalog import DEFINITIONS, RECEIPTS
from topics.codec import encode
from topics.definitions import definition_key
from topics.errors import MalformedRecord
from topics.meters import BEGINNING_S
from topics.receipt import receipt_key

__all__ = ["bootstrap", "cluster"]
pytestmark = FAUST_LEAVES
ONE, TWO = encode(receipt(1)), encode(receipt(2))
KEYS = [receipt_key(receipt(number)) for number in (1, 2)]


def version(number: int) -> ItemVersion:
    """An item in force from an instant on."""
    return ItemVersion(customer="a", meter="calls", item=item_of(f"si_{number}", 0), valid_from_s=number, offset=number, digest="d")


PARTITIONS = 6
"""One a case: topics that are deleted and made again within a moment lose what is written in between."""


@pytest.fixture(autouse=True)
async def topics(bootstrap: str) -> None:
    """The two topics, made by whichever case comes first."""
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        missing = {RECEIPTS, DEFINITIONS} - set(await admin.list_topics())
        await admin.create_topics([NewTopic(name, PARTITIONS, 1, topic_configs={"cleanup.policy": "compact"}) for name in missing])
    finally:
        await admin.close()


async def opened(bootstrap: str, partition: int, topic: str, records: Sequence[tuple[bytes, bytes]]) -> str:
    """The sentence with which the log refuses to open over these records of a partition; empty where it opens."""
    async with kafka_io.producer(bootstrap) as producer:
        for key, value in records:
            await producer.send_and_wait(topic, value, key=key, partition=partition)
    log = ReceiptLog(bootstrap, partition)
    try:
        await log.open()
    except MalformedRecord as error:
        return str(error)
    finally:
        await log.close()
    return ""


@pytest.mark.parametrize(
    ("partition", "records", "offset"),
    [
        (0, [(KEYS[0], ONE), (KEYS[1], TWO.replace(b'"quantity":"1"', b'"quantity":"7"'))], 1),
        (1, [(KEYS[0], TWO), (KEYS[1], ONE)], 0),
        (2, [(KEYS[0], ONE), (b"\xff" + KEYS[1], TWO)], 1),
        (3, [(KEYS[0], ONE[:-1])], 0),
    ],
)
async def test_a_damaged_or_exchanged_receipt_stops_the_opening(
    bootstrap: str, partition: int, records: list[tuple[bytes, bytes]], offset: int
) -> None:
    """Another digit, two receipts under each other's keys, a key that is no text, a cut end: topic, partition and offset, and no delivery state."""
    assert (await opened(bootstrap, partition, RECEIPTS, records)).startswith(f"usage.receipts {partition} offset {offset}: ")


async def test_a_damaged_or_exchanged_definition_stops_the_opening(bootstrap: str) -> None:
    """An item's version under another version's key would bill by it: the log does not open, and says where."""
    key, value = definition_key(version(1)), encode(version(2))
    assert (await opened(bootstrap, 4, DEFINITIONS, [(key, value)])).startswith("usage.definitions 4 offset 0: ")


async def test_whole_records_open(bootstrap: str) -> None:
    """The same records, undamaged, open the log."""
    assert await opened(bootstrap, 5, RECEIPTS, [(KEYS[0], ONE), (KEYS[1], TWO)]) == ""


async def test_totals_under_each_others_keys_stop_the_report() -> None:
    """Two whole totals exchanged on `usage.windows`: the report halts at the first, and calls nobody for either."""
    bench = Bench()
    bench.define("si_1", BEGINNING_S)
    await bench.start()
    whole = batch_of([total_of("acme", NOW_S - 300, 7, 1), total_of("other", NOW_S - 300, 9, 2)], 0, 1)
    await bench.worker.take(replace(whole, keys=whole.keys[::-1]))
    assert bench.worker.halted is not None
    assert bench.worker.halted.startswith("usage.windows 0 offset 0: the total lies under the key")
    assert bench.provider.cells == {}
    await bench.worker.stop()
