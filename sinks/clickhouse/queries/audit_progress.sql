-- Up to where a topic of ours is archived without a hole; no row where nothing is.
SELECT max(next_offset) AS next_offset FROM progress WHERE topic = {topic:String} AND kafka_partition = {partition:UInt32} HAVING count() > 0
