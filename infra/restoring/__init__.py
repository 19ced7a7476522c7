"""`tidemark restore`: Kafka's data is lost, ClickHouse is left; what the topics held is built again from there."""
