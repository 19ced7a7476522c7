"""Which way imports point, and what a pure file may not know."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator

from tests.house import tree
from tests.house.shells import CLOCK_CALLS, LIBRARIES, SHELLS, WORLD, allowed, shells_of
from tests.house.tree import Module

BELOW = {
    "topics": {"topics"},
    "streams": {"streams", "topics"},
    "sinks": {"sinks", "topics"},
    "infra": {"infra", "streams", "sinks", "topics"},
    "tests": {"tests", "infra", "streams", "sinks", "topics"},
}
"""What each package may import of ours: infra → {streams, sinks} → topics, tests above all."""


def misdirected(modules: Iterable[Module]) -> Iterator[str]:
    """Imports against the flow."""
    for module in modules:
        package = module.path.split("/")[0]
        for line, name in tree.imports(module):
            target = name.split(".")[0]
            if target in BELOW and target not in BELOW.get(package, set(BELOW)):
                yield f"{module.path}:{line}: {package} imports {name}; it may import only {', '.join(sorted(BELOW[package]))}"


def impure(modules: Iterable[Module]) -> Iterator[str]:
    """Imports of the world, and reads of the wall clock, in files that are pure."""
    for module in modules:
        permitted = allowed(module.path)
        for line, name in tree.imports(module):
            root = name.split(".")[0]
            if root in (LIBRARIES | WORLD) and root not in permitted:
                yield f"{module.path}:{line}: imports {root}; a pure file takes what it needs as arguments (tests/house/shells.py)"
        if permitted:
            continue
        for node in ast.walk(module.tree):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in CLOCK_CALLS:
                yield f"{module.path}:{node.lineno}: reads a clock by .{node.func.attr}(); now is an argument (law 0)"


def import_graph(modules: Iterable[Module]) -> dict[str, set[str]]:
    """Module → our modules that it imports when it is imported itself (not inside a function, not for types only)."""
    names = {module.name: module for module in modules}
    graph: dict[str, set[str]] = {}
    for name, module in names.items():
        top = Module(module.path, module.text, ast.Module(body=list(_import_time(module.tree.body)), type_ignores=[]))
        targets = set()
        for _, imported in tree.imports(top):
            target = imported if imported in names else imported.rpartition(".")[0]
            if target in names and target != name:
                targets.add(target)
        graph[name] = targets
    return graph


def _import_time(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    for node in body:
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield node
        elif isinstance(node, ast.Try):
            yield from _import_time(node.body)
        elif isinstance(node, ast.If) and "TYPE_CHECKING" not in ast.dump(node.test):
            yield from _import_time(node.body + node.orelse)


def cycles(graph: dict[str, set[str]]) -> Iterator[str]:
    """One line for every module that reaches itself."""
    for start in sorted(graph):
        seen: set[str] = set()
        todo = list(graph[start])
        while todo:
            name = todo.pop()
            if name not in seen:
                seen.add(name)
                todo += graph.get(name, ())
        if start in seen:
            yield f"{start}: imports itself through {', '.join(sorted(graph[start] & seen))}"


def test_imports_point_downwards() -> None:
    """Imports go from infra to streams and sinks and from there to topics, and streams and sinks never meet."""
    found = list(misdirected(tree.modules()))
    assert not found, "\n".join(found)


def test_pure_files_know_neither_clock_nor_network() -> None:
    """Outside of the named shells no file of topics, streams or sinks imports a clock, chance, the machine or a server's client."""
    found = list(impure(tree.modules()))
    assert not found, "\n".join(found)


def test_no_module_imports_itself_in_a_circle() -> None:
    """No module reaches itself through the imports that run when it is imported."""
    found = list(cycles(import_graph(tree.modules())))
    assert not found, "\n".join(found)


def test_every_shell_has_a_reason_and_an_owner() -> None:
    """Each entry of the list of shells says why, and names only files of streams or sinks, never of topics."""
    for shell in SHELLS:
        assert len(shell.why.split()) >= 3, shell
        assert shell.files.startswith(("streams/", "sinks/")), shell
        assert shell.may <= LIBRARIES | WORLD, shell
    assert not shells_of("topics/codec.py")


def test_planted_faults_are_found() -> None:
    """A wrong direction, an impure import, a clock and a circle are each reported when planted."""
    upward = tree.parse("topics/a.py", '"""A."""\nfrom streams.step import step\nimport sinks\n')
    across = tree.parse("streams/a.py", '"""A."""\ndef f():\n    import sinks.stripe\n')
    assert len(list(misdirected([upward, across]))) == 3
    clocked = tree.parse("streams/b.py", "import time\nfrom faust import App\nfrom datetime import datetime\nx = datetime.now()\n")
    assert len(list(impure([clocked]))) == 3
    assert not list(impure([tree.parse("infra/b.py", clocked.text)]))
    first = tree.parse("topics/x.py", "from topics import y\n")
    second = tree.parse("topics/y.py", "from topics.x import a\n")
    package = tree.parse("topics/__init__.py", '"""T."""\n')
    assert len(list(cycles(import_graph([first, second, package])))) == 2
    late = tree.parse("topics/y.py", "def f():\n    from topics.x import a\n")
    assert not list(cycles(import_graph([first, late, package])))
