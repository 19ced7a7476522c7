-- The events of one customer that an amendment in force names (void, set, accept): a person has decided about them.
SELECT DISTINCT kafka_partition, amends_generation, amends_offset
FROM amendments
WHERE customer = {customer:String} AND state = 'applied' AND kind IN ('void', 'set', 'accept')
