"""Sizing: what a stated load needs (`tidemark check --sizing`). Pure arithmetic over named constants; infra/docs/sizing.md explains it."""
