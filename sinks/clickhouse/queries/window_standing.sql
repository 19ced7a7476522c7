-- One window as `coverage` has it, with the end of the billing period that it was last reported in (1970-01-01: it never was).
SELECT c.state AS state, c.reason AS reason, c.counted AS counted, c.emitted AS emitted, c.delivered AS delivered,
       (SELECT toInt64(toUnixTimestamp64Milli(toDateTime64(max(period_end), 3, 'UTC'))) FROM deliveries
        WHERE customer = {customer:String} AND meter = {meter:String}
          AND window_start = toDateTime64({start_s:Int64}, 0, 'UTC') AND window_end = toDateTime64({end_s:Int64}, 0, 'UTC')) AS period_end_ms
FROM coverage AS c
WHERE c.customer = {customer:String} AND c.meter = {meter:String}
  AND c.window_start = toDateTime64({start_s:Int64}, 0, 'UTC') AND c.window_end = toDateTime64({end_s:Int64}, 0, 'UTC')
