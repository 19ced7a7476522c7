"""Which fault comes when, drawn from one seed alone: the same seed is the same schedule on every machine. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from random import Random

from tests.chaos.plan import ARCHIVES, METERS, REPORTS, broker_names

SESSION_S = 6.0
"""The workers' session time-out: a longer freeze loses its partitions to another worker."""

SILENT_S = 12.0
"""The supervisor's patience in these runs: a longer freeze ends in its SIGKILL."""


@dataclass(frozen=True)
class Load:
    """What is produced meanwhile: so many events, by which client, in a transaction beside an aborted one, with every kind of bad input."""

    events: int
    librdkafka: bool = False
    aborted: bool = False
    bad: bool = False
    spread_s: float = 0.0
    """Over how long it is sent: a fault that comes meanwhile meets workers at work."""


@dataclass(frozen=True)
class Fault:
    """One fault: its kind, the processes that it is about, and its one or two numbers (seconds, a share, a delay)."""

    number: int
    kind: str
    load: Load
    lead_s: float
    """Between the order to produce and the fault."""
    rest_s: float
    """After it: short, so that the next one meets this one's recovery."""
    names: tuple[str, ...] = ()
    seconds: float = 0.0
    share: float = 1.0
    do: str = ""
    delay_s: float = 0.0
    gaps_s: tuple[float, ...] = ()

    def sentence(self) -> str:
        """What is done, for the one who watches."""
        said = SENTENCES[self.kind].format(names=", ".join(self.names), seconds=self.seconds, share=100 * self.share, do=self.do)
        return said if not self.delay_s else f"{said}, {1000 * self.delay_s:.0f} ms a chunk"


SENTENCES = {
    "kill": "SIGKILL {names}",
    "kill again": "SIGKILL {names}, and again while it comes back",
    "kill waiting": "SIGKILL {names} {seconds:.1f} s after the last answer from Kafka that it gets",
    "kill workers": "SIGKILL all workers at once",
    "kill everything": "SIGKILL everything at once, supervisor and brokers too",
    "terminate": "SIGTERM {names}",
    "freeze": "SIGSTOP {names} for {seconds:.1f} s",
    "scale": "now run {names}",
    "kill brokers": "SIGKILL {names} (leaders fail over)",
    "roll brokers": "SIGTERM {names}, one after the other",
    "cut": "cut {share:.0f} % of the connections of {names}",
    "refuse": "refuse every connection of {names} for {seconds:.1f} s",
    "slow": "slow down {names} for {seconds:.1f} s",
    "hold": "{do} of {names} for {seconds:.1f} s",
    "disk full": "disk full for {names}, {seconds:.1f} s",
}


@dataclass
class Draw:
    """What the schedule has come to: the generator, the brokers, and which workers run."""

    chance: Random
    brokers: tuple[str, ...]
    workers: tuple[str, ...] = (*METERS[:2], "report", "archive")
    scales: list[int] = field(default_factory=list)

    @property
    def servers(self) -> tuple[str, ...]:
        """What workers depend on."""
        return ("proxy", *self.brokers, "clickhouse", "sandbox")

    @property
    def everybody(self) -> tuple[str, ...]:
        """Every process that runs."""
        return (*self.servers, *self.workers)


def _some(draw: Draw, names: tuple[str, ...], most: int) -> tuple[str, ...]:
    return tuple(draw.chance.sample(names, min(len(names), draw.chance.randint(1, most))))


def _kill(draw: Draw) -> dict[str, object]:
    return {"names": _some(draw, draw.everybody, 4)}


def _kill_again(draw: Draw) -> dict[str, object]:
    gaps_s = tuple(round(draw.chance.uniform(0.3, 3.0), 2) for _ in range(draw.chance.randint(1, 3)))
    return {"names": _some(draw, (*draw.workers, *draw.brokers, "clickhouse"), 2), "gaps_s": gaps_s}


def _kill_waiting(draw: Draw) -> dict[str, object]:
    return {"names": (draw.chance.choice(draw.workers),), "seconds": draw.chance.choice((0.1, 0.4, 1.0, 2.5))}


def _all_workers(draw: Draw) -> dict[str, object]:
    return {"names": draw.workers}


def _everything(draw: Draw) -> dict[str, object]:
    return {"names": draw.everybody}


def _terminate(draw: Draw) -> dict[str, object]:
    return {"names": _some(draw, draw.everybody, 3)}


def _freeze(draw: Draw) -> dict[str, object]:
    low_s, high_s = draw.chance.choice(((0.3, 3.0), (SESSION_S + 1, SILENT_S - 2), (SESSION_S + 1, SILENT_S - 2), (SILENT_S + 3, SILENT_S + 6)))
    return {"names": _some(draw, (*draw.workers, *draw.workers, *draw.servers), 1), "seconds": round(draw.chance.uniform(low_s, high_s), 1)}


def _scale(draw: Draw) -> dict[str, object]:
    """1 → 3 → 2 meters and so on; with three meters also two reports and two archives."""
    if not draw.scales:
        draw.scales = [1, 3, 2]
    meters = draw.scales.pop(0)
    many = meters == 3
    draw.workers = (*METERS[:meters], *REPORTS[: 1 + many], *ARCHIVES[: 1 + many])
    return {"names": draw.workers}


def _kill_brokers(draw: Draw) -> dict[str, object]:
    return {"names": _some(draw, draw.brokers, len(draw.brokers))}


def _roll_brokers(draw: Draw) -> dict[str, object]:
    names = list(draw.brokers)
    draw.chance.shuffle(names)
    return {"names": tuple(names), "gaps_s": tuple(round(draw.chance.uniform(1.0, 4.0), 2) for _ in names)}


def _cut(draw: Draw) -> dict[str, object]:
    return {"names": _target(draw), "share": draw.chance.choice((0.3, 0.6, 1.0))}


def _refuse(draw: Draw) -> dict[str, object]:
    return {"names": _target(draw), "seconds": round(draw.chance.uniform(1.0, 8.0), 1)}


def _slow(draw: Draw) -> dict[str, object]:
    return {"names": _target(draw), "seconds": round(draw.chance.uniform(3.0, 10.0), 1), "delay_s": draw.chance.choice((0.02, 0.1, 0.3))}


def _hold(draw: Draw) -> dict[str, object]:
    do = draw.chance.choice(("hold answers", "hold answers", "hold requests", "hold both"))
    after = draw.chance.choice((" (then cut)", ""))
    return {"names": _target(draw), "seconds": round(draw.chance.uniform(1.0, 9.0), 1), "do": do + after}


def _target(draw: Draw) -> tuple[str, ...]:
    """Whose connections: one broker's, or one worker's to all brokers."""
    return (draw.chance.choice((*draw.brokers, *draw.workers)),)


def _disk_full(draw: Draw) -> dict[str, object]:
    names = ("clickhouse", "sandbox", draw.chance.choice(draw.brokers), draw.chance.choice(draw.workers))
    return {"names": (draw.chance.choice(names),), "seconds": round(draw.chance.uniform(2.0, 8.0), 1)}


KINDS: dict[str, tuple[int, Callable[[Draw], dict[str, object]]]] = {
    "kill": (30, _kill),
    "kill again": (11, _kill_again),
    "kill waiting": (14, _kill_waiting),
    "kill workers": (7, _all_workers),
    "kill everything": (4, _everything),
    "terminate": (10, _terminate),
    "freeze": (9, _freeze),
    "scale": (7, _scale),
    "cut": (6, _cut),
    "refuse": (3, _refuse),
    "slow": (4, _slow),
    "hold": (7, _hold),
    "disk full": (5, _disk_full),
}
"""Kind → how often, and what it draws. Kills most, because a run is measured by them."""

WITH_FAIL_OVER: dict[str, tuple[int, Callable[[Draw], dict[str, object]]]] = {"kill brokers": (9, _kill_brokers), "roll brokers": (4, _roll_brokers)}
"""What needs several brokers."""


def schedule(seed: int, brokers: int) -> Iterator[Fault]:
    """Faults without end. The first of each kind come early, so that a short run sees all of them."""
    draw = Draw(Random(f"chaos/{seed}/{brokers}"), broker_names(brokers))
    kinds = {**KINDS, **(WITH_FAIL_OVER if brokers > 1 else {})}
    number = 0
    unseen = list(kinds)
    draw.chance.shuffle(unseen)
    while True:
        number += 1
        is_new = bool(unseen) and number % 2 == 1
        kind = unseen.pop() if is_new else draw.chance.choices(list(kinds), [weight for weight, _ in kinds.values()])[0]
        load, lead_s = _load(draw.chance), draw.chance.uniform(0.0, 0.8)
        if kind == "kill waiting":
            # Only a worker that is at work waits for an acknowledgement.
            load, lead_s = replace(load, spread_s=4.0), lead_s + 0.7
        yield Fault(
            number=number,
            kind=kind,
            load=load,
            lead_s=round(lead_s, 2),
            rest_s=round(draw.chance.uniform(0.5, 3.5), 2),
            **kinds[kind][1](draw),  # type: ignore[arg-type]  # the fields of Fault, by name
        )


def _load(chance: Random) -> Load:
    return Load(
        chance.choice((100, 400, 400, 1200)),
        librdkafka=chance.random() < 0.45,
        aborted=chance.random() < 0.1,
        bad=chance.random() < 0.1,
        spread_s=chance.choice((0.0, 2.0, 4.0)),
    )
