"""One letter in full: fields, headers, its bytes as text and as hex beside each other. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from infra.letters.advice import advice
from infra.letters.edits import Record
from infra.letters.listing import Seen, seen_json
from topics.catalog import EVENTS
from topics.instants import US_PER_MS, format_us

HEX_LINE_BYTES: Final = 16
SHOWN_BYTES: Final = 4096
"""Of the hex for a person; JSON has all of it."""


def text_of(data: bytes | None) -> str | None:
    """Bytes as text; what is no UTF-8 as backslashes, so that no two bytes look alike."""
    return None if data is None else data.decode("utf-8", "backslashreplace")


def letter_json(seen: Seen) -> dict[str, Any]:
    """Everything, with the exact bytes in hex."""
    letter = seen.letter
    return {
        **seen_json(seen),
        "advice": advice(letter.reason),
        "subject": letter.subject,
        "kafka_topic": EVENTS,
        "kafka_partition": letter.partition,
        "kafka_offset": letter.offset,
        "rejected_at": format_us(letter.rejected_at_ms * US_PER_MS),
        "key": text_of(letter.key),
        "key_hex": None if letter.key is None else letter.key.hex(),
        "headers": [{"name": name, "value": text_of(data), "value_hex": (data or b"").hex()} for name, data in letter.headers],
        "value": text_of(letter.value),
        "value_hex": "" if letter.value is None else letter.value.hex().upper(),
    }


def letter_lines(seen: Seen) -> tuple[dict[str, object], list[str]]:
    """Names with values, and then lines of text and hex."""
    said = letter_json(seen)
    names = ("id", "reason", "sentence", "state", "state_says", "customer", "source", "event_id", "type", "received_at", "rejected_at", "key")
    head: dict[str, object] = {name: said[name] for name in names}
    head["would have counted"] = "; ".join(f"{s['quantity']} {s['meter']} at {s['start']}" for s in said["would_have_counted"] or []) or "unknown"
    head["what to do"] = said["advice"]
    lines = [f"header {header['name']}: {header['value']}" for header in said["headers"]]
    value = seen.letter.value
    lines += ["", "value", "(none)" if value is None else text_of(value) or "(empty)"]
    if value:
        lines += ["", *hex_lines(value[:SHOWN_BYTES])]
        if len(value) > SHOWN_BYTES:
            lines.append(f"… {len(value) - SHOWN_BYTES} bytes more; --json has all of them")
    return head, lines


def hex_lines(data: bytes) -> Iterator[str]:
    """`00000000  7b 22 73 …  |{"s…|`, sixteen bytes a line."""
    for at in range(0, len(data), HEX_LINE_BYTES):
        part = data[at : at + HEX_LINE_BYTES]
        shown = "".join(chr(byte) if 32 <= byte < 127 else "." for byte in part)
        yield f"{at:08x}  {part.hex(' ').ljust(HEX_LINE_BYTES * 3 - 1)}  |{shown}|"


def change_lines(before: Record, after: Record | None) -> Iterator[str]:
    """What a fix changes: the lines before and after, or that nothing does."""
    if after is None:
        return
    if before == after:
        yield "  as it is"
        return
    if before.key != after.key:
        yield f"  - key   {text_of(before.key)}"
        yield f"  + key   {text_of(after.key)}"
    if before.value != after.value:
        yield f"  - {text_of(before.value)}"
        yield f"  + {text_of(after.value)}"
