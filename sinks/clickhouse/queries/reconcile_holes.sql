-- Offsets of a stretch of the log that the archive has no record of, as [first, last]: markers of transactions, and what is gone.
SELECT kafka_offset + 1 AS first, following - 1 AS last
FROM
(
    SELECT kafka_offset, leadInFrame(kafka_offset, 1, toInt64({end:UInt64})) OVER (ORDER BY kafka_offset ROWS BETWEEN CURRENT ROW AND 1 FOLLOWING) AS following
    FROM
    (
        SELECT DISTINCT toInt64(kafka_offset) AS kafka_offset FROM raw_events
        WHERE kafka_partition = {partition:UInt32} AND generation = {generation:UInt32}
          AND kafka_offset >= {start:UInt64} AND kafka_offset < {end:UInt64}
        UNION DISTINCT
        SELECT toInt64({start:UInt64}) - 1
    )
)
WHERE following > kafka_offset + 1
ORDER BY first
LIMIT {limit:UInt32}
