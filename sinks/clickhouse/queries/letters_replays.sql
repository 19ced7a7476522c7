-- Every record that names an origin, with what the meter said of it ('' where that is not archived yet): replays of dead letters, and
-- re-routed copies, whose origins are no letters. Without FINAL: a row that is there twice says the same twice.
--
-- {since} prunes months: a replay comes after its letter. Of a table of 10⁸ rows without headers this reads the sizes of empty arrays.
SELECT e.header_names AS names, e.header_values AS data, e.kafka_partition AS kafka_partition, e.generation AS generation,
       e.kafka_offset AS kafka_offset,
       multiIf(v.verdict != '', toString(v.verdict), e.kafka_offset >= m.next_offset, '', e.kind = 'control', 'control', 'counted') AS fate,
       toString(v.reason) AS reason
FROM
(
    SELECT customer, header_names, header_values, kafka_partition, generation, kafka_offset, kind
    FROM raw_events
    WHERE log_time >= fromUnixTimestamp64Milli({since_ms:Int64}) AND notEmpty(header_names) AND has(header_names, 'tidemark-origin-offset')
) AS e
LEFT JOIN (SELECT kafka_partition, generation, max(next_offset) AS next_offset FROM mark_log GROUP BY kafka_partition, generation) AS m
    ON m.kafka_partition = e.kafka_partition AND m.generation = e.generation
LEFT JOIN
(
    SELECT customer, kafka_partition, generation, kafka_offset, verdict, reason FROM verdict_log FINAL
) AS v
    ON v.customer = e.customer AND v.kafka_partition = e.kafka_partition AND v.generation = e.generation AND v.kafka_offset = e.kafka_offset
