"""What the checks of hazards leave to be ended: the one engine that some of them share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.hazards.archive import end_engine


@pytest.fixture(scope="package", autouse=True)
def one_engine() -> Iterator[None]:
    """The engine ends with the last test of this folder."""
    yield
    end_engine()
