-- How far each topic of ours is archived, as topics/positions.py counts.
SELECT toString(topic) AS topic, max(next_offset) AS place
FROM progress WHERE kafka_partition = {partition:UInt32} AND topic != 'usage.events'
GROUP BY topic
