-- Events of one customer that share an id with another one: where two were counted, or where what they say differs. In slices of all ids, so
-- that the ids of one slice fit into memory. Only copies received since an instant are looked at. A copy that an amendment in force names is
-- decided about: it takes no other id's place among the first `limit`, of which those that were counted twice come before the rest.
SELECT source, event_id, kafka_partition, generation, kafka_offset, verdict, type, value, toUnixTimestamp64Milli(received_at) AS received_at_ms,
       arrayMap((m, q, s, e) -> (m, toString(q), intDiv(toUnixTimestamp64Milli(toDateTime64(s, 3)), 1000), intDiv(toUnixTimestamp64Milli(toDateTime64(e, 3)), 1000)),
                meters, quantities, window_starts, window_ends) AS postings
FROM judged_events
WHERE customer = {customer:String} AND verdict IN ('counted', 'duplicate') AND received_at >= fromUnixTimestamp64Milli({since_ms:Int64}, 'UTC')
  AND cityHash64(source, event_id) % {slices:UInt32} = {slice:UInt32}
  AND (source, event_id) IN
  (
      SELECT source, event_id FROM judged_events
      WHERE customer = {customer:String} AND verdict IN ('counted', 'duplicate') AND received_at >= fromUnixTimestamp64Milli({since_ms:Int64}, 'UTC')
        AND cityHash64(source, event_id) % {slices:UInt32} = {slice:UInt32}
        AND (kafka_partition, generation, kafka_offset) NOT IN
        (
            SELECT kafka_partition, amends_generation, amends_offset FROM amendments
            WHERE customer = {customer:String} AND state = 'applied' AND kind IN ('void', 'set', 'accept')
        )
      GROUP BY source, event_id
      HAVING countIf(verdict = 'counted') > 1
          OR (countIf(verdict = 'counted') = 1 AND count() > 1 AND min(cityHash64(value)) != max(cityHash64(value)))
      ORDER BY countIf(verdict = 'counted') > 1 DESC, source, event_id
      LIMIT {limit:UInt32}
  )
ORDER BY source, event_id, generation, kafka_offset
