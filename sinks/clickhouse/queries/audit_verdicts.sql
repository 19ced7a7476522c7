-- Why events were not counted, as archived.
SELECT kafka_offset, customer, toString(verdict) AS verdict, toString(reason) AS reason
FROM verdict_log FINAL
WHERE kafka_partition = {partition:UInt32} AND generation = {generation:UInt32}
  AND kafka_offset >= {start:UInt64} AND kafka_offset < {end:UInt64}
ORDER BY kafka_offset
