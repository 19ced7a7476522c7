"""Stripe's form encoding: `a[b][0]=v` as a tree of dicts whose leaves are strings; a list is a dict with the keys "0", "1", ..."""

from __future__ import annotations

import json
import re
from typing import Any, TypeAlias
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


def of_json(body: bytes) -> Tree:
    """The tree of a JSON body, as API v2 takes it: the same leaves as a form would have; ApiError 400 where it cannot be read."""
    try:
        value = json.loads(body or b"{}")
        json.dumps(value, ensure_ascii=False).encode()  # half a pair of surrogates is no text: nothing could write it
        tree = _raw(value, 0)
    except (ValueError, RecursionError) as error:
        raise errors.bad_form("the body is not JSON") from error
    if not isinstance(tree, dict) or isinstance(value, list):
        raise errors.bad_form("the body is no JSON object")
    return tree


def _raw(value: Any, depth: int) -> Raw:
    if depth > MAX_DEPTH:
        raise errors.bad_form("the body is nested too deeply")
    if isinstance(value, dict):
        return {key: _raw(each, depth + 1) for key, each in value.items()}
    if isinstance(value, list):
        return {str(index): _raw(each, depth + 1) for index, each in enumerate(value)}
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value)
