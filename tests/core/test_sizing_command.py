"""`tidemark check --sizing` as it is typed: no server is asked, exit codes are those of SURFACES, JSON says where each number is from."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from infra.cli import run
from infra.sizing.load import FIELDS, option_of

FILE = """
[kafka]
partitions = 12
[stripe]
mode = "meters"
meter_calls_per_second = 7
[timing]
dedup = "1h"
[[meters]]
slug = "a"
event_type = "a"
window = "10m"
[[meters]]
slug = "b"
event_type = "b"
window = "1h"
"""


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A configuration, and nothing else that a command could find."""
    for name in ("TIDEMARK_DIR", "TIDEMARK_CONFIG"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "tidemark.toml"
    path.write_text(FILE, encoding="utf-8")
    return path


def test_json_has_load_figures_and_constants(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Each number of the load says whether it was stated, stands in the file or is assumed; each figure has unit and rule."""
    assert run(["check", "--sizing", "--events-per-s", "100", "--customers", "50", "--growth", "1", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["v"] == 1
    assert {name: (found["load"][name]["value"], found["load"][name]["from"]) for name in ("events_per_s", "window_s", "meters", "calls_per_s")} == {
        "events_per_s": (100, "stated"),
        "window_s": (600, "tidemark.toml"),
        "meters": (2, "tidemark.toml"),
        "calls_per_s": (7, "tidemark.toml"),
    }
    assert found["load"]["partitions"]["value"] == 12
    assert found["load"]["edge_room_s"]["value"] == 3_600  # meters take events until the draft is final
    assert found["figures"]["meter_workers"]["value"] == 1
    assert all(figure["rule"] and isinstance(figure["value"], int | float) for figure in found["figures"].values())
    assert found["misfits"] == []
    assert found["constants"]["ID_BYTES"] > 0


def test_every_number_has_an_option_and_every_option_is_read(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Each number of a load has an option of the command, and stating it changes that number and no other's origin."""
    for name, field in FIELDS.items():
        text = {"seconds": "600s", "share": "0.25", "count": "1k", "whole": "2", "factor": "2", "rate": "1"}[field.kind]
        text = {"worker_memory": "2G", "event_bytes": "300", "mean_events_per_s": "7"}.get(name, text)
        run(["check", "--sizing", "--meters", "2", option_of(name), text, "--json"])
        assert json.loads(capsys.readouterr().out)["load"][name]["from"] == "stated", name


def test_a_load_that_does_not_fit_ends_with_1_and_says_why(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 1, the figures on stdout and the sentence on stderr."""
    assert run(["check", "--sizing", "--events-per-s", "100", "--customers", "100k", "--meters", "1"]) == 1
    said = capsys.readouterr()
    assert "meter_workers" in said.out
    assert "deliveries cannot keep up" in said.err


def test_bad_values_end_with_2_all_at_once(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One line for each bad value; and a load without --sizing is refused."""
    assert run(["check", "--sizing", "--events-per-s", "many", "--window", "1y", "--late", "2"]) == 2
    said = capsys.readouterr().err
    assert [line.split(":")[0].strip() for line in said.splitlines()[1:]] == ["--events-per-s", "--window", "--late"]
    assert run(["check", "--events-per-s", "10"]) == 2
    assert "write `tidemark check --sizing" in capsys.readouterr().err
