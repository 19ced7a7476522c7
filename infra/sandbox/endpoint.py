"""One endpoint of the API: what it is called by, what it takes, who handles it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from infra.sandbox.call import Call, Json
from infra.sandbox.params import Spec
from infra.sandbox.store import Store

Key = tuple[str, str, int, str]
"""(method, collection with its namespace, number of path parts from the collection on, what follows the id)."""
Handler = Callable[[Call], Json]


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One endpoint. `resource` is what limits, faults and counters go by; `legacy` ends with 2025-03-31.basil."""

    method: str
    resource: str
    action: str
    spec: Spec
    handler: Handler
    legacy: bool = False
    lock: Callable[[Store, Json], str | None] | None = None
    """What only one call at a time may hold, by the call's parameters; None holds nothing."""

    @property
    def name(self) -> str:
        """`resource.action`, as the call counters show it."""
        return f"{self.resource}.{self.action}"


def crud(resource: str, rows: list[tuple[str, str, Spec, Handler]], *, under: str = "") -> dict[Key, Endpoint]:
    """Keys are (method, collection with its namespace `under`, number of path parts from the collection on, sub-collection)."""
    table = {}
    for method, action, spec, handler in rows:
        parts = 1 if action in {"create", "list"} else 2
        table[method, under + resource, parts, ""] = Endpoint(method, resource, action, spec, handler)
    return table
