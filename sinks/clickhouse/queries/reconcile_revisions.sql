-- Every revision of one customer's windows, beside what the raw events up to it sum up to, with the content hash of topics/content_hash.py.
WITH counted AS
(
    SELECT meter, window_start, window_end, toUInt64(generation) AS generation, kafka_offset, quantity, 1 AS is_event,
           reinterpretAsUInt256(SHA256(concat(
               reinterpretAsFixedString(toUInt32(length(customer))), customer, reinterpretAsFixedString(toUInt32(length(meter))), meter,
               reinterpretAsFixedString(toUInt32(length(source))), source, reinterpretAsFixedString(toUInt32(length(event_id))), event_id,
               reinterpretAsFixedString(toUnixTimestamp64Micro(occurred_at)), reinterpretAsFixedString(quantity)))) AS digest
    FROM usage_events
    WHERE customer = {customer:String} AND verdict = 'counted'
      AND window_start >= toDateTime64({from_s:Int64}, 0, 'UTC') AND window_start < toDateTime64({to_s:Int64}, 0, 'UTC')
),
emitted AS
(
    SELECT toString(w.meter) AS meter, w.window_start AS window_start, w.window_end AS window_end, w.generation AS generation,
           w.through_offset AS through_offset, w.kafka_partition AS kafka_partition, w.log_offset AS log_offset,
           w.first_offset AS first_offset, w.quantity AS quantity, w.events AS events,
           w.hash AS hash, toUnixTimestamp64Milli(w.closed_at) AS closed_at_ms
    FROM window_log AS w FINAL
    WHERE w.customer = {customer:String}
      AND w.window_start >= toDateTime64({from_s:Int64}, 0, 'UTC') AND w.window_start < toDateTime64({to_s:Int64}, 0, 'UTC')
)
SELECT r.meter AS meter, intDiv(toUnixTimestamp64Milli(toDateTime64(r.window_start, 3)), 1000) AS start_s,
       intDiv(toUnixTimestamp64Milli(toDateTime64(r.window_end, 3)), 1000) AS end_s, r.generation AS generation, r.through_offset AS through_offset,
       any(r.kafka_partition) AS kafka_partition, any(r.log_offset) AS log_offset, any(r.first_offset) AS first_offset,
       any(r.quantity) AS quantity, any(r.events) AS events, any(r.hash) AS hash,
       any(r.closed_at_ms) AS closed_at_ms,
       sumIf(toDecimal256(c.quantity, 12), c.generation < r.generation OR (c.generation = r.generation AND c.kafka_offset <= r.through_offset))
           AS counted_quantity,
       countIf(c.is_event = 1 AND (c.generation < r.generation OR (c.generation = r.generation AND c.kafka_offset <= r.through_offset)))
           AS counted_events,
       leftPad(lower(hex(sumIf(c.digest, c.is_event = 1 AND (c.generation < r.generation
           OR (c.generation = r.generation AND c.kafka_offset <= r.through_offset))))), 64, '0') AS counted_hash
FROM emitted AS r
LEFT JOIN counted AS c ON c.meter = r.meter AND c.window_start = r.window_start AND c.window_end = r.window_end
GROUP BY r.meter, r.window_start, r.window_end, r.generation, r.through_offset
ORDER BY meter, start_s, end_s, generation, through_offset
