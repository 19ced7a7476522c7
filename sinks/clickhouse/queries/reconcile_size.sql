-- How many records of one customer are archived.
SELECT count() FROM raw_events WHERE customer = {customer:String}
