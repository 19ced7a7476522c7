"""Contestant Kafka Streams: its Java source, what it needs beside the broker's jars, and `building.py`, which compiles it in the run."""
