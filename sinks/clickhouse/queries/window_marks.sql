-- How far every event of each log has its verdict; of several rows of one log the greatest holds.
SELECT kafka_partition, generation, next_offset FROM mark_log
