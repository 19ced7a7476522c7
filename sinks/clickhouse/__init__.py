"""The archive: every record that money passed through, in ClickHouse, with views that explain a total down to its events (laws 18, 19)."""
