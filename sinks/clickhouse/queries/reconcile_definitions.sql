-- What was put in force of meters, and for some customers: items, test clock, invoices; in the order in which the meter published it.
SELECT log_partition, body
FROM definition_log FINAL
WHERE kind = 'meter' OR (kind IN ('binding', 'clock') AND id IN {customers:Array(String)})
   OR (kind = 'invoice' AND JSONExtractString(body, 'customer') IN {customers:Array(String)})
ORDER BY log_partition, log_offset
