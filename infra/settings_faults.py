"""A model's complaints as faults of a configuration: place, what is wrong, remedy; never a value that may be secret."""

from __future__ import annotations

from collections.abc import Iterable
from copy import deepcopy
from difflib import get_close_matches
from itertools import pairwise
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from infra.settings_sources import SECRET_KEYS, redacted, variable_of
from topics.errors import Fault


def known_names(model: type[BaseModel]) -> dict[str, FieldInfo]:
    """The names of a section as a person writes them, with what is declared about each."""
    return {field.alias or name: field for name, field in model.model_fields.items()}


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The right name that a wrong one most probably meant."""
    found = get_close_matches(name, list(known), n=1, cutoff=0.6)
    return found[0] if found else None


def unknown_fault(place: str, name: str, known: Iterable[str]) -> Fault:
    """An unknown key or section, with the nearest right name."""
    names = sorted(known)
    meant = nearest(name, names)
    remedy = f"Did you mean {meant!r}?" if meant else f"Known here are {', '.join(names)}."
    return Fault(redacted(place) or '""', redacted(f"{name!r} is unknown"), remedy)


def model_faults(error: ValidationError, model: type[BaseModel], place: str, from_environment: frozenset[str] = frozenset()) -> list[Fault]:
    """Every complaint of one section's model, one a place. `from_environment`: names whose value an environment variable gave."""
    details: dict[tuple[Any, ...], Any] = {}
    for detail in error.errors(include_url=False):
        # A value of several allowed kinds is complained about once for each; the kinds are the end of the path, not part of the place.
        kinds = detail["loc"][-1:] in {("str",), ("int",), ("bool",)} and len(detail["loc"]) > 1
        path = detail["loc"][:-1] if kinds else detail["loc"]
        text = "it is neither text, a whole number nor true or false" if kinds else detail["msg"]
        details.setdefault(path, {**detail, "loc": path, "msg": text})
    return [_fault(detail, model, place, from_environment) for detail in details.values()]


def without_faulty(values: dict[str, Any], error: ValidationError) -> dict[str, Any]:
    """A copy of `values` without the leaves that `error` complains about, so that what is right of them can be judged further."""
    left = deepcopy(values)
    for detail in error.errors(include_url=False):
        _prune(left, detail["loc"])
    return left


def _prune(tree: Any, path: tuple[Any, ...]) -> None:
    for step, after in pairwise((*path, None)):
        there = step in tree if isinstance(tree, dict) else isinstance(tree, list) and isinstance(step, int) and step < len(tree)
        if not there:
            return
        if after is None or not isinstance(tree[step], dict | list):
            del tree[step]
            return
        tree = tree[step]


def _fault(detail: Any, model: type[BaseModel], place: str, from_environment: frozenset[str]) -> Fault:
    path = detail["loc"]
    name = str(path[0]) if path else ""
    inner, field = _descend(model, path)
    where = place + "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)
    if name in from_environment:
        where = variable_of(place, name)
    if detail["type"] == "extra_forbidden":
        return unknown_fault(where, str(path[-1]), known_names(inner))
    example = _example(field, str(path[-1]) if path else "", in_environment=name in from_environment)
    if detail["type"] == "missing":
        return Fault(where, "it is missing", example or "Write it.")
    return Fault(where, _problem(detail, str(path[-1]) if path else ""), example or "Correct it.")


def _descend(model: type[BaseModel], path: tuple[Any, ...]) -> tuple[type[BaseModel], FieldInfo | None]:
    """The model and the field that a path ends at."""
    field: FieldInfo | None = None
    for part in path:
        if isinstance(part, int):
            continue
        field = known_names(model).get(part)
        inner = _model_in(field.annotation) if field is not None else None
        if inner is not None:
            model = inner
    return model, field


def _model_in(annotation: Any) -> type[BaseModel] | None:
    for candidate in (annotation, *getattr(annotation, "__args__", ())):
        if isinstance(candidate, type) and issubclass(candidate, BaseModel):
            return candidate
    return None


def _problem(detail: Any, name: str) -> str:
    if detail["type"] == "value_error":
        return redacted(str(detail["ctx"]["error"]))
    text = str(detail["msg"])
    text = text[0].lower() + text[1:]
    if name in SECRET_KEYS:
        return text
    shown = redacted(repr(detail["input"]))
    return f"{text} (it is {shown if len(shown) <= 60 else shown[:57] + '…'})"


def _example(field: FieldInfo | None, name: str, *, in_environment: bool) -> str:
    if field is None or not field.examples:
        return ""
    if in_environment:
        return f"Set it for example to {str(field.examples[0]).strip(chr(34))}."
    return f"Write for example `{name} = {field.examples[0]}`."
