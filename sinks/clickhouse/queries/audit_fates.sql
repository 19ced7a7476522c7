-- Verdicts as the views show them, counted. An amendment that acts is a control record with postings.
SELECT verdict, count() AS records, sumIf(length(meters), verdict IN ('counted', 'control')) AS postings
FROM judged_events
WHERE kafka_partition = {partition:UInt32} AND generation = {generation:UInt32} AND kafka_offset < {end:UInt64}
GROUP BY verdict
