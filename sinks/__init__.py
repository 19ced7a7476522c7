"""What leaves: the report to providers (`stripe/`) and the archive (`clickhouse/`). Owns laws 12 – 19; README.md says which file is which."""
