-- How far the archive is with a partition: each generation's mark (below it every event has its verdict) and how far its raw events are in.
SELECT m.generation AS generation, m.base AS base, m.next_offset AS marked, p.next_offset AS archived, m.skipped AS skipped
FROM (SELECT generation, base, next_offset, skipped FROM mark_log FINAL WHERE kafka_partition = {partition:UInt32}) AS m
LEFT JOIN (SELECT generation, max(next_offset) AS next_offset FROM progress
           WHERE topic = 'usage.events' AND kafka_partition = {partition:UInt32} GROUP BY generation) AS p
    ON p.generation = m.generation
ORDER BY m.generation
