-- The greatest version of any row at these coordinates: a row that is to stand instead needs a greater one (of equal rows the first one is kept).
SELECT max(first_seen_inv)
FROM raw_events
WHERE kafka_partition = {partition:UInt32} AND generation = {generation:UInt32} AND kafka_offset BETWEEN {first:UInt64} AND {last:UInt64}
