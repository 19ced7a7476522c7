-- What was put in force by control records that the archive's copy of the log does not have.
SELECT toString(kind) AS kind, id, meter, control_offset
FROM definition_log FINAL
WHERE log_partition = {partition:UInt32} AND control_offset >= {place:UInt64}
ORDER BY control_offset, kind, id, meter
LIMIT {limit:UInt32}
