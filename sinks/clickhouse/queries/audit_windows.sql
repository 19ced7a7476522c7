-- Every window of a partition as its counted events below an offset add up to, by the views alone, with the content hash of
-- topics/content_hash.py. As the view window_recount, but up to one point of the log, so that it can be compared while events keep coming.
-- By generation first: the engine compares pairs one by one, which for a million events takes as long as their hashes.
SELECT customer, meter, toInt64(toUnixTimestamp64Milli(toDateTime64(window_start, 3, 'UTC'))) AS start_ms,
       toInt64(toUnixTimestamp64Milli(toDateTime64(window_end, 3, 'UTC'))) AS end_ms,
       sum(w.total) AS total, sum(w.events) AS events, argMin(first, generation) AS first_offset, leftPad(lower(hex(sum(w.hash))), 64, '0') AS hash
FROM
(
    SELECT customer, meter, window_start, window_end, generation, sum(toDecimal256(quantity, 12)) AS total, count() AS events,
           min(kafka_offset) AS first,
           sum(reinterpretAsUInt256(SHA256(concat(
               reinterpretAsFixedString(toUInt32(length(customer))), customer, reinterpretAsFixedString(toUInt32(length(meter))), meter,
               reinterpretAsFixedString(toUInt32(length(source))), source, reinterpretAsFixedString(toUInt32(length(event_id))), event_id,
               reinterpretAsFixedString(toUnixTimestamp64Micro(occurred_at)), reinterpretAsFixedString(quantity))))) AS hash
    FROM usage_events
    WHERE verdict = 'counted' AND kafka_partition = {partition:UInt32}
      AND (generation < {generation:UInt32} OR (generation = {generation:UInt32} AND kafka_offset < {end:UInt64}))
    GROUP BY customer, meter, window_start, window_end, generation
) AS w
GROUP BY customer, meter, window_start, window_end
