"""The report's own log on a real Kafka: one writer at a time, and a reader that ends where the log ends (law 13)."""

from __future__ import annotations

import pytest
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import ProducerFenced

from infra import kafka_io
from sinks.stripe.app_ports import LostOwnership
from sinks.stripe.receipt_log import ReceiptLog
from tests.agents.delivery_broker import FAUST_LEAVES, bootstrap, cluster, remove_topics
from tests.agents.report_bench import item_of
from topics.bindings import ItemVersion
from topics.catalog import DEFINITIONS, RECEIPTS
from topics.codec import encode
from topics.definitions import definition_key
from topics.errors import MalformedRecord, Unreachable
from topics.meters import BEGINNING_S
from topics.receipt import Receipt, WindowReceipt, receipt_key

__all__ = ["bootstrap", "cluster"]
pytestmark = FAUST_LEAVES


@pytest.fixture(autouse=True)
async def topics(bootstrap: str) -> None:
    """The two topics, fresh for each test."""
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        await remove_topics(admin, (RECEIPTS, DEFINITIONS))
        await admin.create_topics([NewTopic(name, 2, 1, topic_configs={"cleanup.policy": "compact"}) for name in (RECEIPTS, DEFINITIONS)])
    finally:
        await admin.close()


def receipt(number: int, through: int = 1) -> Receipt:
    """A parked window."""
    return WindowReceipt(
        window=f"a|calls|{number}|{number + 1}",
        customer="a",
        meter="calls",
        start_s=number,
        end_s=number + 1,
        generation=1,
        through_offset=through,
        quantity="1",
        parked_at_ms=0,
    )


def records(*receipts: Receipt) -> list[tuple[bytes, Receipt]]:
    """As the machine hands them over."""
    return [(receipt_key(each), each) for each in receipts]


async def test_what_was_written_is_read_back_once_per_key(bootstrap: str) -> None:
    """The reader ends at the log's end, though that is a transaction's marker, with the last record of each key (H19, H23)."""
    log = ReceiptLog(bootstrap, 1)
    assert await log.open() == ([], [])
    for through in range(3):
        await log.write(records(*(receipt(number, through) for number in range(100))))
    await log.close()
    again = ReceiptLog(bootstrap, 1)
    found, _ = await again.open()
    await again.close()
    assert sorted(found, key=receipt_key) == sorted((receipt(number, 2) for number in range(100)), key=receipt_key)


async def test_a_predecessor_can_write_no_more(bootstrap: str) -> None:
    """As soon as a successor has opened the log, its predecessor's writes fail, and what it had begun is never seen (H22)."""
    before, after = ReceiptLog(bootstrap, 1), ReceiptLog(bootstrap, 1)
    await before.open()
    await before.write(records(receipt(1)))
    half = before._producer
    await half.begin_transaction()
    await (await half.send(RECEIPTS, encode(receipt(2)), key=receipt_key(receipt(2)), partition=1))
    found, _ = await after.open()
    assert found == [receipt(1)]
    await after.write(records(receipt(3)))
    with pytest.raises(ProducerFenced):
        await half.commit_transaction()
    third = ReceiptLog(bootstrap, 1)
    found, _ = await third.open()
    assert sorted(found, key=receipt_key) == [receipt(1), receipt(3)]
    for log in (before, after, third):
        await log.close()


async def test_a_fenced_write_is_a_lost_ownership(bootstrap: str) -> None:
    """A write after a successor's opening is refused as what it is, not as an absent Kafka."""
    before, after = ReceiptLog(bootstrap, 1), ReceiptLog(bootstrap, 1)
    await before.open()
    await before.write(records(receipt(1)))
    await after.open()
    with pytest.raises(LostOwnership):
        await before.write(records(receipt(4)))
    await before.close()
    await after.close()


async def test_definitions_are_followed(bootstrap: str) -> None:
    """What was published before is read at the opening, and what is published later arrives."""

    def version(number: int) -> ItemVersion:
        return ItemVersion(customer=f"c{number}", meter="calls", item=item_of("si_1", 0), valid_from_s=BEGINNING_S, offset=number, digest="d")

    async def publish(number: int) -> None:
        async with kafka_io.producer(bootstrap) as producer:
            await producer.send_and_wait(DEFINITIONS, encode(version(number)), key=definition_key(version(number)), partition=1)

    await publish(1)
    log = ReceiptLog(bootstrap, 1)
    _, definitions = await log.open()
    assert definitions == [version(1)]
    await publish(2)
    found = []
    for _ in range(50):
        found += await log.new_definitions()
        if found:
            break
    await log.close()
    assert found == [version(2)]


async def test_an_unreadable_receipt_is_named(bootstrap: str) -> None:
    """A record that is no receipt stops the opening with its topic, partition and offset."""
    async with kafka_io.producer(bootstrap) as producer:
        await producer.send_and_wait(RECEIPTS, b'{"v":1,"kind":"cell"}', key=b'["window","w"]', partition=1)
    log = ReceiptLog(bootstrap, 1)
    with pytest.raises(MalformedRecord, match=r"usage\.receipts 1 offset 0"):
        await log.open()
    await log.close()


async def test_an_absent_broker_is_one_sentence() -> None:
    """Without Kafka the opening says so, and closing afterwards is quiet."""
    log = ReceiptLog("127.0.0.1:9", 0)
    with pytest.raises(Unreachable, match=r"127\.0\.0\.1:9"):
        await log.open()
    await log.close()
