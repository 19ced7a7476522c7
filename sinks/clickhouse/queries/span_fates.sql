-- What became of every record of the customer in the span's time, counted by the engine: by its own time where that could be read, else by when
-- it was received. `of_meter`: those that select the meter. As judged_events says it, asked of the tables: joined by numbers alone.
SELECT multiIf(v.verdict != '', toString(v.verdict), kind = 'control', 'control', kind = 'usage' AND notEmpty(meters), 'counted', 'unexplained') AS fate,
       count() AS records, countIf(has(meters, {meter:String})) AS of_meter
FROM raw_events FINAL
INNER JOIN mark_log AS m FINAL USING (kafka_partition, generation)
LEFT JOIN (SELECT kafka_partition, generation, kafka_offset, verdict FROM verdict_log FINAL WHERE customer = {customer:String}) AS v
    USING (kafka_partition, generation, kafka_offset)
WHERE customer = {customer:String} AND kafka_offset < m.next_offset
  AND
  (
      (occurred_at >= fromUnixTimestamp64Micro({from_s:Int64} * 1000000, 'UTC')
       AND occurred_at < fromUnixTimestamp64Micro({to_s:Int64} * 1000000, 'UTC'))
      OR (occurred_at = fromUnixTimestamp64Micro(0, 'UTC') AND record_received_at >= toDateTime64({from_s:Int64}, 3, 'UTC')
          AND record_received_at < toDateTime64({to_s:Int64}, 3, 'UTC'))
  )
GROUP BY fate
ORDER BY fate
