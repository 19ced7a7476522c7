"""For the whole suite: hypothesis is imported before any test has run.

Its pytest plugin imports it in the summary, where pytest rewrites, and so parses, each of its files. On CPython up to 3.11.8 a garbage collection in
the middle of that parsing, which formats what a test left behind, ends the run with "AST constructor recursion depth mismatch" (gh-106905).
"""

from __future__ import annotations

import hypothesis.internal.observability

__all__ = ["hypothesis"]
