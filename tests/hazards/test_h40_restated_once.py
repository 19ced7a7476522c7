"""H40, laws 13 and 16: what an operator found at the provider is acted on twice, or when it is not so any more, or forgets what stands elsewhere."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

from tests.core.report_world import START_S, World, binding, item_of, total_of
from tests.core.test_report_adjustments import invoice
from tests.hazards.fold import clean
from topics.quantity import ONE, parse_total
from topics.receipt import CellReceipt, cell_key
from topics.restating import Restatement, RestateRecord

HOURS = tuple(START_S - 3600 * number for number in range(1, 4))
AT_REST = frozenset({"delivered", "confirmed", "adjustment"})


@dataclass
class Tampered:
    """One customer's three hours, and what hands other than ours do to them. `strays`: units that stand beside each hour, at seconds of nobody's."""

    world: World
    rng: random.Random
    wanted: dict[int, int] = field(default_factory=lambda: dict.fromkeys(HOURS, 0))
    strays: dict[int, int] = field(default_factory=lambda: dict.fromkeys(HOURS, 0))
    seen: list[RestateRecord] = field(default_factory=list)
    """What was looked at and not said yet."""

    def use(self, hour: int) -> None:
        """The hour's total grows."""
        self.wanted[hour] += self.rng.randrange(1, 30)
        self.world.source.append(total_of("acme", hour, self.wanted[hour] * ONE, len(self.world.source) + 1))

    def tamper(self, hour: int) -> None:
        """A record is lost or set to another number, or a part of the hour's units is reported at another second too."""
        cells = self.world.stripe.cells
        if self.rng.random() < 0.5:
            cells["si_1", hour] = self.rng.choice((0, 1, 500))
        elif (room := self.wanted[hour] - self.strays[hour]) > 0:
            more = self.rng.randrange(1, room + 1)
            self.strays[hour] += more
            cells["si_1", hour + 1 + self.strays[hour]] = more

    def receipt(self, hour: int) -> CellReceipt | None:
        """The hour's receipt, where nothing of it is under way."""
        found = self.world.last.get(cell_key("stripe", "default", f"si_1|{hour}"))
        is_calm = isinstance(found, CellReceipt) and found.state in AT_REST and not self.world.wire and not found.maybe
        return found if isinstance(found, CellReceipt) and is_calm else None

    def look(self, hour: int) -> RestateRecord | None:
        """What an operator finds of the hour now, if it is not what the receipt says."""
        found = self.receipt(hour)
        stands = self.world.stripe.cells.get(("si_1", hour), 0) + self.strays[hour]
        if found is None or (str(stands), str(self.strays[hour])) == (self.standing(found), found.beside):
            return None
        target = cell_key("stripe", "default", found.cell).decode()
        return RestateRecord(target=target, revision=found.revision, attempt=found.attempt, stands=str(stands), beside=str(self.strays[hour]))

    def say(self, record: RestateRecord) -> None:
        """It comes into the log, perhaps twice."""
        for _ in range(self.rng.choice((1, 1, 2))):
            self.world.define(Restatement(customer="acme", said=record, offset=1000 + len(self.world.definitions)))

    @staticmethod
    def standing(found: CellReceipt) -> str:
        """What the receipt says that stands."""
        return "0" if found.standing is None else found.standing.units


def seeded(seed: int) -> list[str]:
    """Whatever is lost, changed or doubled by other hands, and whenever it is said, even late or twice, and whoever dies: in the end each hour holds,
    with what stands beside it, what was used; of a final one the adjustment lists the rest, and nobody is called."""
    rng = random.Random(seed)
    world = World(seed)
    world.definitions.append(binding("acme", item_of("si_1")))
    tampered = Tampered(world, rng)
    for hour in HOURS:
        tampered.use(hour)
    world.settle()
    final_at = rng.randrange(30) if seed % 2 else None
    posts = None
    for turn in range(25):
        if turn == final_at:
            world.settle()
            world.define(invoice())
            posts = world.stripe.posts
        _turn(tampered)
    world.settle()
    for _ in range(3):
        _sweep(tampered)
    # What comes later is reported by itself, with nobody looking again.
    for hour in HOURS * 2:
        tampered.use(hour)
        world.settle()
    faults = [] if posts is None or world.stripe.posts == posts else [f"{world.stripe.posts - posts} calls were made for final cells"]
    return faults + [fault for hour in HOURS if (fault := _wrong(tampered, hour))] + world.stripe.errors[:2] + world.double_intents[:2]


def _turn(tampered: Tampered) -> None:
    world, rng = tampered.world, tampered.rng
    hour = rng.choice(HOURS)
    deed = rng.random()
    if deed < 0.3:
        tampered.use(hour)
    elif deed < 0.45:
        tampered.tamper(hour)
    elif deed < 0.7:
        record = tampered.look(hour)
        tampered.seen += [] if record is None else [record]
    elif tampered.seen:
        tampered.say(tampered.seen.pop(rng.randrange(len(tampered.seen))))
    if world.worker is None:
        world.start()
    assert world.worker is not None
    world.feed()
    for _ in range(rng.choice((0, 2, 30))):
        world.step(world.worker)
        world.pass_time(rng.choice((1, 20, 200)))
    if rng.random() < 0.2:
        world.kill()


def _sweep(tampered: Tampered) -> None:
    """Everything is looked at and said once more, and what follows from it is done."""
    world = tampered.world
    for hour in HOURS:
        record = tampered.look(hour)
        if record is not None:
            tampered.say(record)
    world.kill()
    world.settle()
    assert world.worker is not None
    for _ in range(40):
        world.step(world.worker)
        world.pass_time(20)


def _wrong(tampered: Tampered, hour: int) -> str:
    """What is wrong with an hour in the end; empty where nothing is."""
    found = tampered.receipt(hour)
    if found is None:
        return f"{hour} is not at rest"
    stands = tampered.world.stripe.cells.get(("si_1", hour), 0) + tampered.strays[hour]
    listed = 0 if found.adjustment is None else parse_total(found.adjustment.units) // ONE
    if str(stands) != tampered.standing(found):
        return f"{hour}: {stands} stand, its receipt says {tampered.standing(found)}"
    if stands + listed != tampered.wanted[hour]:
        return f"{hour}: {stands} stand and {listed} are listed, {tampered.wanted[hour]} were used"
    return ""


def test_h40_what_was_found_at_the_provider_is_put_right_once() -> None:
    """Cells that other hands changed end exact in every seed: open ones hold what was used, final ones list what is missing or too much."""
    assert not clean(seeded, 24)
