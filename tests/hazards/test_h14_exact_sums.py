"""H14, law 11: int64 wraps, binary floats round, Decimal's 28 digits lose the twelfth place from 10¹⁶ on; sums must not depend on batching."""

from __future__ import annotations

import json
import random
from decimal import Context, Decimal, localcontext
from fractions import Fraction
from typing import Any

from sinks.clickhouse.bounds import decimal38, decimal76
from sinks.units import total_of, units_of
from tests.core.meterlog import NOW_MS, Log, customers, meters_record
from tests.hazards.fold import Fold, clean, differences
from topics.instants import format_us
from topics.meters import Meter, Timing
from topics.quantity import ONE

NAME = customers(1)[0]
METERS = (
    Meter(slug="exact", event_type="use", value="n", window_s=60, allow_negative=True),
    Meter(slug="filtered", event_type="use", value="n", where={"k": 1}, window_s=3600, allow_negative=True),
)


def _quantity(rng: random.Random) -> tuple[str, Fraction]:
    """JSON text of a quantity, and its value: up to 10¹⁸ in size, up to twelve places, an integer, a number or a string."""
    size = rng.choice((1, 7, 10**6, 2**53 + 1, 10**16 + 1, 10**18 - 1, rng.randrange(10**18)))
    if rng.random() < 0.4:
        return str(size), Fraction(size)
    places = rng.choice((1, 2, 6, 12))
    digits = f"{rng.randrange(1, 10**places):0{places}d}"
    sign = rng.choice(("", "", "-"))
    text = f"{sign}{size}.{digits}"
    return (text if rng.random() < 0.5 else json.dumps(text)), Fraction(text)


def _story(rng: random.Random) -> tuple[Log, dict[str, Fraction]]:
    log, wanted = Log(), dict[str, Fraction]()
    log.add(*meters_record(METERS, Timing()), NOW_MS)
    for number in range(60):
        text, value = _quantity(rng)
        at_ms = NOW_MS + rng.randrange(120_000)
        chosen = rng.random() < 0.5
        body = {"specversion": "1.0", "id": f"e{number}", "source": "s", "type": "use", "subject": NAME, "time": format_us(at_ms * 1000)}
        data = f'{{"k":{1 if chosen else 2},"n":{text}}}'
        headers = (("trace", b"1"),) if rng.random() < 0.3 else ()  # read by the reference instead of the fast path
        log.add(NAME.encode(), json.dumps(body)[:-1].encode() + f',"data":{data}}}'.encode(), NOW_MS + number, headers)
        start = at_ms // 60_000 * 60
        wanted[f"{NAME}|exact|{start}|{start + 60}"] = wanted.get(f"{NAME}|exact|{start}|{start + 60}", Fraction(0)) + value
        if chosen:
            hour = at_ms // 3_600_000 * 3600
            wanted[f"{NAME}|filtered|{hour}|{hour + 3600}"] = wanted.get(f"{NAME}|filtered|{hour}|{hour + 3600}", Fraction(0)) + value
    return log, wanted


def _downstream(totals: dict[str, Any]) -> list[str]:
    """The archive's decimals and the report's units of the same totals, under a careless Decimal context."""
    faults = []
    with localcontext(Context(prec=6)):
        for total in totals.values():
            scaled = int(total.quantity * ONE)
            kept = Fraction(decimal76(scaled)), Fraction(decimal38(scaled % 10**30)) * ONE
            if kept != (total.quantity, Fraction(scaled % 10**30)):
                faults.append(f"the archive keeps {kept[0]} of {total.quantity}")
        quantities = [str(Decimal(int(total.quantity * ONE)).as_integer_ratio()[0]) for total in totals.values()]
    whole = sum(int(quantity) for quantity in quantities)
    summed = total_of(quantities)
    if summed != str(whole) or (0 <= whole < 2**63 and units_of(summed, "1") != whole):
        faults.append(f"the report sums to {summed}, not {whole}")
    return faults


def seeded(seed: int) -> list[str]:
    """The same log in two random cuts: both equal sums of fractions, and so do the archive's and the report's numbers made from them."""
    rng = random.Random(seed)
    log, wanted = _story(rng)
    faults: list[str] = []
    for cut in (1, 2):
        life = Fold(log, random.Random(seed * 2 + cut))
        while life.partition.next_offset < log.end:
            life.apply(life.partition.next_offset + rng.choice((1, 9, 60)))
            life.flush()
            if rng.random() < 0.3:
                life.restart()
        life.finish()
        totals = life.totals()
        faults += differences(f"cut {cut}: sum of", {key: total.quantity for key, total in totals.items()}, wanted)
        faults += _downstream(totals)
    return faults


def test_h14_sums_are_those_of_fractions_whatever_the_batches() -> None:
    """Sums of quantities up to 10¹⁸ with twelve places equal those of exact fractions, in the meter, the archive and the report."""
    assert not clean(seeded, 40)
