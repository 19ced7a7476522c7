"""The receiver goes by the configuration as it is now, not as it was when it was started."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import pytest

from infra.settings import Settings, load_settings
from infra.webhooks.following import Following
from infra.webhooks.runner import Runner

METER = '[[meters]]\nslug = "calls"\nevent_type = "api"\nvalue = "count"\n'


def following(path: Path) -> Following:
    """One whose runner is simply the settings that it was made from."""

    def load() -> Settings:
        return load_settings(path, {})

    return Following(load(), load, lambda settings: cast("Runner", settings))


def customers(at: Following) -> list[str]:
    """Who is in the configuration that is followed."""
    return [customer.id for customer in cast("Settings", at.current()).customers]


def write(path: Path, text: str) -> None:
    """As an editor does: a new file takes the place of the old one."""
    beside = path.with_suffix(".new")
    beside.write_text(text, encoding="utf-8")
    beside.replace(path)


def test_a_customer_who_comes_into_the_file_counts_from_then_on(tmp_path: Path) -> None:
    """What is written into the file holds for the next webhook, and what is taken out holds no more."""
    path = tmp_path / "tidemark.toml"
    write(path, METER)
    at = following(path)
    assert customers(at) == []
    write(path, METER + '[[customers]]\nid = "acme"\n')
    assert customers(at) == ["acme"]
    write(path, METER)
    assert customers(at) == []


def test_a_faulty_file_changes_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Where the file has a fault, or is away for a moment, the last good configuration goes on; the fault is said once."""
    path = tmp_path / "tidemark.toml"
    write(path, METER + '[[customers]]\nid = "acme"\n')
    at = following(path)
    write(path, METER + "[[customers]]\nname = 1\n")
    assert customers(at) == customers(at) == ["acme"]
    assert len([record for record in caplog.records if "is not taken" in record.message]) == 1
    path.unlink()
    assert customers(at) == ["acme"]
    write(path, METER)
    assert customers(at) == []


def test_without_a_file_the_environment_holds(tmp_path: Path) -> None:
    """A receiver that was given no file has nothing to follow."""
    at = Following(load_settings(None, {}), lambda: load_settings(tmp_path / "never", {}), lambda settings: cast("Runner", settings))
    assert customers(at) == []
