"""Long fault runs on the embedded stack: `make chaos N=… [SEED=…]`."""
