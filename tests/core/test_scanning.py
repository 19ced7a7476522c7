"""The compiled reading of events against what says what JSON, an instant and a quantity are: whatever it takes for plain means the same there."""

from __future__ import annotations

import json
import random
from typing import Any

import numpy as np
import pytest

from streams.columns import FEW
from tests.core.meterlog import NOW_MS, PARTITIONS, Disk, Log, customers, fresh, meters_record
from topics.batch import Batch
from topics.home import home_of
from topics.instants import parse_us
from topics.meters import Meter, Timing
from topics.numbering import Numbering
from topics.quantity import LIMIT, BadQuantity, Digits, OutOfRange, parse
from topics.scan_amounts import amounts_of
from topics.scan_times import UNSURE, instant_us
from topics.scan_values import BAD, DEPTH, value_end
from topics.spans import Spans

ODD = ("1e3", "1E-13", "", "-", ".", "1.", ".5", "x", "९")
SCALARS: list[Any] = [0, -1, 2.5, 1e300, "x", 'a"\\\n', "ü", "😀", "", True, False, None, "\u2028", 10**30, -0.0]
LEADS = (0x41, 0x80, 0x8F, 0x90, 0x9F, 0xA0, 0xBF, 0xC1, 0xC2, 0xE0, 0xED, 0xEF, 0xF0, 0xF4, 0xF5)
MARKS = (*b'"\\{}[],:0-+.eE \n\t', 0x00, 0x1F, 0x7F, 0x80, 0xBF, 0xC0, 0xE0, 0xED, 0xF4, 0xFF, *b"tfnu")


def ended(data: bytes) -> int:
    """Where the first value of these bytes ends; what lies around them is no part of it."""
    buffer = np.frombuffer(b'"]}' + data + b'"]}', np.uint8)
    found = value_end(buffer, 3, 3 + len(data))
    return found - 3 if found >= 0 else BAD


def grown(rng: random.Random, depth: int) -> Any:
    """Some JSON."""
    kind = rng.random()
    if not depth or kind < 0.5:
        return rng.choice(SCALARS)
    if kind < 0.75:
        return [grown(rng, depth - 1) for _ in range(rng.randrange(4))]
    return {rng.choice(("a", "ü", '"', "b\\")) + str(number): grown(rng, depth - 1) for number in range(rng.randrange(4))}


@pytest.mark.parametrize("seed", range(4))
def test_a_value_ends_where_json_says(seed: int) -> None:
    """Every JSON text without surrogate escapes is followed to its end; of a mutilated one nothing is taken that is no JSON."""
    rng = random.Random(seed)
    for _ in range(3000):
        text = json.dumps(grown(rng, 5), ensure_ascii=rng.random() < 0.3, indent=rng.choice((None, 1)))
        data = text.encode()
        assert ended(data) == len(data) or "\\ud" in text
        changed = bytearray(data)
        for _ in range(rng.randrange(1, 4)):
            changed[rng.randrange(len(changed))] = rng.choice(MARKS)
        end = ended(bytes(changed))
        if end != BAD:
            json.loads(bytes(changed[:end]).decode())
        cut = data[: rng.randrange(len(data))]
        assert ended(cut) <= len(cut)


def test_nesting_is_followed_to_a_depth() -> None:
    """Brackets beyond the depth are left to the reference, which has its own bound; they cost no stack."""
    assert ended(b"[" * DEPTH + b"]" * DEPTH) == 2 * DEPTH
    assert ended(b"[" * (DEPTH + 1) + b"]" * (DEPTH + 1)) == BAD
    assert ended(b'{"a":' * 60_000) == BAD


def test_text_that_is_no_utf8_is_no_value() -> None:
    """Overlong forms, surrogates, cut characters and what lies above U+10FFFF are refused; all else that Python decodes is taken."""
    rng = random.Random(9)
    for _ in range(20_000):
        inner = bytes(rng.choice(LEADS) for _ in range(rng.randrange(6)))
        try:
            inner.decode()
        except UnicodeDecodeError:
            assert ended(b'"' + inner + b'"') == BAD
        else:
            assert ended(b'"' + inner + b'"') == len(inner) + 2


@pytest.mark.parametrize("seed", range(3))
def test_an_instant_is_what_the_reference_says(seed: int) -> None:
    """Dates that exist and dates that do not, fractions, zones and slips of the pen: the compiled reader says the same number, or nothing."""
    rng, sure = random.Random(seed), 0
    zones = ("Z", "+00:00", "-00:00", "+05:30", "-23:59", "z", "", "+24:00", "+1:00", "ZZ")
    for _ in range(30_000):
        year = rng.choice((rng.randrange(10_001), 2024, 2026, 1900, 2000, 9999, 1, 0))
        date = f"{year:04d}-{rng.randrange(14):02d}-{rng.randrange(1, 33):02d}"
        clock = f"{rng.choice((rng.randrange(26), 5)):02d}:{rng.choice((rng.randrange(62), 5)):02d}:{rng.choice((rng.randrange(62), 5)):02d}"
        text = f"{date}T{clock}{rng.choice(('', '.5', '.123456', '.1234567', '.123456789', '.', '. 1', '.00001'))}{rng.choice(zones)}"
        if rng.random() < 0.2:
            at = rng.randrange(len(text))
            text = text[:at] + rng.choice("09:-TZ+.a/") + text[at + 1 :]
        data = np.frombuffer(text.encode(), np.uint8)
        found = instant_us(data, 0, len(data))
        if found != UNSURE:
            assert found == parse_us(text), text
            sure += 1
    assert sure > 3000


def test_common_instants_need_no_reference() -> None:
    """What producers' libraries write, up to nanoseconds and with an offset, is read by the compiled reader."""
    for text in ("2026-11-21T00:00:00Z", "2026-11-21T00:00:00.123456789Z", "2024-02-29T23:59:59.5+05:30", "2026-11-21T00:00:00.000+00:00"):
        data = np.frombuffer(text.encode(), np.uint8)
        assert instant_us(data, 0, len(data)) == parse_us(text)


@pytest.mark.parametrize("allow_negative", [True, False])
def test_a_quantity_is_what_the_reference_says(allow_negative: bool) -> None:
    """Digits, points, exponents, signs, bounds: the same 128 bits as the reference's integer, or a fault where it has one."""
    rng = random.Random(5)
    texts = ["0", "-0", "00", "1", "-1", str(LIMIT), str(LIMIT + 1), str(-LIMIT), "0.000000000001", "0.0000000000001", *ODD]
    for _ in range(5000):
        whole, places = "".join(rng.choice("0123456789") for _ in range(rng.choice((1, 3, 17, 18, 19, 20)))), rng.choice((0, 0, 1, 6, 12, 13))
        texts.append(rng.choice(("", "-")) + whole + ("." + "".join(rng.choice("0059") for _ in range(places)) if places else ""))
        if rng.random() < 0.1:
            at = rng.randrange(len(texts[-1]))
            texts[-1] = texts[-1][:at] + rng.choice("-+.eE x0") + texts[-1][at:]
    column = Spans.of([text.encode() for text in texts])
    amounts, faults = amounts_of(column.buffer, column.starts, column.lengths, allow_negative=allow_negative)
    for place, text in enumerate(texts):
        try:
            wanted = parse(Digits(text))
        except (BadQuantity, OutOfRange):
            assert place in faults, text
            continue
        if wanted < 0 and not allow_negative:
            assert place in faults, text
        else:
            assert (place in faults, int.from_bytes(amounts[place].tobytes(), "little", signed=True)) == (False, wanted), text


def test_names_have_one_number_each() -> None:
    """Names that come again, that share beginnings, empty ones, those that are not asked for: numbers are a dict's."""
    rng, numbering, known = random.Random(3), Numbering(12345), dict[bytes, int]()
    for size in (1, 5, 3000, 20_000, 10):
        names = [rng.choice((b"", b"\0", b"a" * rng.randrange(20), rng.randbytes(rng.randrange(18)))) for _ in range(size)]
        wanted = np.array([rng.random() < 0.9 for _ in names])
        column = Spans.of(names)
        found = numbering.of(column.buffer, column.starts, column.lengths, wanted).tolist()
        for name, number, asked in zip(names, found, wanted.tolist(), strict=True):
            assert number == (known.setdefault(name, len(known)) if asked else -1)
    assert numbering.names(0, numbering.count) == list(known)
    assert all(numbering.one(name) == number and numbering.name(number) == name for name, number in list(known.items())[:50])


@pytest.mark.parametrize("changed", [{0: 0x80, 8: 0x80, 11: 0x04}, {0: 0x40, 8: 0x40, 11: 0x02}, {0: 0x60, 8: 0x60, 11: 0x03}])
def test_names_cannot_be_made_to_meet(changed: dict[int, int]) -> None:
    """A change at the top of one word that a change in the next one undoes: such names have different hashes under every key."""
    plain = b"1234567812345678"
    other = bytes(byte ^ changed.get(at, 0) for at, byte in enumerate(plain))
    rng = random.Random(6)
    for _ in range(200):
        numbering = Numbering(rng.getrandbits(64))
        assert (numbering.one(plain), numbering.one(other)) == (0, 1)
        assert numbering._hashes[0] != numbering._hashes[1]


def test_ordinary_events_never_ask_the_reference(monkeypatch: pytest.MonkeyPatch) -> None:
    """White space, unknown fields, fields in any order, decimals as numbers and strings, `where`, names in any script: all are read by columns."""
    meters = (
        Meter(slug="gb", event_type="api", value="gb", where={"region": "eu", "paid": True, "tier": 2}, window_s=60),
        Meter(slug="calls", event_type="api", window_s=60),
    )
    name = next(text for text in (f"müller {number}" for number in range(99)) if home_of(text.encode(), PARTITIONS) == 0)
    log, rng = Log(), random.Random(1)
    log.add(*meters_record(meters, Timing()), NOW_MS)
    for number in range(200):
        customer = rng.choice([*customers(3), name])
        data = {"gb": rng.choice((1, 2.5, "0.125", 0)), "region": "eu", "paid": True, "tier": 2, "path": '/a"b', "tags": [{"x": None}, []]}
        event: dict[str, Any] = {"specversion": "1.0", "id": f"id-{number}", "source": "gw", "type": "api", "subject": customer, "note": "ours"}
        event |= {"time": rng.choice(("2026-11-20T23:59:00Z", "2026-11-20T23:59:00.123456789+00:00")), "data": data}
        fields = list(event.items())
        rng.shuffle(fields)
        log.add(customer.encode(), json.dumps(dict(fields), ensure_ascii=False, indent=rng.choice((None, 1))).encode(), NOW_MS)
    partition = fresh(Disk(), random.Random(1))
    batches = list(log.batches(0, random.Random(1)))
    partition.apply(batches[0])
    asked: list[int] = []
    slow = partition.reader.slow

    def said(batch: Batch, at: int) -> Any:
        if len(batch) > FEW:
            asked.append(at)
        return slow(batch, at)

    monkeypatch.setattr(partition.reader, "slow", said)
    for batch in batches[1:]:
        partition.apply(batch)
    assert (partition.counters.counted, asked) == (200, [])
