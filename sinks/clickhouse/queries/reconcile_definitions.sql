-- What was put in force of meters, and for one customer: items, test clock, invoices; in the order in which the meter published it.
SELECT log_partition, body
FROM definition_log FINAL
WHERE kind = 'meter' OR (kind IN ('binding', 'clock') AND id = {customer:String})
   OR (kind = 'invoice' AND JSONExtractString(body, 'customer') = {customer:String})
ORDER BY log_partition, log_offset
