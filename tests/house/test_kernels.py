"""What is compiled is compiled by `make env`, not by the first worker that starts."""

from __future__ import annotations

import subprocess
import sys

from infra.kernels import MODULES
from tests.house import tree

LISTS = """
import sys
from importlib import import_module
for name in {modules!r}:
    import_module(name)
print(*(name for name in sys.modules if name.startswith(("topics.", "streams.", "sinks.", "infra."))))
"""


def test_every_compiled_function_is_compiled_beforehand() -> None:
    """A module that compiles something is imported by those that `python -m infra.kernels` imports."""
    compiles = {
        module.name
        for module in tree.modules()
        if "from topics.compiled import" in module.text and not module.name.startswith("tests.")
    }
    done = subprocess.run([sys.executable, "-c", LISTS.format(modules=MODULES)], capture_output=True, text=True, check=True, cwd=tree.ROOT)
    assert compiles
    assert not compiles - set(done.stdout.split())
