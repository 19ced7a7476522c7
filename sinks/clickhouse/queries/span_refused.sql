-- What of this customer was refused in the span's time: by its own time where that could be read, else by when it was received. The verdicts name
-- the rows, as in span_duplicates.sql.
SELECT e.generation, e.kafka_offset, e.kafka_partition, e.event_id, toString(v.verdict), toString(v.reason), v.sentence,
       toUnixTimestamp64Micro(e.occurred_at) AS occurred_at_us, toUnixTimestamp64Milli(e.first_received_at) AS received_at_ms
FROM
(
    SELECT generation, kafka_offset, kafka_partition, event_id, occurred_at, record_received_at AS first_received_at
    FROM raw_events FINAL
    WHERE customer = {customer:String}
      AND
      (
          (occurred_at >= fromUnixTimestamp64Micro({from_s:Int64} * 1000000, 'UTC')
           AND occurred_at < fromUnixTimestamp64Micro({to_s:Int64} * 1000000, 'UTC'))
          OR (occurred_at = fromUnixTimestamp64Micro(0, 'UTC') AND log_time >= toDateTime64({from_s:Int64}, 3, 'UTC'))
      )
      AND (kafka_partition, generation, kafka_offset) IN
      (
          SELECT kafka_partition, generation, kafka_offset FROM verdict_log
          WHERE customer = {customer:String} AND verdict IN ('rejected', 'too_late')
      )
) AS e
INNER JOIN
(
    SELECT kafka_partition, generation, kafka_offset, verdict, reason, sentence FROM verdict_log FINAL
    WHERE customer = {customer:String} AND verdict IN ('rejected', 'too_late')
) AS v ON v.kafka_partition = e.kafka_partition AND v.generation = e.generation AND v.kafka_offset = e.kafka_offset
INNER JOIN (SELECT kafka_partition, generation, max(next_offset) AS next_offset FROM mark_log GROUP BY kafka_partition, generation) AS m
    ON m.kafka_partition = e.kafka_partition AND m.generation = e.generation
WHERE e.kafka_offset < m.next_offset
  AND (e.occurred_at != fromUnixTimestamp64Micro(0, 'UTC')
       OR (e.first_received_at >= toDateTime64({from_s:Int64}, 3, 'UTC') AND e.first_received_at < toDateTime64({to_s:Int64}, 3, 'UTC')))
ORDER BY e.generation, e.kafka_offset
LIMIT {limit:UInt64}
