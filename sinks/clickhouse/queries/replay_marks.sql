-- Each generation of a partition: its newest archived mark with the meter's own counters there, and how far its raw events are in.
SELECT m.generation AS generation, m.base AS base, m.next_offset AS marked, p.next_offset AS archived,
       m.counted AS counted, m.duplicate AS duplicate, m.rejected AS rejected, m.too_late AS too_late, m.rerouted AS rerouted,
       m.control AS control, m.skipped AS skipped, m.postings AS postings
FROM (SELECT * FROM mark_log FINAL WHERE kafka_partition = {partition:UInt32}) AS m
LEFT JOIN (SELECT generation, max(next_offset) AS next_offset FROM progress
           WHERE topic = 'usage.events' AND kafka_partition = {partition:UInt32} GROUP BY generation) AS p
    ON p.generation = m.generation
ORDER BY m.generation
