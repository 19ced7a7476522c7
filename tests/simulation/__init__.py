"""The whole path under simulated disasters: one seed, one schedule, the product's own shells and cores, nothing else real."""
