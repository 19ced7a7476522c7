-- Everything that was put in force of who bills a customer, in the order of the log.
SELECT body FROM definition_log FINAL
WHERE kind = 'binding' AND id = {customer:String}
ORDER BY log_offset
