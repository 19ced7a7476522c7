"""H7 and H8, law 5, on the server: one copy of the changelog, a compacted event topic, a leader elected without what it acknowledged."""

from __future__ import annotations

import random
from typing import Final

from infra.settings import KafkaSettings
from infra.topics_rules import Found, differences
from tests.hazards.fold import clean

COMMON: Final = {"min.insync.replicas": "2", "unclean.leader.election.enable": "false", "max.message.bytes": str(8 << 20)}
KEPT: Final = {"cleanup.policy": "delete", "retention.ms": str(400 * 86_400_000), "retention.bytes": "-1", "message.timestamp.type": "CreateTime"}
COMPACTED: Final = {"cleanup.policy": "compact", "message.timestamp.type": "CreateTime", "min.cleanable.dirty.ratio": "0.05"}
SERVER: Final = {
    "usage.events": {**COMMON, **KEPT, "message.timestamp.type": "LogAppendTime"},
    "usage.state": {**COMMON, **COMPACTED},
    "usage.windows": {**COMMON, **KEPT},
    "usage.definitions": {**COMMON, **COMPACTED},
    "usage.receipts": {**COMMON, **COMPACTED},
    "usage.verdicts": {**COMMON, **KEPT},
    "usage.rejected": {**COMMON, **KEPT},
    "usage.notices": {**COMMON, **KEPT},
}
"""The eight topics as money needs them, written down from the plan and not from the code."""
HARM: Final = {
    "cleanup.policy": {"compact": "delete", "delete": "compact"},
    "message.timestamp.type": {"LogAppendTime": "CreateTime", "CreateTime": "LogAppendTime"},
    "min.insync.replicas": {"2": "1"},
    "unclean.leader.election.enable": {"false": "true"},
    "retention.bytes": {"-1": "1073741824"},
    "retention.ms": {KEPT["retention.ms"]: "3600000"},
    "max.message.bytes": {COMMON["max.message.bytes"]: "1000"},
}


def seeded(seed: int) -> list[str]:
    """A server of which one topic is missing, has fewer copies or partitions, or one careless setting: it is said, and nothing else is."""
    rng, kafka = random.Random(seed), KafkaSettings()
    server = {name: Found(kafka.partitions, 3, configs) for name, configs in SERVER.items()}
    if found := differences(server, kafka):
        return [f"a server as it must be differs: {found[0]}"]
    topic = rng.choice(sorted(SERVER))
    there = server[topic]
    name = rng.choice([*sorted(set(HARM) & set(there.configs)), "replication", "partitions", "topic"])
    if name == "topic":
        del server[topic]
    elif name == "replication":
        server[topic] = there._replace(replication=rng.choice((1, 2)))
    elif name == "partitions":
        server[topic] = there._replace(partitions=there.partitions + rng.choice((-1, 1)))
    else:
        server[topic] = there._replace(configs={**there.configs, name: HARM[name][there.configs[name]]})
    said = {difference.topic for difference in differences(server, kafka)}
    return [] if said == {topic} else [f"{topic} has a careless {name}, and what is said is about {sorted(said) or 'nothing'}"]


def test_h07_careless_topics_are_said_at_start() -> None:
    """Each missing topic and each setting under which the server may lose or change what it acknowledged is a difference of that topic."""
    assert not clean(seeded, 200)
