"""The embedded stack: a real Kafka, ClickHouse's engine, the Stripe sandbox and the workers, all children of one supervisor."""
