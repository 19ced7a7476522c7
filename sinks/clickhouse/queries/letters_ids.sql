-- Every record of some customers' ids, with what the meter said of it ('' where that is not archived yet). Without FINAL, as above.
SELECT e.customer AS customer, e.source AS source, e.event_id AS event_id, e.kafka_partition AS kafka_partition, e.generation AS generation,
       e.kafka_offset AS kafka_offset, multiIf(v.verdict != '', toString(v.verdict), e.kafka_offset >= m.next_offset, '', 'counted') AS fate
FROM
(
    SELECT customer, source, event_id, kafka_partition, generation, kafka_offset
    FROM raw_events
    WHERE customer IN {customers:Array(String)} AND event_id IN {ids:Array(String)} AND kind = 'usage'
) AS e
LEFT JOIN (SELECT kafka_partition, generation, max(next_offset) AS next_offset FROM mark_log GROUP BY kafka_partition, generation) AS m
    ON m.kafka_partition = e.kafka_partition AND m.generation = e.generation
LEFT JOIN
(
    SELECT customer, kafka_partition, generation, kafka_offset, verdict FROM verdict_log FINAL WHERE customer IN {customers:Array(String)}
) AS v
    ON v.customer = e.customer AND v.kafka_partition = e.kafka_partition AND v.generation = e.generation AND v.kafka_offset = e.kafka_offset
