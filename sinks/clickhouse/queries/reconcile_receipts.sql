-- Each attempt's last durable record of one customer, oldest first: of cells whose period touches the span, and windows parked whole in it.
-- The columns beside `record` stand for it in rows of programs that did not keep it.
SELECT toString(r.kind) AS kind, toString(r.meter) AS meter, r.cell AS cell, max(r.log_offset) AS log_offset, argMax(r.record, r.log_offset) AS record,
       argMax((toString(r.provider), toString(r.account), toString(r.state), r.item, r.subscription, intDiv(toUnixTimestamp64Milli(toDateTime64(r.reported_time, 3)), 1000),
               intDiv(toUnixTimestamp64Milli(toDateTime64(r.period_start, 3)), 1000), intDiv(toUnixTimestamp64Milli(toDateTime64(r.period_end, 3)), 1000)), r.log_offset) AS place,
       argMax((toString(r.quantity), r.units, toString(r.outcome), toString(r.reason), toUnixTimestamp64Milli(r.intent_at),
               toUnixTimestamp64Milli(r.reported_at), toUnixTimestamp64Milli(r.closed_at)), r.log_offset) AS answer,
       argMax(arrayMap((s, e, g, t, q) -> (intDiv(toUnixTimestamp64Milli(toDateTime64(s, 3)), 1000), intDiv(toUnixTimestamp64Milli(toDateTime64(e, 3)), 1000), g, t, toString(q)),
                       r.window_starts, r.window_ends, r.generations, r.through_offsets, r.window_quantities), r.log_offset) AS parts,
       r.revision AS revision, r.attempt AS attempt
FROM receipt_log AS r FINAL
WHERE r.customer = {customer:String}
  AND if(r.kind = 'cell', r.period_end > toDateTime64({from_s:Int64}, 0, 'UTC') AND r.period_start < toDateTime64({to_s:Int64}, 0, 'UTC'),
         r.window_starts[1] >= toDateTime64({from_s:Int64}, 0, 'UTC') AND r.window_starts[1] < toDateTime64({to_s:Int64}, 0, 'UTC'))
GROUP BY r.meter, r.kind, r.provider, r.account, r.cell, r.revision, r.generation, r.attempt
ORDER BY log_offset
