"""Removes one guard of the product while a test runs: the guard's own source text is replaced inside one function, and put back afterwards.

The text must stand in the function exactly once. Where the code has changed so that it does not, the edit fails by name, so no mutation
is ever silently about nothing. The function object stays the same and only its code is exchanged: whoever imported it by name has it too.
"""

from __future__ import annotations
import __future__

import ast
import importlib
import inspect
import textwrap
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from types import FunctionType
from typing import Any, NamedTuple


class Edit(NamedTuple):
    """`where` is module:function or module:Class.method; `old` is replaced by `new` in its source (written without outer indentation)."""

    where: str
    old: str
    new: str


def _owner(where: str) -> tuple[Any, str]:
    module, _, path = where.partition(":")
    owner: Any = importlib.import_module(module)
    *outer, name = path.split(".")
    for part in outer:
        owner = getattr(owner, part)
    return owner, name


def function_at(where: str) -> FunctionType:
    """The plain function that `where` names, also behind a property or a static method."""
    owner, name = _owner(where)
    found = inspect.getattr_static(owner, name)
    if isinstance(found, property):
        found = found.fget
    if isinstance(found, staticmethod | classmethod):
        found = found.__func__
    assert isinstance(found, FunctionType), f"{where} is no function"
    return found


def source_of(where: str) -> str:
    """The function's source without outer indentation."""
    return textwrap.dedent(inspect.getsource(function_at(where)))


def _edited(where: str, edits: list[Edit]) -> FunctionType:
    source = source_of(where)
    for edit in edits:
        found = source.count(edit.old)
        assert found == 1, f"{where}: the guard {edit.old!r} stands there {found} times, not once; the mutation must follow the code"
        source = source.replace(edit.old, edit.new)
    parsed = ast.parse(source)
    definition = parsed.body[0]
    assert isinstance(definition, ast.FunctionDef | ast.AsyncFunctionDef)
    definition.decorator_list = []
    # Inside a function with the same free names (`__class__` of a bare super()), so that the code fits the original's cells.
    free = function_at(where).__code__.co_freevars
    outer = ast.parse(f"def made({', '.join(free)}):\n    return {definition.name}")
    assert isinstance(outer.body[0], ast.FunctionDef)
    outer.body[0].body.insert(0, definition)
    code = compile(ast.fix_missing_locations(outer), f"<{where} without its guard>", "exec", flags=__future__.annotations.compiler_flag)
    namespace = dict(function_at(where).__globals__)
    exec(code, namespace)
    made: FunctionType = namespace["made"](*free)
    return made


@contextmanager
def changed(edits: tuple[Edit, ...]) -> Iterator[None]:
    """Apply edits, several of one function together, and undo them when the block ends."""
    places: dict[str, list[Edit]] = {}
    for edit in edits:
        places.setdefault(edit.where, []).append(edit)
    with ExitStack() as undo:
        for where, found in places.items():
            function = function_at(where)
            made = _edited(where, found)
            undo.callback(setattr, function, "__code__", function.__code__)
            function.__code__ = made.__code__
        yield
