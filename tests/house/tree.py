"""The files of the repository as the house tests see them: found once, parsed once."""

from __future__ import annotations

import ast
import subprocess
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("topics", "streams", "sinks", "infra", "tests")
TOP_LEVEL = frozenset({*PACKAGES, "pyproject.toml", "docker-compose.yml", "README.md", "CHANGELOG.md", "LICENSE", "Makefile"})
"""All that may stand at the top besides dot files: the listing of the folder is the first picture a reader gets."""


@dataclass(frozen=True)
class Module:
    """One Python file: its path from the root, its text and its syntax tree."""

    path: str
    text: str
    tree: ast.Module

    @property
    def name(self) -> str:
        """The dotted name under which it is imported."""
        return self.path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


@cache
def files() -> tuple[str, ...]:
    """Every file that is committed or about to be, as a path from the root; outside of a git clone, every file of the packages."""
    answer = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if answer.returncode == 0:
        named = answer.stdout.splitlines()
    else:
        named = [str(path.relative_to(ROOT)) for package in PACKAGES for path in (ROOT / package).rglob("*")]
        named += [name for name in TOP_LEVEL if name not in PACKAGES]
    return tuple(sorted(name for name in named if (ROOT / name).is_file() and "__pycache__" not in name))


@cache
def texts() -> dict[str, str]:
    """Path → content of every file that is UTF-8 text."""
    found = {}
    for path in files():
        try:
            found[path] = (ROOT / path).read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
    return found


@cache
def modules() -> tuple[Module, ...]:
    """Every Python file, parsed."""
    return tuple(parse(path, text) for path, text in texts().items() if path.endswith(".py"))


def parse(path: str, text: str) -> Module:
    """One module from its text; the house tests' own tests feed it planted faults."""
    return Module(path=path, text=text, tree=ast.parse(text, filename=path))


def imports(module: Module) -> tuple[tuple[int, str], ...]:
    """(line, dotted name) of every import, wherever it stands; `from a.b import c` gives `a.b.c`, as c may be a module."""
    found: list[tuple[int, str]] = []
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Import):
            found += [(node.lineno, alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            found += [(node.lineno, f"{node.module}.{alias.name}") for alias in node.names]
    return tuple(found)


def functions(module: Module) -> tuple[ast.FunctionDef | ast.AsyncFunctionDef, ...]:
    """Every function and method of a module, nested ones too."""
    return tuple(node for node in ast.walk(module.tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))
