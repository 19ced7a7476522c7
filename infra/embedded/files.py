"""Small files that are whole or not there: state, ports and secrets of a stack."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path
from typing import Any

from topics.errors import TidemarkError


class DamagedFile(TidemarkError):
    """A file of a stack's directory is not as we write it: nothing is guessed from what is left of it."""

    def __init__(self, path: Path, why: object) -> None:
        super().__init__(f"{path} is damaged ({why}): put a copy of it back, or use a fresh --dir")


def read_document(path: Path) -> dict[str, Any] | None:
    """The JSON object in a file, None where there is no such file. Raises DamagedFile."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError, RecursionError) as error:
        raise DamagedFile(path, error) from None
    if not isinstance(found, dict):
        raise DamagedFile(path, "it holds no JSON object")
    return found


def write_atomically(path: Path, text: str, mode: int = 0o644) -> None:
    """Replaces a file so that a reader (or a crash) sees the old text or the new, never a part; `mode` holds from its first byte on."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")  # mkstemp creates with 0600
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        Path(name).chmod(mode)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
