"""What one seed decides before anything runs: who is billed how, which events are sent when and how, and which disasters strike when.

A plan is data, so that a failing one can be made smaller: events and deeds can be left out without changing the others.
"""

from __future__ import annotations

import json
import random
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple

from tests.simulation.kernel import EPOCH_S
from topics.bindings import Item
from topics.home import home_of
from topics.meters import Meter, Timing

PARTITIONS: Final = 2
NAMES: Final = ("acme", "globex", "a|b", "ünï 顧客", "initech", "c%7Cd", "umbrella", "stark")
TIMING: Final = Timing(revision_delay_ms=1500, dedup_ms=7 * 86_400_000, horizon_ms=90_000, future_ms=20_000)
METERS: Final = (
    Meter(slug="calls", event_type="api.request", window_s=10, grace_ms=2000),
    Meter(slug="eu", event_type="api.request", where={"region": "eu"}, window_s=20, grace_ms=1000),
    Meter(slug="tokens", event_type="llm.call", value="n", window_s=30, grace_ms=2000),
    Meter(slug="gb", event_type="store", value="size", window_s=60, grace_ms=3000),
)
GB_SCALE: Final = 1000
"""Gigabytes have three places here, so that thousands of them are whole units."""
KILLS: Final = {"kill": 9, "freeze": 4, "zombie": 6, "term": 2, "scale": 3}
KAFKA: Final = {"kafka_down": 1, "kafka_lossy": 3, "kafka_slow": 3, "kafka_clock": 1, "compact": 6, "clock": 2, "sleep": 1, "kill_all": 1}
STRIPE: Final = {"stripe_faults": 4, "stripe_down": 2, "stripe_hangs": 4, "stripe_sticky": 2, "refuse": 1}
ENGINE: Final = {"engine_down": 2, "engine_partly": 4}
CHANGES: Final = {"rebind": 1, "remeter": 1, "close": 1}
AMENDS: Final = {"amend": 0}
"""Drawn apart (`_amends`), so that the other disasters of a seed stay as they are."""
FOCUS: Final[dict[str, tuple[tuple[str, ...], dict[str, int]]]] = {
    "whole": (("meter", "report", "archive"), KILLS | KAFKA | STRIPE | ENGINE | CHANGES | AMENDS),
    "meter": (("meter",), KILLS | KAFKA | CHANGES | AMENDS),
    "report": (("meter", "report"), KILLS | KAFKA | STRIPE | AMENDS),
    "archive": (("meter", "archive"), KILLS | KAFKA | ENGINE | AMENDS),
}
"""What a history is about: the workers that run from the beginning (the others begin when everything heals), and the weights of its disasters."""
VICTIMS: Final = {"whole": ("meter", "report", "archive"), "meter": ("meter",), "report": ("report",), "archive": ("archive",)}
WEIGHTS: Final = {"whole": 3, "meter": 4, "report": 3, "archive": 1}


class Deed(NamedTuple):
    """One disaster: when (seconds), what, and its numbers."""

    at_s: float
    kind: str
    numbers: tuple[float, ...]


class Sent(NamedTuple):
    """One record of a producer: when, to which partition, and whether its transaction (if it has one) is committed."""

    at_s: float
    partition: int
    key: bytes | None
    value: bytes
    transaction: str = ""
    age_s: float | None = None
    """Where the event has a time: how long before the sending; the time is written when it is sent."""


@dataclass(frozen=True)
class Customer:
    """`anchor_s`: when its billing cycle began (None: it is not billed); `edges` are those of its days that may lie among the windows."""

    name: str
    anchor_s: int | None
    edges: tuple[int, ...] = ()
    bound_at_s: float = 0.0
    """When its binding comes: later than its first windows, and than its period edges, where somebody signs up after the fact (H5)."""

    @property
    def home(self) -> int:
        """Its partition."""
        return home_of(self.name.encode(), PARTITIONS)

    def items(self, suffix: str = "") -> tuple[Item, ...]:
        """One item a meter."""
        if self.anchor_s is None:
            return ()
        return tuple(
            Item(
                meter=meter.slug,
                item=f"si_{self.name.encode().hex()}_{meter.slug}{suffix}",
                subscription=f"sub_{self.name}",
                period_anchor_s=self.anchor_s,
                period="day" if self.edges else "month",
                scale=str(GB_SCALE) if meter.slug == "gb" else "1",
                clock="worldwide",  # the model of Stripe takes usage for ever, so no time alone may make a cell final here (law 16)
            )
            for meter in METERS
        )


@dataclass
class Plan:
    """Everything that a seed decides beforehand; `seed` also orders who runs when."""

    seed: int
    span_s: float
    customers: tuple[Customer, ...]
    sent: list[Sent]
    deeds: list[Deed]
    focus: str = "whole"
    recreates: bool = False
    """Whether a partition's topic is recreated in the end."""
    turn_ms: int = 500
    slowness_s: float = 0.005
    """One way to the broker takes up to this long while nothing is wrong."""

    @property
    def is_static(self) -> bool:
        """Whether windows and items stay as they began, so that each can be foretold one by one; else their sums can."""
        learned_late = any(customer.edges and customer.bound_at_s for customer in self.customers)
        return not learned_late and all(deed.kind not in CHANGES for deed in self.deeds)


def plan_of(seed: int) -> Plan:
    """The plan of a seed."""
    chance = random.Random(seed)
    focus = chance.choices(list(WEIGHTS), weights=list(WEIGHTS.values()))[0]
    span_s = chance.choice((30.0, 60.0, 120.0))
    customers = tuple(_customer(chance, name, span_s) for name in chance.sample(NAMES, chance.choice((1, 2, 3, 5))))
    deeds = _deeds(chance, FOCUS[focus][1], span_s, chance.choice((2, 4, 8, 12)))
    plan = Plan(
        seed=seed,
        span_s=span_s,
        customers=customers,
        sent=_sent(chance, customers, _moments(chance, deeds, span_s), chance.choice((15, 40, 80))),
        deeds=deeds,
        focus=focus,
        recreates=chance.random() < 0.06,
        turn_ms=chance.choice((300, 700, 1500)),
        slowness_s=chance.choice((0.005, 0.05, 0.4)),
    )
    return replace(plan, deeds=sorted([*plan.deeds, *_amends(seed, span_s)])) if plan.is_static else plan


def _amends(seed: int, span_s: float) -> list[Deed]:
    """Corrections of events: in some of the histories whose windows can be foretold one by one."""
    chance = random.Random(f"amends {seed}")
    count = chance.choice((0, 0, 0, 2, 6))
    return [Deed(5.0 + chance.random() * span_s * 1.1, "amend", tuple(chance.random() for _ in range(4))) for _ in range(count)]


def _moments(chance: random.Random, deeds: list[Deed], span_s: float) -> list[float]:
    """Around which events are sent: half of them where something is about to happen."""
    return [chance.random() * span_s for _ in range(1 + len(deeds))] + [deed.at_s for deed in deeds]


def _customer(chance: random.Random, name: str, span_s: float) -> Customer:
    draw = chance.random()
    bound_at_s = chance.random() * span_s if chance.random() < 0.15 else 0.0
    if draw < 0.15:
        return Customer(name, None)
    if draw < 0.55:
        return Customer(name, EPOCH_S - 3600, (), bound_at_s)
    first = EPOCH_S + chance.randrange(5, int(span_s))
    return Customer(name, first - 86_400, tuple(first + day * 86_400 for day in range(4)), bound_at_s)


# ── events ──────────────────────────────────────────────────────────────────────────────────────────────────────────
def _sent(chance: random.Random, customers: tuple[Customer, ...], moments: list[float], count: int) -> list[Sent]:
    sent: list[Sent] = []
    for number in range(count):
        at_s = max(0.1, chance.choice(moments) + chance.uniform(-2.0, 3.0))
        draw = chance.random()
        if sent and draw < 0.12:
            sent.append(chance.choice(sent)._replace(at_s=at_s, partition=chance.randrange(PARTITIONS), transaction=""))
        elif draw < 0.17:
            sent.append(_bad(chance, chance.choice(customers), at_s))
        else:
            sent.append(_usage(chance, chance.choice(customers), number, at_s))
    return sorted(sent, key=lambda one: one.at_s)


def _usage(chance: random.Random, customer: Customer, number: int, at_s: float) -> Sent:
    event_type, data = chance.choice(
        (
            ("api.request", {}),
            ("api.request", {"region": chance.choice(("eu", "us"))}),
            ("llm.call", {"n": chance.choice((1, 7, 1000, 10**12))}),
            ("store", {"size": chance.choice(("0.001", "2.5", "1234567.125"))}),
        )
    )
    event = {"specversion": "1.0", "id": f"e{number}", "source": chance.choice(("gw", "edge")), "type": event_type, "subject": customer.name}
    value = json.dumps(event | {"data": data}, ensure_ascii=False).encode()
    partition = customer.home if chance.random() < 0.8 else chance.randrange(PARTITIONS)
    transaction = chance.choice(("", "", "", "", "", "commit", "abort"))
    return Sent(at_s, partition, customer.name.encode(), value, transaction, _age_s(chance))


def _age_s(chance: random.Random) -> float | None:
    draw = chance.random()
    if draw < 0.1:
        return None
    if draw < 0.75:
        return chance.random() * 4
    if draw < 0.9:
        return chance.random() * 85
    return chance.choice((200.0, -15.0, -40.0, 89.9))


def _bad(chance: random.Random, customer: Customer, at_s: float) -> Sent:
    alien = b'{"specversion": "1.0", "id": "x", "source": "s", "type": "t", "subject": "?"}'
    value = chance.choice((b"", b"no json", b'{"specversion": "1.0"}', alien))
    return Sent(at_s, chance.randrange(PARTITIONS), chance.choice((None, customer.name.encode())), value)


def with_time(one: Sent, now_ms: int) -> bytes:
    """The bytes as they are sent at `now_ms`: the time is put into the event's JSON."""
    if one.age_s is None:
        return one.value
    event: dict[str, Any] = json.loads(one.value)
    event["time"] = instant(now_ms - int(one.age_s * 1000))
    return json.dumps(event, ensure_ascii=False).encode()


def instant(ms: int) -> str:
    """RFC 3339, UTC."""
    return (datetime(1970, 1, 1) + timedelta(milliseconds=ms)).isoformat(timespec="milliseconds") + "Z"  # noqa: DTZ001 - it is UTC


# ── disasters ───────────────────────────────────────────────────────────────────────────────────────────────────────
def _deeds(chance: random.Random, weights: dict[str, int], span_s: float, count: int) -> list[Deed]:
    kinds = chance.choices(list(weights), weights=list(weights.values()), k=count)
    deeds: list[Deed] = []
    for kind in kinds:
        # Half of them strike while another is being recovered from: that is where guards are needed.
        at_s = deeds[-1].at_s + chance.random() * 4 if deeds and chance.random() < 0.5 else chance.random() * span_s * 1.2
        deeds.append(Deed(at_s, kind, tuple(chance.random() for _ in range(4))))
    return sorted(deeds)
