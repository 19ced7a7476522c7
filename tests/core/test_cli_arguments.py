"""The command line: options anywhere after the verb, exit codes, help that teaches, one sentence for what goes wrong."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer
from hypothesis import given
from hypothesis import strategies as st

from infra.cli import run
from infra.cli.app import ORDER, app
from infra.cli.arguments import hoisted

WORDS = st.lists(st.sampled_from(["send", "events", "f.jsonl", "--shift-to-now", "-", "x"]), min_size=1, max_size=5)


def verbs(group: Any, path: tuple[str, ...] = ()) -> dict[tuple[str, ...], Any]:
    """Every verb by its words."""
    found: dict[tuple[str, ...], Any] = {}
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            found |= verbs(command, (*path, name))
        else:
            found[*path, name] = command
    return found


VERBS = verbs(typer.main.get_command(app))


@given(words=WORDS, at=st.lists(st.integers(0, 5), min_size=3, max_size=3))
def test_shared_options_mean_the_same_wherever_they_stand(words: list[str], at: list[int]) -> None:
    """`--json`, `--dir D` and `--config=F`, put anywhere among the words, give the same arguments as behind them."""
    placed = [[word] for word in words]
    for option, position in zip((["--json"], ["--dir", "D"], ["--config=F"]), at, strict=True):
        placed.insert(min(position, len(placed)), option)
    flat = hoisted([word for part in placed for word in part])
    assert flat[: len(words)] == words
    assert sorted(flat[len(words) :]) == sorted(["--json", "--dir", "D", "--config=F"])
    assert flat[flat.index("--dir") + 1] == "D"


def test_nothing_behind_two_dashes_is_moved() -> None:
    """What follows `--` belongs to the verb, whatever it looks like."""
    assert hoisted(["sql", "--json", "--", "--json", "--dir"]) == ["sql", "--json", "--", "--json", "--dir"]
    assert hoisted(["--json"]) == ["--json"]
    assert hoisted([]) == []


@pytest.mark.parametrize("words", VERBS, ids=" ".join)
def test_every_verb_teaches_with_an_example_and_takes_json(words: tuple[str, ...]) -> None:
    """The help of each verb shows an invocation of that very verb, and each verb but `worker` takes `--json`."""
    command = VERBS[words]
    assert f"tidemark {' '.join(words)}" in command.help
    assert words == ("worker",) or any("--json" in parameter.opts for parameter in command.params)


def test_the_help_lists_every_verb_in_our_order() -> None:
    """No verb is missing from the order of the help."""
    assert {words[0] for words in VERBS} == set(ORDER)


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["--help"], 0),
        (["status", "--dir", "/nowhere/at/all"], 3),
        (["no-such-verb"], 2),
        (["send", "csv"], 2),
        (["send", "csv", "f.csv", "--type", "t", "--config", "/nowhere.toml"], 2),
        (["check", "--offline", "--config", "/nowhere.toml"], 2),
        (["explain", "acme", "--dir", "/nowhere"], 2),
        (["audit", "--dir", "/nowhere/at/all"], 3),
        (["audit", "--partition", "all"], 2),
        (["audit", "--no-archive", "--limit", "0"], 2),
        (["dead-letters", "show", "x", "--dir", "/nowhere"], 2),
        (["worker", "cook", "--config", "/nowhere.toml"], 2),
    ],
)
def test_exit_codes_and_no_traceback(arguments: list[str], code: int, capsys: pytest.CaptureFixture[str]) -> None:
    """Wrong use ends with 2, an absent stack with 3, each with a sentence on stderr and nothing else."""
    assert run(arguments) == code
    shown = capsys.readouterr()
    assert "Traceback" not in shown.err + shown.out
    assert code == 0 or shown.err.strip()
    assert code == 0 or not shown.out.strip()


def test_check_prints_faults_as_json_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`check --json` lists place, problem and remedy of each fault on stdout, and still exits 2."""
    path = tmp_path / "bad.toml"
    path.write_text('[kafka]\npartitions = 0\n[stripe]\nmode = "metered"\n')
    assert run(["check", "--json", "--offline", "--config", str(path)]) == 2
    found = json.loads(capsys.readouterr().out)
    assert {fault["place"] for fault in found["faults"]} == {"kafka.partitions", "stripe.mode"}
    assert all(fault["remedy"] for fault in found["faults"])


def test_init_writes_what_check_accepts_and_never_over_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`init` writes a file that `check` finds right; a second `init` refuses, `--force` overwrites."""
    path = tmp_path / "sub" / "tidemark.toml"
    assert run(["init", str(path)]) == 0
    assert run(["check", "--offline", "--config", str(path)]) == 0
    path.write_text("# mine\n")
    assert run(["init", str(path)]) == 2
    assert path.read_text() == "# mine\n"
    assert run(["init", str(path), "--force", "--json"]) == 0
    assert "--force" in capsys.readouterr().err


def test_help_needs_no_library_of_a_server() -> None:
    """`tidemark --help` loads neither Kafka, Faust, Stripe, ClickHouse nor pydantic: it answers at once."""
    code = (
        "import sys\nfrom infra.cli import run\nassert run(['--help']) == 0\n"
        "heavy = {'aiokafka', 'faust', 'stripe', 'clickhouse_connect', 'pydantic', 'chdb', 'aiohttp', 'msgspec', 'numpy'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=False, env={**os.environ, "PYTHONPATH": str(root)}
    )
    assert done.returncode == 0, done.stderr
