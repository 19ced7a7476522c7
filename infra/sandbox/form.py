"""Stripe's form encoding: `a[b][0]=v` as a tree of dicts whose leaves are strings; a list is a dict with the keys "0", "1", ..."""

from __future__ import annotations

import re
from typing import TypeAlias
from urllib.parse import parse_qsl

from infra.sandbox import errors

Raw: TypeAlias = "str | dict[str, Raw]"
Tree: TypeAlias = dict[str, Raw]

MAX_DEPTH = 8
"""Deeper than any parameter of the API; below it a hostile key cannot build a deep tree."""
MAX_FIELDS = 1000
"""More than 20 items with 50 metadata entries each never comes in one call; above it the form is refused rather than built."""

_HEAD = re.compile(r"[^\[\]]+")
_TAIL = re.compile(r"\[([^\[\]]*)\]")


def decode(text: str) -> Tree:
    """The tree of a form body or a query string; ApiError 400 where it cannot be read."""
    if not text:
        return {}
    try:
        pairs = parse_qsl(text, keep_blank_values=True, errors="strict", max_num_fields=MAX_FIELDS)
    except ValueError as error:
        raise errors.bad_form("the form is not UTF-8 or has too many fields") from error
    tree: Tree = {}
    for key, value in pairs:
        if "[" in key or "]" in key:
            _insert(tree, _path(key), value, key)
        elif isinstance(tree.get(key), dict):
            raise errors.bad_form(f"'{key}' is both a value and an object")
        else:
            tree[key] = value
    return tree


def _path(key: str) -> list[str]:
    head = _HEAD.match(key)
    if head is None:
        raise errors.bad_form(f"the key '{key[:80]}' has no name before its brackets")
    parts = [head.group()]
    at = head.end()
    while at < len(key):
        part = _TAIL.match(key, at)
        if part is None or len(parts) >= MAX_DEPTH:
            raise errors.bad_form(f"the brackets of '{key[:80]}' cannot be read")
        parts.append(part.group(1))
        at = part.end()
    return parts


def _insert(tree: Tree, path: list[str], value: str, key: str) -> None:
    node = tree
    for part in path[:-1]:
        child = node.setdefault(part or str(len(node)), {})
        if isinstance(child, str):
            raise errors.bad_form(f"'{key[:80]}' is both a value and an object")
        node = child
    last = path[-1] or str(len(node))  # `a[]=x` appends
    if isinstance(node.get(last), dict):
        raise errors.bad_form(f"'{key[:80]}' is both a value and an object")
    node[last] = value
