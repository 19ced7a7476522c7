-- How many records of each partition and generation the archive has below the mark; the meter's mark says how many there were.
SELECT r.kafka_partition AS kafka_partition, r.generation AS generation, count() AS records, any(m.next_offset) AS marked,
       any(m.base) AS base, any(m.skipped) AS skipped
FROM raw_events AS r FINAL
INNER JOIN (SELECT kafka_partition, generation, next_offset, base, skipped FROM mark_log FINAL) AS m
    ON m.kafka_partition = r.kafka_partition AND m.generation = r.generation
WHERE r.kafka_offset < m.next_offset
GROUP BY kafka_partition, generation
