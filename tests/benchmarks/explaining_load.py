"""The archive of one customer's month with as many events as asked for: what `explaining.py` explains.

Hourly windows of a month, each emitted when it closed and once more for its late events, one event in a hundred; one in two hundred came twice, one
in a thousand could not be read. A tenth of the rows are another customer's. Raw rows are the product's own (`RawRows`), in inserts of 50,000.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Final
from uuid import UUID

from sinks.clickhouse.client import ClickHouse
from sinks.clickhouse.in_force import InForce
from sinks.clickhouse.rows import RawRecord, RawRows
from sinks.clickhouse.tables import RAW
from topics.bindings import Item, ItemVersion
from topics.codec import encode
from topics.instants import format_us
from topics.meters import BEGINNING_S, Meter, MeterVersion

CUSTOMER: Final = "acme"
METER: Final = Meter(slug="api_calls", event_type="api.request", value="n", window_s=3600)
START_S: Final = 1_793_491_200
"""2026-11-01T00:00:00Z."""
END_S: Final = START_S + 30 * 86_400
ITEM: Final = Item(meter=METER.slug, item="si_bench", price="price_bench", subscription="sub_bench", period_anchor_s=START_S)
CHUNK: Final = 50_000
DEFINITIONS: Final = (
    MeterVersion(meter=METER, valid_from_s=BEGINNING_S, offset=0, digest="bench"),
    ItemVersion(customer=CUSTOMER, meter=METER.slug, item=ITEM, valid_from_s=BEGINNING_S, offset=0, digest="bench"),
)

VERDICTS: Final = """
INSERT INTO verdict_log (customer, kafka_partition, generation, kafka_offset, verdict, reason, sentence, subject, source, event_id, home,
                         log_partition, log_offset)
SELECT customer, kafka_partition, generation, kafka_offset, if(kind = 'unreadable', 'rejected', 'duplicate'),
       if(kind = 'unreadable', 'not_json', ''), if(kind = 'unreadable', 'it is no JSON', ''), customer, source, event_id, -1, 0, kafka_offset
FROM raw_events WHERE kind = 'unreadable'
   OR (event_id, source, kafka_offset) NOT IN (SELECT event_id, source, min(kafka_offset) FROM raw_events GROUP BY event_id, source)
"""
MARK: Final = """
INSERT INTO mark_log (kafka_partition, generation, next_offset, base, counted, duplicate, rejected, too_late, rerouted, control, skipped, postings)
SELECT 0, 0, any(end), 0, any(end) - countIf(verdict = 'duplicate') - countIf(verdict = 'rejected'), countIf(verdict = 'duplicate'),
       countIf(verdict = 'rejected'), 0, 0, 0, 0, 0
FROM verdict_log CROSS JOIN (SELECT count() AS end FROM raw_events) AS raw
"""
PROGRESS: Final = "INSERT INTO progress (topic, kafka_partition, generation, next_offset) SELECT 'usage.events', 0, 0, count() FROM raw_events"
REVISIONS: Final = """
INSERT INTO window_log (customer, meter, window_start, window_end, generation, through_offset, kafka_partition, quantity, events, first_offset,
                        hash, closed_at, log_partition, log_offset)
SELECT customer, meter, window_start, window_end, 0, max(kafka_offset), 0, sum(toDecimal256(quantity, 12)), count(), min(kafka_offset),
       leftPad(lower(hex(sum(reinterpretAsUInt256(SHA256(concat(
           reinterpretAsFixedString(toUInt32(length(customer))), customer, reinterpretAsFixedString(toUInt32(length(meter))), meter,
           reinterpretAsFixedString(toUInt32(length(source))), source, reinterpretAsFixedString(toUInt32(length(event_id))), event_id,
           reinterpretAsFixedString(toUnixTimestamp64Micro(occurred_at)), reinterpretAsFixedString(quantity))))))), 64, '0'),
       toDateTime64(window_end, 3) + INTERVAL {after_s:UInt32} SECOND, 0, max(kafka_offset)
FROM usage_events WHERE verdict = 'counted' AND kafka_offset < {below:UInt64}
GROUP BY customer, meter, window_start, window_end
"""
RECEIPTS: Final = """
INSERT INTO receipt_log (customer, meter, provider, account, cell, kind, revision, generation, attempt, state, item, subscription, reported_time,
    period_start, period_end, quantity, units, idempotency_key, path, body, outcome, http_status, request_id, reason, sentence, intent_at,
    reported_at, closed_at, window_starts, window_ends, generations, through_offsets, window_quantities, log_partition, log_offset)
SELECT customer, meter, 'stripe', 'default', concat({item:String}, '|', toString(toUnixTimestamp(window_start))), 'cell',
       row_number() OVER (PARTITION BY customer, meter, window_start, said.1 ORDER BY through_offset) AS revision, 0, 1, said.1,
       if(customer = 'acme', {item:String}, 'si_other'), 'sub_bench',
       greatest(window_start, toDateTime64({start_s:Int64} + 1, 0, 'UTC')), toDateTime64({start_s:Int64}, 0, 'UTC'),
       toDateTime64({end_s:Int64}, 0, 'UTC'), quantity, toString(quantity), concat('tm1_', substring(hash, 1, 40)), '/v1/x', 'quantity=1',
       if(said.1 = 'intent', '', 'delivered'), if(said.1 = 'intent', 0, 200), if(said.1 = 'intent', '', concat('req_', substring(hash, 1, 14))), '',
       '', closed_at + INTERVAL 1 SECOND, if(said.1 = 'intent', toDateTime64(0, 3, 'UTC'), closed_at + INTERVAL 2 SECOND), closed_at,
       [window_start], [window_end], [generation], [through_offset], [quantity], 0, through_offset * 2 + said.2
FROM window_log ARRAY JOIN [('intent', 0), ('delivered', 1)] AS said
"""
DEFINITION: Final = """
INSERT INTO definition_log (kind, id, meter, valid_from, control_offset, body, log_partition, log_offset)
SELECT {kind:String}, {id:String}, {meter:String}, toDateTime64('1900-01-01 00:00:00', 0, 'UTC'), 0, {body:String}, 0, {offset:UInt64}
"""


def records(events: int) -> Iterator[RawRecord]:
    """The log: what came in time, then the late ones."""
    offset = 0
    for late in (False, True):
        for number in range(events):
            if (number % 100 == 0) == late:
                yield record(number, events, offset, late=late)
                offset += 1


def record(number: int, events: int, offset: int, *, late: bool) -> RawRecord:
    """One event; what stands at 7 of 200 is a copy of the one before."""
    said = number - 1 if number % 200 == 7 else number
    customer = "other" if said % 10 == 9 else CUSTOMER
    at_us = START_S * 10**6 + said * (END_S - START_S) * 10**6 // events
    arrived_ms = END_S * 1000 + number if late else at_us // 1000 + 800
    if number % 1000 == 501:
        return RawRecord(offset, arrived_ms, customer.encode(), b'{"cut', ())
    body = {
        "specversion": "1.0", "id": str(UUID(int=said * 0x9E3779B97F4A7C15F39CC0605CEDC835 % 2**128)), "source": f"edge-{said % 7}",
        "type": "api.request", "subject": customer, "time": format_us(at_us),
        "data": {"n": 1 + said % 5, "path": f"/v1/things/{said % 1000}", "status": 200},
    }  # fmt: skip
    return RawRecord(offset, arrived_ms, customer.encode(), encode(body), ())


def load(clickhouse: ClickHouse, events: int) -> int:
    """Fills a migrated database; how many offsets the log has."""
    in_force = InForce(at_once=True)
    for definition in DEFINITIONS:
        in_force.add(definition)
    rows, log, end = RawRows(0, 0, in_force), records(events), 0
    while chunk := list(islice(log, CHUNK)):
        clickhouse.insert(RAW, rows.columns(chunk))
        end += len(chunk)
    run(clickhouse, VERDICTS)
    run(clickhouse, MARK)
    run(clickhouse, PROGRESS)
    for below, after_s in ((events - events // 100, 300), (end, 30 * 86_400)):
        run(clickhouse, REVISIONS, below=below, after_s=after_s)
    run(clickhouse, RECEIPTS, item=ITEM.item, start_s=START_S, end_s=END_S)
    for offset, (kind, name, meter) in enumerate((("meter", METER.slug, ""), ("binding", CUSTOMER, METER.slug))):
        run(clickhouse, DEFINITION, kind=kind, id=name, meter=meter, body=encode(DEFINITIONS[offset]).decode(), offset=offset)
    return end


def run(clickhouse: ClickHouse, statement: str, **parameters: object) -> None:
    """One statement that writes."""
    clickhouse._called(lambda client: client.command(statement, parameters=parameters))
