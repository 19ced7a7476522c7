"""For the whole suite: hypothesis is imported before any test has run, and measures no time: on a busy machine any example may take long.

Its pytest plugin imports it in the summary, where pytest rewrites, and so parses, each of its files. On CPython up to 3.11.8 a garbage collection in
the middle of that parsing, which formats what a test left behind, ends the run with "AST constructor recursion depth mismatch" (gh-106905).
"""

from __future__ import annotations

import hypothesis
import hypothesis.internal.observability

hypothesis.settings.register_profile("tidemark", deadline=None)
hypothesis.settings.load_profile("tidemark")
