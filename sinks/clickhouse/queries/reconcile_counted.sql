-- Every window of one customer as its counted events add up below the archived mark, and the last of them. By generation first: the engine compares
-- pairs one by one.
SELECT meter, intDiv(toUnixTimestamp64Milli(toDateTime64(window_start, 3)), 1000) AS start_s,
       intDiv(toUnixTimestamp64Milli(toDateTime64(window_end, 3)), 1000) AS end_s, sum(w.total) AS total, sum(w.postings) AS postings,
       max((generation, last)) AS newest, any(w.kafka_partition) AS kafka_partition
FROM
(
    SELECT meter, window_start, window_end, generation, sum(toDecimal256(quantity, 12)) AS total, count() AS postings, max(kafka_offset) AS last,
           any(kafka_partition) AS kafka_partition
    FROM usage_events
    WHERE customer = {customer:String} AND verdict = 'counted'
      AND window_start >= toDateTime64({from_s:Int64}, 0, 'UTC') AND window_start < toDateTime64({to_s:Int64}, 0, 'UTC')
    GROUP BY meter, window_start, window_end, generation
) AS w
GROUP BY meter, window_start, window_end
ORDER BY meter, window_start, window_end
