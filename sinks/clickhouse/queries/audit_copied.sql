-- How many records of a stretch of the log the copy has, and the first of them; no row where it has none.
SELECT min(kafka_offset) AS first_offset, count() AS records
FROM raw_events FINAL
WHERE kafka_partition = {partition:UInt32} AND generation = {generation:UInt32}
  AND kafka_offset >= {start:UInt64} AND kafka_offset < {end:UInt64}
HAVING count() > 0
