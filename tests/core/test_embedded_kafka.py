"""What a broker is told, and which jars it is made of."""

from __future__ import annotations

import base64
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from infra.embedded import jars, kafka, machine

NODE = kafka.Node(1, 19092, 19093, Path("/data"))


def test_a_broker_listens_on_loopback_only() -> None:
    """Every listener, advertised address and voter of a broker is on 127.0.0.1."""
    values = kafka.properties(kafka.Cluster("id", (NODE,)), NODE)
    assert values["listeners"] == "PLAINTEXT://127.0.0.1:19092,CONTROLLER://127.0.0.1:19093"
    assert values["advertised.listeners"] == "PLAINTEXT://127.0.0.1:19092"
    assert values["controller.quorum.voters"] == "1@127.0.0.1:19093"


def test_a_proxy_can_stand_in_front_of_a_broker() -> None:
    """Clients are sent to the advertised port while the broker listens on its own."""
    behind = kafka.Node(1, 19092, 19093, Path("/data"), advertised_port=20000)
    cluster = kafka.Cluster("id", (behind,))
    assert kafka.properties(cluster, behind)["advertised.listeners"].endswith(":20000")
    assert cluster.bootstrap == "127.0.0.1:20000"


def test_three_brokers_replicate_and_one_does_not_pretend_to() -> None:
    """Replication follows the number of brokers: 1 and min.isr 1 alone, 3 and min.isr 2 with three."""
    three = tuple(kafka.Node(number, 1, 2, Path("/data")) for number in (1, 2, 3))
    for nodes, replication, in_sync in (((NODE,), "1", "1"), (three, "3", "2")):
        values = kafka.properties(kafka.Cluster("id", nodes), nodes[0])
        assert values["transaction.state.log.replication.factor"] == replication
        assert values["min.insync.replicas"] == values["transaction.state.log.min.isr"] == in_sync


def test_the_laws_hold_on_the_broker() -> None:
    """No topic appears by misspelling, no unclean leader is elected, and records of 2 MiB fit."""
    values = kafka.properties(kafka.Cluster("id", (NODE,)), NODE, {"log.retention.ms": 5})
    assert values["auto.create.topics.enable"] == values["unclean.leader.election.enable"] == "false"
    assert int(values["message.max.bytes"]) >= 2.2 * 1024 * 1024
    assert values["log.retention.ms"] == "5"


@given(st.binary(min_size=16, max_size=16))
def test_a_cluster_id_is_sixteen_bytes_and_no_option(random_bytes: bytes) -> None:
    """Kafka reads the id back as 16 bytes, and its command line does not take it for an option."""
    text = kafka.cluster_id(random_bytes)
    assert len(base64.urlsafe_b64decode(text + "==")) == 16
    assert not text.startswith("-")
    assert kafka.cluster_id_of(f"node.id=1\ncluster.id={text}\nversion=1\n") == text


def test_the_list_of_jars_is_whole() -> None:
    """Every jar has a SHA-256, no jar is there in two versions, and broker and clients are of the one release."""
    listed = jars.parse_sums(jars.SUMS_FILE.read_text(encoding="ascii"))
    assert all(len(jar.sha256) == 64 and int(jar.sha256, 16) for jar in listed)
    assert len({(jar.group, jar.artifact) for jar in listed}) == len(listed)
    assert {jar.version for jar in listed if jar.group == "org.apache.kafka"} == {"4.1.1"}
    assert any(jar.artifact.startswith("log4j-slf4j") for jar in listed)


def test_a_small_machine_is_told_what_to_do() -> None:
    """Too little disk or memory is one sentence with a number and a remedy; enough of both is silence."""
    disk = machine.shortage("/d", 10 * machine.MIB, 64 * 1024 * machine.MIB, 2)
    memory = machine.shortage("/d", 10**12, 100 * machine.MIB, 2)
    assert disk is not None
    assert memory is not None
    assert "--dir" in disk
    assert "--workers" in memory
    assert machine.shortage("/d", 10**12, 64 * 1024 * machine.MIB, 4) is None
