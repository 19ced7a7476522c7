"""`python -m tests.benchmarks.archive`: the archive at size: what a row costs, how fast a window opens, how fast rows go in."""
