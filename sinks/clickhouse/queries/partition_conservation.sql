-- Law 7 of the partition that counts the customer, at the newest archived mark, and how far its raw events are archived.
SELECT m.kafka_partition AS kafka_partition, m.generation AS generation, base, m.next_offset AS next_offset, counted, duplicate, rejected,
       too_late, rerouted, control, skipped, p.next_offset AS archived_offset
FROM (SELECT * FROM mark_log FINAL WHERE kafka_partition = {partition:UInt32} ORDER BY generation DESC LIMIT 1) AS m
LEFT JOIN (SELECT kafka_partition, generation, max(next_offset) AS next_offset FROM progress
           WHERE topic = 'usage.events' GROUP BY kafka_partition, generation) AS p
    ON p.kafka_partition = m.kafka_partition AND p.generation = m.generation
