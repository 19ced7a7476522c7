-- The windows behind an invoice line: what the provider holds of each (its newest definite answer), the newest total, and the same counted
-- again from the raw events. A cell may hold several windows: its units are theirs together.
SELECT intDiv(toUnixTimestamp64Milli(toDateTime64(d.window_start, 3)), 1000), intDiv(toUnixTimestamp64Milli(toDateTime64(d.window_end, 3)), 1000), d.cell, d.units, d.revisions, d.request_id, toUnixTimestamp64Milli(d.reported_at),
       d.quantity, t.quantity, t.events, t.hash, r.quantity, r.events, r.hash
FROM
(
    SELECT window_start, window_end, argMax(cell, log_offset) AS cell, argMax(units, log_offset) AS units, count() AS revisions,
           argMax(request_id, log_offset) AS request_id, argMax(reported_at, log_offset) AS reported_at,
           argMax(window_quantity, log_offset) AS quantity
    FROM deliveries
    WHERE customer = {customer:String} AND meter = {meter:String} AND item = {item:String} AND state IN ('delivered', 'confirmed')
      AND reported_time >= toDateTime64({start_s:Int64}, 0, 'UTC') AND reported_time < toDateTime64({end_s:Int64}, 0, 'UTC')
    GROUP BY window_start, window_end
) AS d
LEFT JOIN (SELECT * FROM window_totals WHERE customer = {customer:String} AND meter = {meter:String}) AS t
    ON t.window_start = d.window_start AND t.window_end = d.window_end
LEFT JOIN (SELECT * FROM window_recount WHERE customer = {customer:String} AND meter = {meter:String}) AS r
    ON r.window_start = d.window_start AND r.window_end = d.window_end
ORDER BY d.window_start
