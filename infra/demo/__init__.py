"""`make demo`: the whole promise in a minute. `usage` makes events and knows what must come of them, `run` does it, `summary` compares and prints."""
