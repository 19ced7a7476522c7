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
from contextlib import contextmanager
from types import FunctionType
from typing import Any, NamedTuple


class Edit(NamedTuple):
    """`where` is module:function or module:Class.method; `old` is replaced by `new` in its source (written without outer indentation)."""

    where: str
    old: str
    new: str


class Value(NamedTuple):
    """`where` is module:attribute; it holds `new` while the edit is applied."""

    where: str
    new: Any


Change = Edit | Value


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


def _edited(edit: Edit) -> FunctionType:
    source = source_of(edit.where)
    found = source.count(edit.old)
    assert found == 1, f"{edit.where}: the guard {edit.old!r} stands there {found} times, not once; the mutation must follow the code"
    parsed = ast.parse(source.replace(edit.old, edit.new))
    definition = parsed.body[0]
    assert isinstance(definition, ast.FunctionDef | ast.AsyncFunctionDef)
    definition.decorator_list = []
    code = compile(parsed, f"<{edit.where} without its guard>", "exec", flags=__future__.annotations.compiler_flag)
    namespace = dict(function_at(edit.where).__globals__)
    exec(code, namespace)
    made: FunctionType = namespace[definition.name]
    return made


@contextmanager
def changed(change: Change) -> Iterator[None]:
    """Apply one change, and undo it when the block ends."""
    if isinstance(change, Value):
        owner, name = _owner(change.where)
        before = getattr(owner, name)
        setattr(owner, name, change.new)
        try:
            yield
        finally:
            setattr(owner, name, before)
        return
    function = function_at(change.where)
    code = function.__code__
    function.__code__ = _edited(change).__code__
    try:
        yield
    finally:
        function.__code__ = code
