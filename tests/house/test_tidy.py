"""Sizes, docstrings, and what may not be left lying about in code."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator

from tests.house import tree
from tests.house.tree import Module

FILE_LINES = 400
"""Above it a file holds more than one idea: the models we follow stay below for 98 % of theirs."""
FUNCTION_LINES = 70
"""What one screen shows."""
NESTING = 3
"""Blocks inside blocks that a reader can hold while reading the innermost."""

BLOCKS = (ast.If, ast.For, ast.AsyncFor, ast.While, ast.With, ast.AsyncWith, ast.Try, ast.TryStar, ast.Match)
SCOPES = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda)
MARKERS = re.compile(r"\b(" + "|".join(("TO" + "DO", "FIX" + "ME", "X" + "XX", "HA" + "CK")) + r")\b")
ABBREVIATION = re.compile(r"\b(e\.g|i\.e|etc|cf|vs|no)\. ", re.IGNORECASE)


def depth(node: ast.AST, level: int = 0) -> int:
    """How many blocks stand inside each other below `node`; an elif stands beside its if, a nested function starts anew."""
    deepest = level
    for child in ast.iter_child_nodes(node):
        if isinstance(child, SCOPES):
            continue
        is_elif = isinstance(node, ast.If) and isinstance(child, ast.If) and node.orelse == [child]
        inside = level + (isinstance(child, BLOCKS) and not is_elif)
        deepest = max(deepest, depth(child, inside))
    return deepest


def oversized(modules: Iterable[Module]) -> Iterator[str]:
    """Files, functions and nests beyond the limits."""
    for module in modules:
        lines = len(module.text.splitlines())
        if lines > FILE_LINES:
            yield f"{module.path}: {lines} lines, {FILE_LINES} are allowed"
        for function in tree.functions(module):
            size = (function.end_lineno or function.lineno) - function.lineno + 1
            if size > FUNCTION_LINES:
                yield f"{module.path}:{function.lineno}: {function.name} has {size} lines, {FUNCTION_LINES} are allowed"
            nested = depth(function)
            if nested > NESTING:
                yield f"{module.path}:{function.lineno}: {function.name} nests {nested} blocks, {NESTING} are allowed"


def undocumented(modules: Iterable[Module]) -> Iterator[str]:
    """Modules, public classes and public functions and methods without a docstring; an overload speaks by its implementation."""
    for module in modules:
        if not ast.get_docstring(module.tree):
            yield f"{module.path}: no module docstring"
        for node, name in _public(module.tree, ""):
            if not ast.get_docstring(node):
                yield f"{module.path}:{node.lineno}: {name} has no docstring"


Definition = ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


def _public(parent: ast.Module | ast.ClassDef, prefix: str) -> Iterator[tuple[Definition, str]]:
    for node in parent.body:
        if not isinstance(node, Definition) or node.name.startswith("_"):
            continue
        decorators = ast.dump(ast.Module(body=[ast.Expr(value=each) for each in node.decorator_list], type_ignores=[]))
        if "'overload'" in decorators or "'setter'" in decorators or "'override'" in decorators:
            continue
        yield node, prefix + node.name
        if isinstance(node, ast.ClassDef):
            yield from _public(node, f"{node.name}.")


def wordless_tests(modules: Iterable[Module]) -> Iterator[str]:
    """Test functions whose docstring is not one sentence, and those that assert nothing."""
    for module in modules:
        if not module.path.startswith("tests/"):
            continue
        for function in tree.functions(module):
            if not function.name.startswith("test_"):
                continue
            where = f"{module.path}:{function.lineno}: {function.name}"
            fault = not_one_sentence(ast.get_docstring(function) or "")
            if fault:
                yield f"{where}: its docstring {fault}"
            dump = ast.dump(function)
            if "Assert(" not in dump and "assert" not in dump.lower() and "raises" not in dump:
                yield f"{where}: asserts nothing"


def not_one_sentence(text: str) -> str | None:
    """What keeps a docstring from being one sentence that says what is promised, or None."""
    joined = re.sub(r"`[^`]*`", "code", " ".join(text.split()))
    if len(joined.split()) < 4:
        return "is missing or says too little"
    if "\n\n" in text or re.search(r"[.!?] [A-Z]", ABBREVIATION.sub(" ", joined)):
        return "is more than one sentence"
    return None if joined.endswith(".") else "does not end as a sentence"


def left_lying(modules: Iterable[Module]) -> Iterator[str]:
    """Stubs and swallowed exceptions."""
    for module in modules:
        for node in ast.walk(module.tree):
            if isinstance(node, ast.ExceptHandler) and _is_broad(node.type) and _does_nothing(node.body):
                yield f"{module.path}:{node.lineno}: an exception is swallowed"
            if isinstance(node, ast.With | ast.AsyncWith) and re.search(r"\bsuppress\((Base)?Exception\)", _head(module, node)):
                yield f"{module.path}:{node.lineno}: an exception is swallowed"
        if module.path.startswith("tests/"):
            continue
        for function in tree.functions(module):
            body = [each for each in function.body if not _is_text(each)]
            if body and isinstance(body[0], ast.Raise) and "NotImplemented" in ast.dump(body[0]):
                yield f"{module.path}:{function.lineno}: {function.name} is a stub"


def _head(module: Module, node: ast.With | ast.AsyncWith) -> str:
    return "".join(ast.get_source_segment(module.text, item.context_expr) or "" for item in node.items)


def _is_broad(kind: ast.expr | None) -> bool:
    return kind is None or (isinstance(kind, ast.Name) and kind.id in {"Exception", "BaseException"})


def _does_nothing(body: list[ast.stmt]) -> bool:
    return all(isinstance(each, ast.Pass | ast.Continue) or _is_text(each) for each in body)


def _is_text(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def marked(texts: dict[str, str]) -> Iterator[str]:
    """Lines that promise to be finished later."""
    for path, text in texts.items():
        for number, line in enumerate(text.splitlines(), 1):
            if MARKERS.search(line):
                yield f"{path}:{number}: {line.strip()[:100]}"


def test_sizes() -> None:
    """No file has more than 400 lines, no function more than 70, and no more than three blocks stand inside each other."""
    found = list(oversized(tree.modules()))
    assert not found, "\n".join(found)


def test_docstrings() -> None:
    """Every module and every public class, function and method says what it means."""
    found = list(undocumented(tree.modules()))
    assert not found, "\n".join(found)


def test_every_test_says_its_promise() -> None:
    """Every test's docstring is one sentence, and every test can fail."""
    found = list(wordless_tests(tree.modules()))
    assert not found, "\n".join(found)


def test_nothing_is_left_lying() -> None:
    """There are no stubs, no swallowed exceptions and no notes to finish something later."""
    found = [*left_lying(tree.modules()), *marked(tree.texts())]
    assert not found, "\n".join(found)


def test_planted_faults_are_found() -> None:
    """Each kind of untidiness is reported when planted, and tidy code is not."""
    deep = tree.parse("infra/a.py", "def f(x):\n for a in x:\n  if a:\n   with a:\n    while a:\n     pass\n")
    assert [line.split(": ", 1)[1] for line in oversized([deep])] == ["f nests 4 blocks, 3 are allowed"]
    flat = tree.parse("infra/a.py", "def f(x):\n if x:\n  pass\n elif 1:\n  pass\n elif 2:\n  pass\n elif 3:\n  pass\n elif 4:\n  pass\n")
    assert not list(oversized([flat]))
    long = tree.parse("infra/a.py", "def f():\n" + " x = 1\n" * 400)
    assert len(list(oversized([long]))) == 2
    assert len(list(undocumented([tree.parse("infra/a.py", "class A:\n  def b(self): ...\n  def _c(self): ...\n")]))) == 3
    assert not_one_sentence("Totals are exact.") == "is missing or says too little"
    assert not_one_sentence("Totals are exact here. And there too.") == "is more than one sentence"
    assert not_one_sentence("Totals are exact here") == "does not end as a sentence"
    assert not_one_sentence("Totals, e.g. Those of `a. B`, are exact to 0.1 units.") is None
    empty = tree.parse("tests/test_a.py", 'def test_x():\n    """All sums are always right."""\n    print(1)\n')
    assert len(list(wordless_tests([empty]))) == 1
    quiet = "def f():\n  try:\n    g()\n  except Exception:\n    pass\n  with contextlib.suppress(Exception):\n    g()\n"
    stub = "def h():\n  raise NotImplementedError\n"
    assert len(list(left_lying([tree.parse("infra/a.py", quiet + stub)]))) == 3
    assert len(list(marked({"a.md": "x " + "TO" + "DO: y"}))) == 1
