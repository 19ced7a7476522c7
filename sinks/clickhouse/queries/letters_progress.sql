-- Up to where usage.events is archived: every record below it is in raw_events.
SELECT kafka_partition, argMax(next_offset, (generation, next_offset)) AS next_offset
FROM progress
WHERE topic = 'usage.events'
GROUP BY kafka_partition
