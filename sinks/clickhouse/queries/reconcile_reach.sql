-- How far each partition of a topic of ours is archived; of usage.events per generation, with its mark and when its newest record came.
SELECT p.topic AS topic, p.kafka_partition AS kafka_partition, p.generation AS generation, max(p.next_offset) AS archived,
       any(m.next_offset) AS marked, any(m.base) AS base, any(m.skipped) AS skipped
FROM (SELECT toString(topic) AS topic, kafka_partition, generation, next_offset FROM progress) AS p
LEFT JOIN (SELECT kafka_partition, generation, next_offset, base, skipped FROM mark_log FINAL) AS m
    ON m.kafka_partition = p.kafka_partition AND m.generation = p.generation AND p.topic = 'usage.events'
GROUP BY topic, kafka_partition, generation
ORDER BY topic, kafka_partition, generation
