"""What is compiled is compiled by `make env`, not by the first worker that starts."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

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


CALLS = """
from topics.compiled import compiled
from topics.part import part
@compiled("int64(int64)")
def whole(number: int) -> int:
    return part(number)
if __name__ == "__main__":
    print(whole(1), sum(whole.stats.cache_hits.values()))
"""
PART = """
from topics.compiled import inlined
from topics.constant import ADDED
@inlined
def part(number: int) -> int:
    return number * {factor} + ADDED
"""


def test_kept_code_is_not_used_once_a_part_of_it_is_another(tmp_path: Path) -> None:
    """After an update a compiled function is compiled anew where what it calls, or a constant of that, changed in another file."""
    topics = tmp_path / "topics"
    topics.mkdir()
    shutil.copy(tree.ROOT / "topics" / "compiled.py", topics)
    (topics / "whole.py").write_text(CALLS)

    def run(factor: int, added: int) -> list[int]:
        (topics / "part.py").write_text(PART.format(factor=factor))
        (topics / "constant.py").write_text(f"ADDED = {added}\n")
        start = f"import sys, runpy; sys.path.insert(0, {str(tmp_path)!r}); runpy.run_module('topics.whole', run_name='__main__')"
        done = subprocess.run([sys.executable, "-c", start], capture_output=True, text=True, check=True, cwd=tmp_path)
        return [int(number) for number in done.stdout.split()]

    assert [run(2, 1), run(2, 1)] == [[3, 0], [3, 1]], "the second finds what the first kept"
    assert run(5, 1) == [6, 0]
    assert run(5, 7) == [12, 0]
