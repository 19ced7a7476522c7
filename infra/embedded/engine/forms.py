"""Form bodies, in which a client sends a statement and its parameters where they are too long for a URL. Pure."""

from __future__ import annotations

import re
from urllib.parse import parse_qsl

from infra.embedded.engine.request import NOT_IMPLEMENTED, SYNTAX_ERROR, BadRequest


def is_form(content_type: str) -> bool:
    """Whether a body of this Content-Type is a form rather than a statement or data."""
    return content_type.startswith(("multipart/form-data", "application/x-www-form-urlencoded"))


def fields(content_type: str, body: bytes) -> list[tuple[str, str]]:
    """Names and values of a form's fields in order; a file (external data) is refused, the engine has no place for it."""
    try:
        return _fields(content_type, body)
    except UnicodeDecodeError as error:
        raise BadRequest(SYNTAX_ERROR, "The form is not UTF-8. (SYNTAX_ERROR)") from error


def _fields(content_type: str, body: bytes) -> list[tuple[str, str]]:
    if content_type.startswith("application/x-www-form-urlencoded"):
        return parse_qsl(body.decode(), keep_blank_values=True)
    boundary = re.search(r'boundary="?([^";]+)"?', content_type)
    if boundary is None:
        raise BadRequest(NOT_IMPLEMENTED, "The form has no boundary. (NOT_IMPLEMENTED)")
    found = []
    for part in body.split(b"--" + boundary.group(1).encode())[1:-1]:
        head, _, value = part.partition(b"\r\n\r\n")
        name = re.search(rb'name="([^"]*)"', head)
        if name is None or b"filename=" in head:
            raise BadRequest(NOT_IMPLEMENTED, "External data is not served by the embedded engine. (NOT_IMPLEMENTED)")
        found.append((name.group(1).decode(), value.removesuffix(b"\r\n").decode()))
    return found
