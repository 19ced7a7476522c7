"""`expand[]`: an id in an answer becomes the object it names, at most four levels deep.

Source: https://docs.stripe.com/api/expanding_objects
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from infra.sandbox import errors
from infra.sandbox.call import Json

MAX_DEPTH = 4


def expanded(body: Json, paths: Sequence[str], fetch: Callable[[str], Json | None], tiers: Callable[[str], object] = lambda _: None) -> Json:
    """`body` with every path expanded; `fetch` gives the shaped object of an id, `tiers` the tiers of a price's id, which are shown only
    where they are asked for. What is null or already an object stays as it is."""
    for path in paths:
        parts = path.split(".")
        if len(parts) - parts.count("data") > MAX_DEPTH:
            raise errors.refused(f"You cannot expand more than {MAX_DEPTH} levels: {path}", rule="lists.expand", param="expand")
        _walk(body, parts, path, fetch, tiers)
    return body


def _walk(node: Json, parts: Sequence[str], path: str, fetch: Callable[[str], Json | None], tiers: Callable[[str], object]) -> None:
    name = parts[0]
    if name == "tiers" and node.get("object") == "price":
        node[name] = tiers(node["id"])
    if name not in node:
        raise errors.refused(f"This property cannot be expanded ({path}).", rule="lists.expand", param="expand")
    value = node[name]
    if isinstance(value, str):
        found = fetch(value)
        if found is None:
            raise errors.refused(f"This property cannot be expanded ({path}).", rule="lists.expand", param="expand")
        node[name] = value = found
    if len(parts) == 1:
        return
    for child in value if isinstance(value, list) else [value]:
        if isinstance(child, dict):
            _walk(child, parts[1:], path, fetch, tiers)
