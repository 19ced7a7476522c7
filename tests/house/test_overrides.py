"""We replace a few private methods of Faust and aiokafka; these tests notice when the originals change."""

from __future__ import annotations

import hashlib
import importlib
import inspect
from collections.abc import Iterator
from types import ModuleType

import pytest

from tests.house import tree

FRAMEWORKS = frozenset({"faust", "mode", "aiokafka"})


def source_sum(dotted: str) -> str:
    """SHA-256 of the source of `package.module.Class.method` as installed."""
    parts = dotted.split(".")
    target: object = None
    for cut in range(len(parts) - 1, 0, -1):
        try:
            target = importlib.import_module(".".join(parts[:cut]))
        except ModuleNotFoundError:
            continue
        for name in parts[cut:]:
            target = inspect.getattr_static(target, name)
        break
    if isinstance(target, property):
        target = target.fget
    if isinstance(target, staticmethod | classmethod):
        target = target.__func__
    target = getattr(target, "fun", target)  # mode wraps its background tasks in an object
    return hashlib.sha256(inspect.getsource(target).encode()).hexdigest()  # type: ignore[arg-type]


def private_overrides(module: ModuleType) -> Iterator[str]:
    """Dotted name of every framework method, private by its name, that a class of the module replaces."""
    for _, kind in inspect.getmembers(module, inspect.isclass):
        if kind.__module__ != module.__name__:
            continue
        for name in vars(kind):
            if name.startswith("_") and not name.endswith("__"):
                yield from _replaced(kind, name)


def _replaced(kind: type, name: str) -> Iterator[str]:
    for base in kind.__mro__[1:]:
        if base.__module__.split(".")[0] in FRAMEWORKS and inspect.isroutine(vars(base).get(name)):
            yield f"{base.__module__}.{base.__qualname__}.{name}"
            return


def pinned() -> dict[str, str]:
    """infra.delivery.OVERRIDES: dotted name of each original that we replace → the sum of its source when we read it."""
    if "infra/delivery.py" not in tree.files():
        pytest.skip("infra/delivery.py is not written yet")
    found = getattr(importlib.import_module("infra.delivery"), "OVERRIDES", None)
    assert isinstance(found, dict), "infra/delivery.py has no OVERRIDES: dict of dotted name → SHA-256 of the original's source"
    return found


def test_originals_of_our_overrides_are_unchanged() -> None:
    """Every framework method that we replace still has the source that our replacement was written against."""
    found = []
    for dotted, expected in pinned().items():
        actual = source_sum(dotted)
        if actual != expected:
            found.append(
                f"{dotted} is no longer the method that we replace: read the new one, adapt our override, then pin "
                f"{actual} in infra/delivery.py"
            )
    assert not found, "\n".join(found)


def test_every_private_override_is_pinned() -> None:
    """Every private method of Faust, Mode or aiokafka that one of our classes replaces is listed in OVERRIDES."""
    known = pinned()
    users = [module for module in tree.modules() if any(name.split(".")[0] in FRAMEWORKS for _, name in tree.imports(module))]
    found = []
    for module in users:
        if module.path.startswith(("infra/", "streams/", "sinks/")) and not module.path.endswith("__main__.py"):
            found += [f"{module.path}: {name}" for name in private_overrides(importlib.import_module(module.name)) if name not in known]
    assert not found, "\n".join(found)


def test_a_changed_original_is_noticed() -> None:
    """The sum is that of the method's own source, and a class that replaces a private method is found."""
    faust = importlib.import_module("faust")
    original = faust.App._rebuild_config if hasattr(faust.App, "_rebuild_config") else faust.App._create_directories
    name = f"{original.__module__}.{original.__qualname__}"
    assert source_sum(name) == hashlib.sha256(inspect.getsource(original).encode()).hexdigest()

    probe = ModuleType("probe")
    replacing = type("Replacing", (faust.App,), {original.__name__: lambda _: None, "__module__": "probe"})
    vars(probe)["Replacing"] = replacing
    assert list(private_overrides(probe)) == [name]
