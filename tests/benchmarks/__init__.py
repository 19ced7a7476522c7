"""Benchmarks: ratios measured in one run on one machine, printed and written as JSON, never asserted by a clock."""
