"""What a broker answers to a fetch of one partition, in Kafka's bytes: transactions, holes, formats, codecs, as a seed wants them."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

from aiokafka.record.default_records import DefaultRecordBatchBuilder
from aiokafka.record.legacy_records import LegacyRecordBatchBuilder
from aiokafka.record.util import calc_crc32c

LENGTH, FORMAT, CRC, ATTRIBUTES, LAST_DELTA, FIRST_TIMESTAMP, MAX_TIMESTAMP, RECORDS, HEAD = 8, 16, 17, 21, 23, 27, 35, 57, 61
"""Where fields of the head begin; the checksum covers everything from the attributes on."""
COVERED_FROM = 21
CODECS = ("none", "gzip", "snappy", "lz4", "zstd")
CONTROL, LOG_APPEND = 0x20, 0x08
SPOILT = "SPOILT-é".encode()

NOW_MS = 1_760_000_000_000


@dataclass
class Written:
    """A log's bytes, its aborted transactions (producer, first offset), its end, and what it holds, by name."""

    data: bytes
    aborted: list[tuple[int, int]]
    end: int
    holds: set[str] = field(default_factory=set)
    open: dict[int, int] = field(default_factory=dict)
    sizes: list[int] = field(default_factory=list)
    ends: list[int] = field(default_factory=list)

    def since(self, start: int) -> bytes:
        """What a broker answers: whole batches from the one on that holds `start` or what follows it."""
        return self.data[sum(size for size, end in zip(self.sizes, self.ends, strict=True) if end <= start) :]

    def append(self, batch: bytes, records: int) -> None:
        """A finished batch that takes so many offsets."""
        self.data += batch
        self.sizes.append(len(batch))
        self.end += records
        self.ends.append(self.end)

    def add_records(self, rng: random.Random, count: int, producer: int = -1, *, plain: bool = False) -> None:
        """A batch of format 2; of a transaction where a producer is named."""
        codec = rng.randrange(1, 5) if count and rng.random() < 0.3 and not plain else 0
        builder = DefaultRecordBatchBuilder(2, codec, int(producer >= 0), producer, 0, 0, 1 << 22)
        if producer >= 0:
            self.open.setdefault(producer, self.end)
        delta = 0
        for number in range(count):
            if number and rng.random() < 0.1 and not plain:
                delta += rng.randrange(1, 4)  # compacted away
                self.holds.add("hole inside")
            key, value, headers = self._record(rng)
            builder.append(delta, NOW_MS + rng.randrange(-5000, 5000), key, value, headers)
            delta += 1
        built = bytearray(builder.build())
        if rng.random() < 0.15 and codec == 0 and not plain and SPOILT in built:
            built = bytearray(bytes(built).replace(SPOILT, b"SPOILT-\xff\xfe"))
            self.holds.add("spoilt name")
        behind = rng.randrange(1, 4) if rng.random() < 0.1 and not plain else 0
        stamp_ms = NOW_MS + self.end // 50 if rng.random() < 0.6 else None
        self.append(self._dressed(built, delta + behind, stamp_ms), delta + behind)
        is_so = {CODECS[codec]: codec, "hole behind": behind, "log append time": stamp_ms, "empty batch": not count}
        self.holds |= {what for what, so in is_so.items() if so}

    def _record(self, rng: random.Random) -> tuple[bytes | None, bytes | None, list[tuple[str, bytes | None]]]:
        key = rng.choice((None, b"", rng.randbytes(rng.randrange(1, 90)), b"cus_%d" % rng.randrange(99)))
        value = rng.choice((None, b"", rng.randbytes(rng.randrange(20_000 if rng.random() < 0.02 else 300)), b'{"n":%d}' % rng.randrange(9999)))
        headers: list[tuple[str, bytes | None]] = []
        if rng.random() < 0.15:
            names = [rng.choice(("trace", "ü" * 70, "", SPOILT.decode())) for _ in range(rng.randrange(1, 4))]
            headers = [(name, rng.choice((None, b"", rng.randbytes(150)))) for name in names]
        self.holds |= {what for what, so in {"headers": headers, "null key": key is None, "null value": value is None}.items() if so}
        return key, value, headers

    def _dressed(self, built: bytearray, offsets: int, stamp_ms: int | None, bits: int = 0) -> bytes:
        """As the broker keeps it: base offset, last offset, its own time, a checksum that fits."""
        built[:8] = self.end.to_bytes(8, "big")
        built[LAST_DELTA : LAST_DELTA + 4] = (offsets - 1).to_bytes(4, "big", signed=True)
        built[ATTRIBUTES + 1] |= bits
        if stamp_ms is not None:
            built[ATTRIBUTES + 1] |= LOG_APPEND
            built[MAX_TIMESTAMP : MAX_TIMESTAMP + 8] = stamp_ms.to_bytes(8, "big")
        built[CRC : CRC + 4] = calc_crc32c(bytes(built[COVERED_FROM:])).to_bytes(4, "big")
        return bytes(built)

    def finish(self, producer: int, *, commit: bool) -> None:
        """The marker that ends a transaction."""
        first = self.open.pop(producer)
        if not commit:
            self.aborted.append((producer, first))
        builder = DefaultRecordBatchBuilder(2, 0, 1, producer, 0, -1, 1 << 16)
        builder.append(0, NOW_MS, b"\0\0" + (b"\0\1" if commit else b"\0\0"), b"\0" * 6, [])
        self.append(self._dressed(bytearray(builder.build()), 1, None, CONTROL), 1)
        self.holds |= {"marker", "committed" if commit else "aborted"}

    def add_old(self, rng: random.Random, magic: int) -> None:
        """Messages of format 0 or 1."""
        builder = LegacyRecordBatchBuilder(magic, 0, 1 << 20)
        builder.append(0, NOW_MS, rng.choice((None, b"k")), rng.choice((None, rng.randbytes(rng.randrange(50)))))
        built = bytearray(builder.build())
        built[:8] = self.end.to_bytes(8, "big")
        self.append(bytes(built), 1)
        self.holds.add(f"format {magic}")


def fetch_of(rng: random.Random, *, plain: bool = False) -> Written:
    """A log of some batches. `plain`: no transactions, holes, codecs or old formats."""
    written = Written(b"", [], 0)
    for _ in range(rng.randrange(1, 12)):
        if plain:
            written.add_records(rng, rng.randrange(1, 20), plain=True)
            continue
        _one(rng, written)
    for producer in list(written.open):
        written.finish(producer, commit=rng.random() < 0.5)
    if not plain and written.sizes and rng.random() < 0.2:
        written.data = written.data[: -rng.randrange(1, written.sizes[-1])]  # the broker cuts an answer where it is full
        written.holds.add("cut off")
    return written


def _one(rng: random.Random, written: Written) -> None:
    deed = rng.random()
    if deed < 0.1:
        written.end += rng.randrange(1, 50)
        written.holds.add("hole between")
    elif deed < 0.2:
        written.add_old(rng, rng.randrange(2))
    elif deed < 0.4 and written.open:
        written.finish(rng.choice(list(written.open)), commit=rng.random() < 0.5)
    elif deed < 0.45:
        written.add_records(rng, 0)
    else:
        producer = rng.choice((-1, -1, 1, 2, 3))
        written.add_records(rng, rng.choice((1, rng.randrange(1, 30), rng.randrange(1, 300))), producer)


def flipped(rng: random.Random, written: Written) -> Written:
    """One bit of what a checksum covers, in any batch, is another."""
    batch = rng.randrange(len(written.sizes))
    begin = sum(written.sizes[:batch])
    data = bytearray(written.data)
    data[rng.randrange(begin + COVERED_FROM, begin + written.sizes[batch])] ^= 1 << rng.randrange(8)
    return Written(bytes(data), [], written.end, sizes=written.sizes, ends=written.ends)


def spoilt(rng: random.Random, written: Written) -> Written:
    """Bytes behind the head of a batch are others, or it ends early or goes on, or its head says another number; its checksum fits all the same."""
    batch = rng.randrange(max(len(written.sizes), 1))
    begin = sum(written.sizes[:batch])
    end = begin + sum(written.sizes[batch : batch + 1])
    built = bytearray(written.data[begin:end])
    if len(built) < HEAD or built[FORMAT] < 2:
        return written
    deed = rng.random()
    for _ in range(rng.choice((1, 1, 2, 9)) if len(built) > HEAD and deed < 0.7 else 0):
        at = rng.randrange(HEAD, len(built))
        built[at] = rng.choice((built[at] ^ 1 << rng.randrange(8), rng.choice((0, 1, 2, 0x7F, 0x80, 0xFE, 0xFF)), rng.randrange(256)))
    if 0.7 <= deed < 0.8:
        del built[rng.randrange(HEAD, len(built) + 1) :]
    elif 0.8 <= deed < 0.9:
        built += rng.randbytes(rng.randrange(1, 20))
    elif deed >= 0.9:
        at = rng.choice((FIRST_TIMESTAMP, FIRST_TIMESTAMP + 7, RECORDS, RECORDS + 2, RECORDS + 3))
        built[at] = rng.choice((0, 1, 0x7F, 0x80, 0xFF, rng.randrange(256)))
    built[LENGTH : LENGTH + 4] = (len(built) - LENGTH - 4).to_bytes(4, "big")
    built[CRC : CRC + 4] = calc_crc32c(bytes(built[COVERED_FROM:])).to_bytes(4, "big")
    sizes = [*written.sizes[:batch], len(built), *written.sizes[batch + 1 :]]
    return Written(written.data[:begin] + bytes(built) + written.data[end:], [], written.end, sizes=sizes, ends=written.ends)
