-- Everybody of whom the archive knows anything that can drift: customer and meter. What is in a meter's name only (a rejected event) is not here.
SELECT customer, meter FROM
(
    SELECT customer, toString(meter) AS meter FROM window_log
    UNION DISTINCT
    SELECT customer, toString(meter) AS meter FROM receipt_log
    UNION DISTINCT
    SELECT customer, arrayJoin(CAST(meters, 'Array(String)')) AS meter FROM raw_events
)
WHERE ({customer:String} = '' OR customer = {customer:String}) AND ({meter:String} = '' OR meter = {meter:String})
ORDER BY customer, meter
