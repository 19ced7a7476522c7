"""H17, laws 6 and 8: customer `a|b` and meter `c` against `a` and `b|c`; names beyond ASCII, of a thousand bytes, that look escaped."""

from __future__ import annotations

import random
from collections import Counter
from itertools import accumulate, product

import numpy as np
from numpy.typing import NDArray

from sinks.keys import idempotency_key
from streams.duplicates import Digester
from streams.names import Names
from tests.core.meterlog import NOW_MS, PARTITIONS, Log, meters_record, usage
from tests.core.report_world import START_S, World, binding, item_of, total_of
from tests.hazards.fold import Fold, clean
from topics.content_hash import event_hash
from topics.home import home_of
from topics.instants import format_us
from topics.meters import Meter, Timing
from topics.quantity import ONE
from topics.receipt import cell_key, parked_key
from topics.windows import Window, parse_window_key, window_key

PIECES = ("a", "b", "|", "%", "%7C", "%25", '"', "\\", "\0", "é", "漢", " ", "calls", ",", "1", "x" * 300)
METER = Meter(slug="calls", event_type="api.request", window_s=60)


def _names(rng: random.Random, count: int) -> list[str]:
    """Names that are pieces of each other."""
    found = {"".join(rng.choice(PIECES) for _ in range(rng.randrange(1, 5))) for _ in range(count)}
    return sorted(found)


def _laid(names: list[str]) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """One behind the other, with where each begins."""
    texts = [name.encode() for name in names]
    return np.frombuffer(b"".join(texts), np.uint8), np.array([0, *accumulate(map(len, texts))], np.int64)


def _digests(digester: Digester, pairs: list[tuple[str, ...]]) -> list[str]:
    """Of one id, by the customer and source that it belongs to."""
    each = np.arange(len(pairs))
    prefixes = digester.prefixes(_laid([pair[0] for pair in pairs]), each, _laid([pair[1] for pair in pairs]), each)
    return [str(digest) for digest in digester.digests(prefixes, Names.of_bytes([b"id"] * len(pairs))).tolist()]


def _digest(digester: Digester, prefix: bytes, event_id: bytes) -> str:
    return str(digester.digests(np.frombuffer(prefix, np.uint64).reshape(1, 2), Names.of_bytes([event_id])).tolist())


def _injective(rng: random.Random) -> list[str]:
    """Every function that makes one key of several names, over pairs of hostile names."""
    pairs = list(product(_names(rng, 14), repeat=2))
    digester = Digester(bytes(range(16)))
    made = {
        "window_key": [window_key(Window(one, other, 0, 60)) for one, other in pairs],
        "cell_key": [cell_key("stripe", one, other).decode() for one, other in pairs],
        "parked_key": [parked_key(window_key(Window(one, other, 0, 60))).decode() for one, other in pairs],
        "digest of an id": _digests(digester, pairs),
        "digest of another id": [_digest(digester, b"p" * 16, (one + "\0" * len(other)).encode()) for one, other in pairs],
        "content hash": [str(event_hash(one, "m", other, "id", 0, 0)) for one, other in pairs],
        "content hash of an id": [str(event_hash("c", "m", one, other, 0, 0)) for one, other in pairs],
        "idempotency key": [idempotency_key("stripe", one, other, 1, 0, 1) for one, other in pairs],
    }
    wanted = dict.fromkeys(made, len(pairs)) | {"digest of another id": len({one + "\0" * len(other) for one, other in pairs})}
    faults = [f"{what}: one for {Counter(found).most_common(1)[0][1]} pairs" for what, found in made.items() if len(set(found)) < wanted[what]]
    windows = [Window(one, other, 0, 60) for one, other in pairs]
    lost = [window for window in windows if parse_window_key(window_key(window)) != window]
    return faults + [f"{window} does not come back from its key" for window in lost[:2]]


def _counted(rng: random.Random) -> list[str]:
    """Each hostile customer and source has the same ids, and its own total."""
    names = [name for name in _names(rng, 40) if home_of(name.encode(), PARTITIONS) == 0 and "\0" not in name]
    log = Log()
    log.add(*meters_record((METER,), Timing()), NOW_MS)
    for name, source in product(names, names[:4]):
        log.add(name.encode(), usage(name, "id", format_us(NOW_MS * 1000), source=source), NOW_MS)
    life = Fold(log, rng)
    life.finish()
    found = {parse_window_key(key).customer: total.events for key, total in life.totals().items()}
    return [f"{name!r} has {found.get(name)} events of {len(names[:4])}" for name in names if found.get(name) != len(names[:4])]


def _delivered(seed: int, rng: random.Random) -> list[str]:
    """Each of them is billed at an item of its own."""
    world = World(seed)
    items = {name: f"si_{number}" for number, name in enumerate(_names(rng, 8))}
    for number, (name, item) in enumerate(items.items()):
        world.definitions.append(binding(name, item_of(item)))
        world.source.append(total_of(name, START_S - 3600, (number + 1) * ONE, number))
    world.settle()
    return [] if world.standing() == world.expected(items) else [f"billed {world.standing()}, used {world.expected(items)}"]


def seeded(seed: int) -> list[str]:
    """Hostile names through every key, through the meter and through the report."""
    rng = random.Random(seed)
    return _injective(rng) + _counted(rng) + _delivered(seed, rng)


def test_h17_no_two_names_share_a_key() -> None:
    """Whatever stands in a name, two customers, meters, sources or ids never share a window, a digest, a cell or a key."""
    assert not clean(seeded, 20)
