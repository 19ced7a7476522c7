"""Options that many verbs share, declared once so that they read the same everywhere."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Dir = Annotated[
    Path | None,
    typer.Option("--dir", metavar="D", help="directory of an embedded stack (else TIDEMARK_DIR)", show_default=False),
]
Config = Annotated[
    Path | None,
    typer.Option("--config", metavar="F", help="configuration file (else TIDEMARK_CONFIG, else the stack's own)", show_default=False),
]
Json = Annotated[bool, typer.Option("--json", help="print JSON on stdout", show_default=False)]

START, SEND, SEE, REPAIR = "start", "send", "see", "repair"
"""Panels of `tidemark --help`, in the order in which a newcomer needs them."""
