"""The embedded stack's real servers (Kafka, the engine, the sandbox) with stand-ins for the workers."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import clickhouse_connect
import psutil
import pytest
import stripe
from confluent_kafka import Consumer, Producer
from confluent_kafka.admin import AdminClient, NewTopic

from infra.embedded import process, stack
from infra.embedded.layout import Layout
from infra.embedded.state import StackState
from tests.system.stand_ins import REAL_SERVERS

pytestmark = pytest.mark.system

TIMEOUT_S = 90
SERVERS = ("kafka", "clickhouse", "sandbox")


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[Path]:
    """A directory for a stack, which is down when the test has ended."""
    path = tmp_path / "stack"
    yield path
    stack.down(path)
    process.end_recorded(Layout(path).run)


def wait(condition: Callable[[], object], what: str) -> None:
    """Waits until a condition holds."""
    deadline_s = time.monotonic() + TIMEOUT_S
    while not condition():
        assert time.monotonic() < deadline_s, f"not within {TIMEOUT_S} s: {what}"
        time.sleep(0.05)


def is_back(directory: Path, name: str) -> bool:
    """Whether a process was restarted once and serves."""
    state = stack.read_state(directory)
    assert state is not None
    return (state.process(name).state, state.process(name).restarts) == ("running", 1)


def write(state: StackState, text: str) -> None:
    """One record, one row, one customer."""
    producer = Producer({"bootstrap.servers": state.bootstrap, "acks": "all", "enable.idempotence": True})
    producer.produce("memo", text)
    assert producer.flush(TIMEOUT_S) == 0
    with clickhouse_connect.get_client(dsn=state.clickhouse_url) as client:
        client.insert("memo.t", [[text]], column_names=["text"], settings={"async_insert": 0})
    stripe_client(state).v1.customers.create({"name": text})


def read(state: StackState) -> tuple[list[str], list[str], list[str]]:
    """All records, rows and customers, each sorted."""
    consumer = Consumer({"bootstrap.servers": state.bootstrap, "group.id": "reader", "auto.offset.reset": "earliest", "enable.auto.commit": False})
    consumer.subscribe(["memo"])
    with clickhouse_connect.get_client(dsn=state.clickhouse_url) as client:
        rows = [row[0] for row in client.query("SELECT text FROM memo.t ORDER BY text").result_rows]
    records: list[str] = []
    deadline_s = time.monotonic() + TIMEOUT_S
    while len(records) < len(rows) and time.monotonic() < deadline_s:
        message = consumer.poll(1.0)
        if message is not None and message.error() is None:
            records.append((message.value() or b"").decode())
    consumer.close()
    customers = [each.name or "" for each in stripe_client(state).v1.customers.list().data]
    return sorted(records), rows, sorted(customers)


def stripe_client(state: StackState) -> stripe.StripeClient:
    """Stripe's own client, pointed at the sandbox."""
    return stripe.StripeClient(state.stripe_api_key, base_addresses={"api": state.stripe_api_base})


def cluster_id(state: StackState) -> str:
    """The log's identity, as a client sees it."""
    return str(AdminClient({"bootstrap.servers": state.bootstrap}).list_topics(timeout=TIMEOUT_S).cluster_id)


def test_servers_keep_everything_through_every_end(directory: Path) -> None:
    """What was acknowledged is there, once, after all servers were killed at once, after the supervisor was killed, and after a down."""
    state = stack.up(directory, stack_plan=REAL_SERVERS)
    identity = cluster_id(state)
    admin = AdminClient({"bootstrap.servers": state.bootstrap})
    admin.create_topics([NewTopic("memo", 1, 1)])["memo"].result(TIMEOUT_S)
    with clickhouse_connect.get_client(dsn=state.clickhouse_url) as client:
        client.command("CREATE DATABASE memo")
        client.command("CREATE TABLE memo.t (text String) ENGINE = MergeTree ORDER BY text")
    write(state, "first")
    listening_on_loopback_only(state)

    for name in SERVERS:
        stack.kill(directory, name)
    for name in SERVERS:
        wait(lambda name=name: is_back(directory, name), f"{name} to come back")  # type: ignore[misc]
    assert read(state) == (["first"],) * 3
    write(state, "second")

    children = [psutil.Process(each.pid) for each in state.processes if each.pid and psutil.pid_exists(each.pid)]
    stack.kill(directory, "supervisor")
    wait(lambda: not any(map(process.runs, children)) and not stack.running(directory), "everything to end with its supervisor")
    again = stack.up(directory)
    assert read(again) == (["first", "second"],) * 3
    assert stack.down(directory)

    last = stack.up(directory)
    assert (cluster_id(last), last.stripe_api_key, last.bootstrap) == (identity, state.stripe_api_key, state.bootstrap)
    assert read(last) == (["first", "second"],) * 3


def listening_on_loopback_only(state: StackState) -> None:
    """H36: no process of the stack, nor any child of one, can be reached from outside of this machine."""
    everything = psutil.Process(state.supervisor_pid).children(recursive=True)
    addresses = {
        (each.name(), connection.laddr.ip)
        for each in [psutil.Process(state.supervisor_pid), *everything]
        for connection in each.net_connections("inet")
        if connection.status == psutil.CONN_LISTEN
    }
    assert len(addresses) >= 2
    assert {ip.removeprefix("::ffff:") for _, ip in addresses} == {"127.0.0.1"}
