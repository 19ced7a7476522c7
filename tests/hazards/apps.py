"""A Faust app as a worker builds it, never started: what its settings and its consumer would be."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from infra import delivery
from infra.faust_app import build_app
from topics.catalog import EVENTS


def built_app() -> Any:
    """The app of a meter, with our delivery; in a loop, since Faust wants one."""
    folder = Path(tempfile.gettempdir()) / "tidemark-hazards"
    app = build_app("hazards", bootstrap="127.0.0.1:1", partitions=4, instance_id="hazards", session_timeout_s=6, datadir=folder)
    delivery.install(app, [EVENTS])
    return app
