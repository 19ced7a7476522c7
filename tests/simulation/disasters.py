"""What can happen to a running system, each by its name in the plan. `numbers` are four of chance in [0, 1): which, when, how long, how much."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from msgspec.structs import replace

from tests.simulation.amending import amend
from tests.simulation.plan import VICTIMS

if TYPE_CHECKING:
    from tests.simulation.workers import Worker
    from tests.simulation.world import World

Numbers = tuple[float, ...]

FREEZES_S: Final = (0.5, 3.0, 9.0, 40.0)
"""Below and above a session, and long enough for a successor to have done everything."""
SLEEPS_S: Final = (90.0, 3600.0, 26 * 3600.0)
"""A machine that sleeps: beyond the horizon; beyond Stripe's memory of keys."""
A_DAY_LATER: Final = 0.12
"""How many of the replaced workers come back only after a day."""
A_WHILE_S: Final = 60.0
WIRE_S: Final = 700.0
"""By then every request that was on the wire has landed."""
FAULTS: Final = {"500": 0.2, "503": 0.2, "429": 0.15}


def _one(world: World, draw: float) -> Worker | None:
    names = sorted(name for name in world.workers if name.split("-")[0] in VICTIMS[world.plan.focus])
    return world.workers[names[int(draw * len(names))]] if names else None


def _for(world: World, seconds: float, back: Callable[[], None]) -> None:
    """Undo it later."""
    world.kernel.outside(seconds, back)


def kill(world: World, numbers: Numbers) -> None:
    """kill -9 of one worker, between any two of its steps."""
    worker = _one(world, numbers[0])
    if worker is not None:
        worker.process.strike_after(1 + int(numbers[1] * 400), lambda: world.kill(worker, "is killed", 0.2 + numbers[2] * 4))


def freeze(world: World, numbers: Numbers) -> None:
    """SIGSTOP between any two steps, SIGCONT later."""
    worker = _one(world, numbers[0])
    if worker is None:
        return
    seconds = FREEZES_S[int(numbers[2] * len(FREEZES_S))]

    def stop() -> None:
        world.say(f"{worker.name} is frozen for {seconds} s")
        worker.process.frozen = True
        _for(world, seconds, go_on)

    def go_on() -> None:
        if world.kernel.now_s >= world.resting_until_s:
            world.say(f"{worker.name} goes on")
            worker.process.frozen = False

    worker.process.strike_after(1 + int(numbers[1] * 400), stop)


def zombie(world: World, numbers: Numbers) -> None:
    """A worker is frozen, another of its name is started in its place, then the first goes on."""
    worker = _one(world, numbers[0])
    if worker is None or world.workers.get(worker.name) is not worker:
        return

    def stop() -> None:
        world.say(f"{worker.name} is frozen and replaced")
        worker.process.frozen = True
        if world.workers.get(worker.name) is worker:
            del world.workers[worker.name]
            world.kernel.outside(1.0, lambda: world.start(worker.name))
        if numbers[3] < A_DAY_LATER:
            world.heal_after_s = max(world.heal_after_s, world.kernel.now_s + A_WHILE_S + 1.0)
            _for(world, A_WHILE_S, night)
        else:
            thaw_after(FREEZES_S[int(numbers[2] * len(FREEZES_S))])

    def night() -> None:
        """It thaws when Stripe has forgotten every key that it knows: a day later, which the others sleep through."""
        slept_s = SLEEPS_S[-1] if sleep(world, (0.99,)) else 0.0
        world.heal_after_s = max(world.heal_after_s, world.kernel.now_s + slept_s + 30.0)
        thaw_after(slept_s + 1.0)

    def thaw_after(seconds: float) -> None:
        _for(world, seconds, go_on)
        _for(world, seconds + 60.0, lambda: world.kernel.kill(worker.process))

    def go_on() -> None:
        world.say(f"the frozen {worker.name} goes on beside its successor")
        worker.process.frozen = False

    worker.process.strike_after(1 + int(numbers[1] * 400), stop)


def term(world: World, numbers: Numbers) -> None:
    """SIGTERM: the worker lets go and leaves, and is started again."""
    worker = _one(world, numbers[0])
    if worker is None:
        return

    async def leave() -> None:
        await worker.delivery.stop()
        world.kernel.outside(0.0, lambda: world.kill(worker, "has stopped", 0.5))

    world.say(f"{worker.name} is told to stop")
    world.kernel.inside(worker.process, lambda: world.kernel.create_task(leave()))


def kill_all(world: World, numbers: Numbers) -> None:
    """The machine loses power."""
    for number, worker in enumerate(list(world.workers.values())):
        world.kill(worker, "is killed with all others", 0.2 + numbers[number % 4] * 4)


def sleep(world: World, numbers: Numbers) -> bool:
    """Every worker stands still, Stripe and the clock do not: a suspended machine. False where it sleeps already."""
    if world.kernel.now_s < world.resting_until_s or world.is_healed:
        return False
    seconds = SLEEPS_S[int(numbers[0] * len(SLEEPS_S))]
    world.say(f"all workers sleep for {seconds:.0f} s")
    for worker in world.workers.values():
        worker.process.frozen = True
    world.resting_until_s = world.kernel.now_s + seconds

    def wake() -> None:
        world.say("all workers wake")
        for worker in world.workers.values():
            worker.process.frozen = False

    # What is on the wire lands while they sleep; then nothing happens until they wake.
    world.kernel.outside(min(seconds, WIRE_S), lambda: world.kernel.skip_to(world.resting_until_s))
    world.kernel.outside(seconds, wake)
    return True


def kafka_down(world: World, numbers: Numbers) -> None:
    """No broker answers, for seconds or longer than any time-out."""
    world.say("Kafka is away")
    world.broker.is_down = True
    _for(world, (3.0, 15.0, 70.0)[int(numbers[0] * 3)], lambda: setattr(world.broker, "is_down", False))


def kafka_lossy(world: World, numbers: Numbers) -> None:
    """Requests and answers are lost."""
    world.say("Kafka's network loses")
    world.broker.loss = 0.02 + numbers[1] * 0.2
    _for(world, 2 + numbers[0] * 20, lambda: setattr(world.broker, "loss", 0.0))


def kafka_slow(world: World, numbers: Numbers) -> None:
    """Every way takes up to seconds."""
    world.say("Kafka is slow")
    world.broker.slowness_s = (0.2, 2.0, 9.0)[int(numbers[1] * 3)]
    _for(world, 2 + numbers[0] * 20, lambda: setattr(world.broker, "slowness_s", world.plan.slowness_s))


def kafka_clock(world: World, numbers: Numbers) -> None:
    """A new leader's clock is behind."""
    world.broker.behind_ms = int(numbers[1] * 8000)
    world.say(f"Kafka's clock goes back {world.broker.behind_ms} ms")
    _for(world, numbers[0] * 20, lambda: setattr(world.broker, "behind_ms", 0))


def engine_down(world: World, numbers: Numbers) -> None:
    """ClickHouse does not answer."""
    world.say("ClickHouse is away")
    world.engine.is_down = True
    _for(world, 1 + numbers[0] * 40, lambda: setattr(world.engine, "is_down", False))


def engine_partly(world: World, numbers: Numbers) -> None:
    """Inserts are cut off, answers lost."""
    world.say("ClickHouse cuts inserts off")
    world.engine.partly, world.engine.lost = numbers[1] * 0.5, numbers[2] * 0.5

    def back() -> None:
        world.engine.partly = world.engine.lost = 0.0

    _for(world, 5 + numbers[0] * 40, back)


def stripe_faults(world: World, numbers: Numbers) -> None:
    """Errors of every kind, answers lost."""
    world.say("Stripe answers errors")
    world.site.stripe.faults, world.site.lost = dict(FAULTS), numbers[1] * 0.5

    def back() -> None:
        world.site.stripe.faults, world.site.lost = {}, 0.0

    _for(world, 5 + numbers[0] * 60, back)


def stripe_down(world: World, numbers: Numbers) -> None:
    """Stripe is away."""
    world.say("Stripe is away")
    world.site.stripe.is_down = True
    _for(world, 5 + numbers[0] * 60, lambda: setattr(world.site.stripe, "is_down", False))


def stripe_hangs(world: World, numbers: Numbers) -> None:
    """Requests land minutes after their sender gave up (H22)."""
    world.say("requests to Stripe hang")
    world.site.hangs = 0.2 + numbers[1] * 0.6
    _for(world, 5 + numbers[0] * 60, lambda: setattr(world.site, "hangs", 0.0))


def stripe_sticky(world: World, numbers: Numbers) -> None:
    """A failure that is saved under its key (H24)."""
    world.say("Stripe saves failures under keys")
    world.site.stripe.sticky = lambda key: hash_of(key) < numbers[1] * 0.6


def hash_of(key: str) -> float:
    """A key's own number in [0, 1)."""
    return sum(key.encode()) % 97 / 97


def compact(world: World, _numbers: Numbers) -> None:
    """The broker compacts what it likes."""
    world.say("compaction")
    world.broker.compact()


def clock(world: World, numbers: Numbers) -> None:
    """One worker's clock jumps, forward or back."""
    worker = _one(world, numbers[0])
    if worker is not None:
        worker.process.skew_ms = int((numbers[1] - 0.5) * (4_000 if numbers[2] < 0.7 else 4_000_000))
        world.say(f"the clock of {worker.name} is off by {worker.process.skew_ms} ms")


def scale(world: World, numbers: Numbers) -> None:
    """A second meter or report comes, or goes."""
    kinds = [kind for kind in VICTIMS[world.plan.focus] if kind != "archive"]
    if not kinds:
        return
    name = f"{kinds[int(numbers[0] * len(kinds))]}-1"
    if name not in world.wanted:
        world.wanted.add(name)
        world.start(name)
        return
    world.wanted.discard(name)
    if name in world.workers:
        world.kill(world.workers[name], "goes, with its machine", 1.0)


def rebind(world: World, numbers: Numbers) -> None:
    """A customer's items are replaced."""
    world.say("items are replaced")
    world.apply_items(int(numbers[0] * 100), f"_{int(numbers[1] * 1000)}")


def remeter(world: World, numbers: Numbers) -> None:
    """The grid of a meter changes."""
    world.say("a meter's window changes")
    first, *others = world.meters
    world.apply_meters((replace(first, window_s=(10, 20, 30, 60)[int(numbers[0] * 4)]), *others))


def refuse(world: World, numbers: Numbers) -> None:
    """An item is gone at Stripe for a while."""
    items = [item.item for customer in world.plan.customers for item in customer.items()]
    if items:
        item = items[int(numbers[0] * len(items))]
        world.say(f"Stripe does not know {item}")
        world.site.stripe.refuse[item] = (404, {"type": "invalid_request_error", "code": "resource_missing", "message": "No such item"})
        _for(world, 5 + numbers[1] * 60, lambda: world.site.stripe.refuse.pop(item, None) and None)


def close(world: World, numbers: Numbers) -> None:
    """Somebody closes all windows by hand."""
    world.say("windows are closed by hand")
    world.close(f"close {numbers[0]}")


DISASTERS: Final[dict[str, Callable[[World, Numbers], object]]] = {
    each.__name__: each
    for each in (
        kill, freeze, zombie, term, kill_all, sleep, kafka_down, kafka_lossy, kafka_slow, kafka_clock, engine_down, engine_partly,
        stripe_faults, stripe_down, stripe_hangs, stripe_sticky, compact, clock, scale, rebind, remeter, refuse, close, amend,
    )
}  # fmt: skip
