-- What of the customer's records among some offsets was not counted, as it lies in the parts; the customer is the sort key.
SELECT kafka_partition, generation, kafka_offset, verdict
FROM verdict_log
PREWHERE customer = {customer:String} AND kafka_offset >= {first:UInt64} AND kafka_offset <= {last:UInt64}
LIMIT {most:UInt64}
