-- Each revision beside what the raw events up to it sum up to: the proof, computed by the engine from the rows alone.
WITH counted AS
(
    SELECT generation, kafka_offset, quantity,
           reinterpretAsUInt256(SHA256(concat(
               reinterpretAsFixedString(toUInt32(length(customer))), customer, reinterpretAsFixedString(toUInt32(length(meter))), meter,
               reinterpretAsFixedString(toUInt32(length(source))), source, reinterpretAsFixedString(toUInt32(length(event_id))), event_id,
               reinterpretAsFixedString(toUnixTimestamp64Micro(occurred_at)), reinterpretAsFixedString(quantity)))) AS digest
    FROM usage_events
    WHERE customer = {customer:String} AND meter = {meter:String} AND verdict = 'counted'
      AND occurred_at >= fromUnixTimestamp64Micro({start_s:Int64} * 1000000, 'UTC')
      AND occurred_at < fromUnixTimestamp64Micro({end_s:Int64} * 1000000, 'UTC')
      AND window_start = toDateTime64({start_s:Int64}, 0, 'UTC')
),
emitted AS
(
    SELECT generation, through_offset, quantity, events, first_offset, hash, toUnixTimestamp64Milli(closed_at) AS closed_at_ms
    FROM window_revisions
    WHERE customer = {customer:String} AND meter = {meter:String}
      AND window_start = toDateTime64({start_s:Int64}, 0, 'UTC') AND window_end = toDateTime64({end_s:Int64}, 0, 'UTC')
)
SELECT r.generation AS generation, r.through_offset AS through_offset, any(r.quantity) AS quantity, any(r.events) AS events,
       any(r.first_offset) AS first_offset, any(r.hash) AS hash, any(r.closed_at_ms) AS closed_at_ms,
       sumIf(toDecimal256(c.quantity, 12), c.generation < r.generation OR (c.generation = r.generation AND c.kafka_offset <= r.through_offset))
           AS counted_quantity,
       countIf(c.is_event = 1 AND (c.generation < r.generation OR (c.generation = r.generation AND c.kafka_offset <= r.through_offset)))
           AS counted_events,
       leftPad(lower(hex(sumIf(c.digest, c.generation < r.generation
           OR (c.generation = r.generation AND c.kafka_offset <= r.through_offset)))), 64, '0') AS counted_hash
FROM emitted AS r
LEFT JOIN (SELECT 1 AS one, 1 AS is_event, * FROM counted) AS c ON c.one = 1
GROUP BY r.generation, r.through_offset
ORDER BY r.generation, r.through_offset
