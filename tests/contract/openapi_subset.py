"""Checks values against Stripe's OpenAPI description: only the keywords that it uses, so that no further package is needed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).resolve().parents[3] / "shared" / "openapi"
_TYPES: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "object": (dict,),
    "array": (list,),
}


class Description:
    """One OpenAPI file."""

    def __init__(self, name: str) -> None:
        self._document = json.loads((FOLDER / name).read_text(encoding="utf-8"))

    def paths(self) -> list[str]:
        """The URLs that the file describes, as it spells them."""
        return list(self._document["paths"])

    def schema(self, name: str) -> Any:
        """A component schema."""
        return self._document["components"]["schemas"][name]

    def operation(self, method: str, path: str) -> Any:
        """An operation, by the path as the file spells it."""
        return self._document["paths"][path][method.lower()]

    def parameters(self, method: str, path: str) -> Any:
        """The form (POST) or the query of an operation as an object schema."""
        operation = self.operation(method, path)
        if method == "GET":
            query = [each for each in operation["parameters"] if each["in"] == "query"]
            required = [each["name"] for each in query if each.get("required")]
            properties = {each["name"]: each["schema"] for each in query}
            return {"type": "object", "properties": properties, "required": required, "additionalProperties": False}
        return operation["requestBody"]["content"]["application/x-www-form-urlencoded"]["schema"]

    def faults(self, schema: Any, value: Any, at: str = "$") -> list[str]:
        """Everything about `value` that contradicts `schema`, each with its place."""
        if "$ref" in schema:
            name = schema["$ref"].rsplit("/", 1)[1]
            schemas = self._document["components"]["schemas"]
            return self.faults(schemas[name], value, at) if name in schemas else []  # a part that the fragment left out
        if value is None:
            return [] if schema.get("nullable") else [f"{at}: null is not allowed"]
        if "anyOf" in schema:
            tried = [self.faults(each, value, at) for each in schema["anyOf"]]
            return [] if any(not faults for faults in tried) else min(tried, key=len)
        return self._typed(schema, value, at)

    def _typed(self, schema: Any, value: Any, at: str) -> list[str]:
        kind = schema.get("type")
        if kind is not None and (not isinstance(value, _TYPES[kind]) or (isinstance(value, bool) and kind != "boolean")):
            return [f"{at}: {value!r} is no {kind}"]
        if "enum" in schema and value not in schema["enum"]:
            return [f"{at}: {value!r} is not one of {schema['enum']}"]
        if isinstance(value, str) and len(value) > schema.get("maxLength", len(value)):
            return [f"{at}: longer than {schema['maxLength']}"]
        if isinstance(value, list):
            return [fault for n, each in enumerate(value) for fault in self.faults(schema.get("items", {}), each, f"{at}[{n}]")]
        return self._members(schema, value, at) if isinstance(value, dict) else []

    def _members(self, schema: Any, value: dict[str, Any], at: str) -> list[str]:
        properties, more = schema.get("properties", {}), schema.get("additionalProperties", True)
        faults = [f"{at}: {name} is missing" for name in schema.get("required", []) if name not in value]
        for name, each in value.items():
            if name in properties:
                faults += self.faults(properties[name], each, f"{at}.{name}")
            elif more is False:
                faults.append(f"{at}: {name} is unknown")
            elif isinstance(more, dict):
                faults += self.faults(more, each, f"{at}.{name}")
        return faults
