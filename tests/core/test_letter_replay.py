"""Dead letters are sent exactly once, whoever is killed, runs twice or comes back months later; the preview is what the meter then says."""

from __future__ import annotations

import asyncio
import json
import random
from collections import Counter
from typing import Any

import pytest

from infra.letters.archive import Selection
from infra.letters.edits import Edits
from infra.letters.letter import Letter, origin_coordinate
from infra.letters.plan import Next
from infra.letters.replay import Done, Order, replay
from tests.core.letter_world import Killed, ModelArchive, ModelLog, World
from tests.core.meterlog import PARTITIONS, Stored, usage
from topics.catalog import VERDICTS
from topics.errors import TidemarkError
from topics.event import Event, parse_event
from topics.home import home_of
from topics.meters import Timing
from topics.verdict import Mark, decode_verdict

TIMING = Timing(dedup_ms=600_000, horizon_ms=86_400_000 * 4000, future_ms=300_000, revision_delay_ms=0)
FIX = Edits(number=("data.n",))
MONTHS_MS = 90 * 86_400_000


def instant(ms: int) -> str:
    """RFC 3339."""
    from topics.instants import format_us

    return format_us(ms * 1000)


def send_some(world: World, rng: random.Random, count: int) -> None:
    """Producers: good events, strings with spaces, missing fields, wrong keys, times ahead, rubbish; some sent again, some twice."""
    for _ in range(count):
        world.now_ms += rng.choice((0, 1, 1000, 60_000))
        customer = f"c{rng.randrange(6)}"
        home = home_of(customer.encode(), PARTITIONS)
        number = f"e{rng.randrange(60)}"
        kind = rng.random()
        key: bytes | None = customer.encode()
        value = usage(customer, number, instant(world.now_ms - 5000), {"n": 1 + rng.randrange(9)})
        if kind < 0.45:
            value = usage(customer, number, instant(world.now_ms - 5000), {"n": f" {1 + rng.randrange(9)} "})
        elif kind < 0.52:
            value = usage(customer, number, instant(world.now_ms + 3_600_000), {"n": 3})
        elif kind < 0.6:
            key = rng.choice((None, b"someone"))
        elif kind < 0.65:
            value = b'{"half": '
        elif kind < 0.75:
            value = usage(customer, "", None, {"n": 1})
        for _ in range(rng.choice((1, 1, 1, 2))):
            world.append(home if rng.random() < 0.97 else (home + 1) % PARTITIONS, key, value)


def run(world: World, order: Order, kill: Any = lambda: False) -> Done | str:
    """One operator: what it did, or how it ended."""

    async def threadless() -> Done:
        return await replay(ModelLog(world, kill), ModelArchive(world), order, world.now_ms)

    try:
        return asyncio.run(threadless())
    except Killed:
        return "killed"
    except TidemarkError as error:
        return str(error)


def origins(world: World) -> Counter[Any]:
    """How often each origin is in the logs."""
    found: Counter[Any] = Counter()
    for each in world.partitions:
        found.update(origin for record in each.log.records if (origin := origin_coordinate(record.headers)) is not None)
    return found


def counted_records(world: World) -> dict[Any, list[Stored]]:
    """The records of each id that a meter counted, in their order."""
    found: dict[Any, list[Stored]] = {}
    for each in world.partitions:
        said = [decode_verdict(send.value, "test") for send in each.said[VERDICTS]]
        refused = {one.offset for one in said if not isinstance(one, Mark)}
        for record in each.log.records:
            event = parse_event(record.value)
            if record.offset < each.folded and record.offset not in refused and isinstance(event, Event) and not event.type.startswith("tidemark."):
                found.setdefault((event.subject, event.source, event.id), []).append(record)
    return found


def order_of(rng: random.Random) -> Order:
    """What an operator types."""
    reason = rng.choice(("", "bad_quantity", "key_mismatch", "future", "missing_field"))
    named = Edits(set=(("id", rng.choice((f"new{rng.random()}", f"e{rng.randrange(60)}"))),))  # two operators give one letter two ids
    edits = {"key_mismatch": Edits(key_from_subject=True), "future": Edits(), "": Edits(), "missing_field": named}.get(reason, FIX)
    return Order(selection=Selection(reason=reason), edits=edits, who="ann", why="test", send=True)


@pytest.mark.parametrize("seed", range(16))
def test_each_letter_is_sent_at_most_once_whatever_happens(seed: int) -> None:
    """Operators who are killed at any point, run again, run beside each other and months later never send a letter twice, nor count an id twice."""
    world = World(seed, TIMING)
    rng = random.Random(seed)
    for _ in range(12):
        send_some(world, rng, 12)
        world.fold()
        chance = rng.choice((0.0, 0.1, 0.4))
        run(world, order_of(rng), lambda chance=chance: rng.random() < chance)
        if rng.random() < 0.3:
            world.now_ms += MONTHS_MS  # beyond dedup, within the archive
    _check_once(world)
    for _ in range(4):  # in the end everybody who is left gets everything through
        world.fold(all_=True)
        for reason, edits in (("bad_quantity", FIX), ("key_mismatch", Edits(key_from_subject=True)), ("future", Edits())):
            run(world, Order(selection=Selection(reason=reason), edits=edits, who="ann", why="test", send=True))
    world.fold(all_=True)
    _check_once(world)
    left = run(world, Order(selection=Selection(), edits=FIX))
    assert isinstance(left, Done)
    assert not left.counts[Next.SEND], "what could be counted was not sent"
    counted = counted_records(world)
    for letter in ModelArchive(world).letters():
        if letter.reason == "bad_quantity":
            assert letter.id in counted, "a letter that could be put right was forgotten"


def _check_once(world: World) -> None:
    """No letter is in the log twice, and none whose id was counted before was counted. (A producer's own copies beyond dedup are: law 6.)"""
    letters = {letter.coordinate for letter in ModelArchive(world).letters()}
    assert not {origin: times for origin, times in origins(world).items() if times > 1 and origin in letters}
    for event, records in counted_records(world).items():
        by_replay = [origin_coordinate(record.headers) in letters for record in records]
        assert not any(by_replay[1:]), f"{event} was counted, and then once more from a letter"


@pytest.mark.parametrize("reason", ["bad_quantity", "missing_field"])
@pytest.mark.parametrize("step", range(8))
def test_two_at_once_send_once(step: int, reason: str) -> None:
    """Of two operators the later start wins, at whatever step of the first it comes: a letter is sent once, also where each gave it another id."""
    world = World(step, TIMING)
    send_some(world, random.Random(step), 60)
    world.fold(all_=True)

    def order(who: str) -> Order:
        edits = FIX if reason == "bad_quantity" else Edits(set=(("id", who), ("data.n", "1")))
        return Order(selection=Selection(reason=reason), edits=edits, who=who, why="test", send=True)

    async def both() -> list[Any]:
        second = replay(ModelLog(world), ModelArchive(world), order("bob"), world.now_ms)
        first = _Interrupted(world, step, second)
        outcomes: list[Any] = list(await asyncio.gather(replay(first, ModelArchive(world), order("ann"), world.now_ms), return_exceptions=True))
        if first.second is not None:
            outcomes.append(await second)
        return outcomes

    outcomes = asyncio.run(both())
    assert all(isinstance(one, Done | TidemarkError) for one in outcomes), outcomes
    world.fold(all_=True)
    _check_once(world)
    left = run(world, order("ann"))
    assert isinstance(left, Done)
    assert not left.counts[Next.SEND] or reason == "missing_field"  # bob's copies of one id: ann's id is another one


class _Interrupted(ModelLog):
    """At one of its steps another operator starts and finishes."""

    def __init__(self, world: World, step: int, second: Any) -> None:
        super().__init__(world)
        self.step = step
        self.second = second

    async def _turn(self) -> None:
        self.step -= 1
        if self.step < 0 and self.second is not None:
            second, self.second = self.second, None
            await second

    async def open(self) -> None:
        await self._turn()
        await super().open()
        await self._turn()

    async def tail(self, archived_to: Any) -> Any:
        await self._turn()
        found = await super().tail(archived_to)
        await self._turn()
        return found

    async def send(self, records: Any) -> None:
        await self._turn()
        await super().send(records)
        await self._turn()


@pytest.mark.parametrize("seed", range(5))
def test_the_preview_is_what_the_meter_says(seed: int) -> None:
    """Every letter that is sent is counted with the quantity and window that the preview named, at the received_at that it had."""
    world = World(seed, TIMING)
    rng = random.Random(seed)
    send_some(world, rng, 80)
    world.fold(all_=True)
    world.now_ms += 2 * 3_600_000
    before = {letter.coordinate: letter for letter in ModelArchive(world).letters()}
    sums = _sums(world)
    order = Order(selection=Selection(), edits=FIX, who="ann", why="test", send=True)
    done = run(world, order)
    assert isinstance(done, Done)
    world.fold(all_=True)
    sent = [one for one in done.planned if one.next is Next.SEND]
    assert sent
    for one in sent:
        assert one.edited.verdict is not None
        for share in one.edited.verdict.shares:
            sums[share.window] += share.scaled
    assert _sums(world) == sums
    fates = ModelArchive(world).replays(0)
    for one in sent:
        (fate,) = fates[one.letter.coordinate]
        assert fate.verdict == "counted"
        record = next(each for each in world.partitions[fate.partition].log.records if each.offset == fate.offset)
        assert origin_coordinate(record.headers) == one.letter.coordinate
        assert before[one.letter.coordinate].received_at_ms == one.letter.received_at_ms
    assert {one.letter.coordinate for one in done.planned} == set(before)


def _sums(world: World) -> Counter[Any]:
    found: Counter[Any] = Counter()
    for each in world.partitions:
        for row in each.meter.state.rows.all():
            found[row.window] += row.scaled
    return found


def test_what_came_before_a_dropped_month_is_never_sent() -> None:
    """A letter whose own record the archive dropped may have been sent again in what was dropped: it is `gone`, and stays."""
    world = World(3, TIMING)
    world.append(home_of(b"c1", PARTITIONS), b"c1", usage("c1", "e1", instant(world.now_ms), {"n": " 4 "}))
    world.fold(all_=True)
    world.now_ms += MONTHS_MS
    world.dropped_before_ms = world.now_ms
    done = run(world, Order(selection=Selection(), edits=FIX, who="ann", why="test", send=True))
    assert isinstance(done, Done)
    assert done.counts == Counter({Next.DONE: 1})
    assert done.planned[0].standing.state == "gone"


def test_a_resend_by_the_producer_is_seen_beyond_dedup() -> None:
    """A letter whose id its producer sent again, rightly and months ago, is not sent: beyond dedup the meter would count it twice."""
    world = World(4, TIMING)
    home = home_of(b"c1", PARTITIONS)
    world.append(home, b"c1", usage("c1", "e1", instant(world.now_ms), {"n": " 4 "}))
    world.append(home, b"c1", usage("c1", "e1", instant(world.now_ms), {"n": 4}))
    world.fold(all_=True)
    world.now_ms += MONTHS_MS
    done = run(world, Order(selection=Selection(), edits=FIX, who="ann", why="test", send=True))
    assert isinstance(done, Done)
    assert done.planned[0].standing.state == "resent"
    assert not done.counts[Next.SEND]


def test_a_control_record_is_never_sent_again() -> None:
    """A refused control record is no usage, whatever is changed of it."""
    world = World(5, TIMING)
    value = json.dumps({"specversion": "1.0", "id": "1", "source": "s", "type": "tidemark.unknown", "subject": "tidemark", "data": {"v": 9}})
    world.append(0, b"tidemark", value.encode())
    world.fold(all_=True)
    letters: list[Letter] = ModelArchive(world).letters()
    assert [letter.reason for letter in letters] == ["bad_control"]
    for edits in (Edits(), Edits(set=(("subject", "c1"),), key_from_subject=True)):
        done = run(world, Order(selection=Selection(), edits=edits, who="ann", why="test", send=True))
        assert isinstance(done, Done)
        assert done.counts == Counter({Next.REJECTED: 1})
