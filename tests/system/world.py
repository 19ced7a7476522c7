"""One stack with its meters and customers, what was sent into it, and the comparison of everything it shows with the oracle."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from random import Random
from typing import Any

import clickhouse_connect

from infra.embedded import stack
from infra.embedded.state import StackState
from tests.oracle.hashes import java_partition
from tests.oracle.ledger import Bound, Ledger, Rules
from tests.oracle.reading import Meter
from tests.system import wire
from tests.system.cli import Command
from tests.system.provider import Provider
from tests.system.traffic import Message

METERS = (
    Meter("api_calls", "api.request", window_s=60),
    Meter("eu_calls", "api.request", where=(("region", "eu"),), window_s=900),
    Meter("tokens", "llm.request", "tokens"),
    Meter("storage", "storage.sample", "gib"),
    Meter("credits", "credit.change", "amount", allow_negative=True, window_s=86_400),
    Meter("requests", "http.request"),
    Meter("egress", "http.request", "bytes"),
    Meter("generated", "llm.inference", "GeneratedTokens", window_s=600),
    Meter("context", "llm.inference", "ContextTokens", window_s=600),
    Meter("pings", "ping", window_s=10),
)
PARTITIONS = 4
HORIZON_S = 10 * 86_400
FUTURE_S = 300
FAR_S = 2**40
"""After every change."""
HEAD = f"""
[kafka]
partitions = {PARTITIONS}
[stripe]
calls_per_second = 400
[timing]
horizon = "10d"
future = "5m"
revision_delay = "1s"
"""


def meter_text(meter: Meter, price: str | None = None) -> str:
    """A meter as a table of the configuration file."""
    lines = ["[[meters]]", f'slug = "{meter.slug}"', f'event_type = "{meter.event_type}"', f'value = "{meter.value or "count"}"']
    if meter.where:
        lines.append("where = { " + ", ".join(f"{name} = {json.dumps(value)}" for name, value in meter.where) + " }")
    lines += [f'window = "{meter.window_at(FAR_S)}s"', 'grace = "1s"', f"allow_negative = {str(meter.allow_negative).lower()}"]
    lines += [] if price is None else [f'stripe_price = "{price}"']
    return "\n".join(lines) + "\n"


@dataclass
class Binding:
    """What the file says about a customer: items by meter, and the anchor where the file names one."""

    items: dict[str, str]
    anchor: str | None = None

    def text(self, customer: str) -> str:
        """As tables of the configuration file."""
        lines = ["[[customers]]", f"id = {json.dumps(customer)}"]
        for meter, item in self.items.items():
            lines += ["[[customers.items]]", f'meter = "{meter}"', f'stripe_subscription_item = "{item}"']
            lines += [] if self.anchor is None else [f'period_anchor = "{self.anchor}"', 'period = "month"']
        return "\n".join(lines) + "\n"


@dataclass
class World:
    """A running stack and all that was done to it."""

    directory: Path
    seed: int = 1
    meters: tuple[Meter, ...] = METERS
    bindings: dict[str, Binding] = field(default_factory=dict)
    bound: dict[tuple[str, str], Bound] = field(default_factory=dict)
    cuts: dict[str, tuple[int, ...]] = field(default_factory=dict)
    acked: list[wire.Acked] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.config = self.directory.parent / f"{self.directory.name}.toml"
        self.command = Command(self.directory)
        self.rng = Random(self.seed)
        self.write_config()

    def write_config(self) -> None:
        """The file as it has to be now."""
        parts = [HEAD, *map(meter_text, self.meters), *(binding.text(customer) for customer, binding in self.bindings.items())]
        self.config.write_text("\n".join(parts), encoding="utf-8")

    @property
    def state(self) -> StackState:
        """What the supervisor says now."""
        found = stack.read_state(self.directory)
        assert found is not None, "the stack is not up"
        return found

    @property
    def bootstrap(self) -> str:
        """Kafka's address."""
        return self.state.bootstrap

    @property
    def provider(self) -> Provider:
        """The stack's sandbox."""
        return Provider(self.state.stripe_api_base, self.state.stripe_api_key)

    def rows(self, query: str) -> list[dict[str, Any]]:
        """The rows of a query, asked of the engine itself: the comparison asks too often to start a command each time."""
        with clickhouse_connect.get_client(dsn=f"{self.state.clickhouse_url}/tidemark") as client:
            return list(client.query(query).named_results())

    def up(self, workers: int = 2) -> None:
        """Brings the stack up, detached, by the command."""
        self.command.run("up", "--detach", "--config", str(self.config), "--workers", str(workers))

    def bind(self, customer: str, meters: tuple[str, ...], since_s: int, *, kind: str) -> None:
        """Subscribes a customer and writes who is billed where into the file; `apply` puts it in force.

        `kind`: `looked_up` leaves the period to the provider, whose cycle begins later; `anchored` likewise, with the cycle from now on;
        `named` has the period in the file.
        """
        anchor_s = int(time.time()) + 20 * 86_400 if kind == "looked_up" else None
        made = self.provider.subscribe(customer, meters, since_s, anchor_s)
        named = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(since_s)) if kind == "named" else None
        self.bindings[customer] = Binding(made.items, named)
        self.cuts[customer] = {"looked_up": (), "anchored": (made.anchor_s,), "named": (since_s,)}[kind]
        for meter, item in made.items.items():
            self.bound[customer, meter] = Bound(item, since_s, edges=self.cuts[customer])

    def apply(self) -> list[dict[str, Any]]:
        """Writes the file and puts it in force; what each partition said."""
        self.write_config()
        answers: list[dict[str, Any]] = self.command.json("apply", "--config", str(self.config))
        return answers

    def change_window(self, slug: str, window_s: int, customer: str) -> int:
        """Gives a meter another grid while it counts; the second from which it holds at a customer's home.

        Other homes may say another second, so only this customer may use the meter.
        """
        at = [meter.slug for meter in self.meters].index(slug)
        wished = replace(self.meters[at], later=((0, window_s),))
        self.meters = (*self.meters[:at], wished, *self.meters[at + 1 :])
        home = java_partition(customer.encode(), PARTITIONS)
        said = {answer["partition"]: holds["from"] for answer in self.apply() for holds in answer["holds"] if holds["meter"] == slug}
        from_s = round(datetime.fromisoformat(said[home]).timestamp())
        changed = replace(self.meters[at], later=((from_s, window_s),))
        self.meters = (*self.meters[:at], changed, *self.meters[at + 1 :])
        return from_s

    def send(self, messages: Iterable[Message], *, librdkafka: bool = False) -> None:
        """Produces, and keeps what was acknowledged."""
        sender = wire.send_librdkafka if librdkafka else wire.send_aiokafka
        self.acked += sender(self.bootstrap, messages)

    def kill(self, *names: str) -> None:
        """SIGKILL to processes by name, as far as they run just now."""
        for name in names:
            if self.state.process(name).pid is not None:
                stack.kill(self.directory, name)

    def rules(self) -> Rules:
        """What the oracle keeps its account by."""
        return Rules(PARTITIONS, self.meters, HORIZON_S, FUTURE_S, self.cuts)

    def ledger(self, log: wire.Log | None = None) -> Ledger:
        """The oracle's account of the whole log."""
        return Ledger(self.rules()).take_all((log or wire.read_log(self.bootstrap, wire.EVENTS)).records)
