"""Every command that README, the docs and the help texts show runs on a stack, or a table says why not and which test runs it."""

from __future__ import annotations

import re
import time
from pathlib import Path

import pytest

from infra.cli import run
from tests.house.commands import Example, examples, has_placeholder, parse_fault
from tests.system.conftest import NAMED
from tests.system.documented import ELSEWHERE, FINDS, rule
from tests.system.traffic import Message, event, rfc3339
from tests.system.world import World

TESTS = Path(__file__).parents[1]


def whole() -> list[Example]:
    """Each command once, in the order of the documents."""
    found = {
        example.text: example
        for example in examples()
        if example.words and not has_placeholder(example.words) and (example.must_parse or len(example.words) > 1)  # else a verb's name in a sentence
    }
    return [example for example in found.values() if parse_fault(example.words) is None]


def test_each_exception_names_a_test_that_is_there() -> None:
    """A documented command that does not run on the shared stack has a reason, is documented, and names a test that exists."""
    for start, elsewhere in ELSEWHERE.items():
        path, _, name = elsewhere.test.partition("::")
        assert (TESTS / path).exists(), f"{start}: {elsewhere.test}"
        assert not name or f"def {name}(" in (TESTS / path).read_text(encoding="utf-8"), f"{start}: {elsewhere.test}"
        assert elsewhere.why
    assert sum(rule(example.words, dict(ELSEWHERE)) is None for example in whole()) >= 40


@pytest.mark.system
def test_every_documented_command_runs(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each command as it is written ends as it should, says something, and never fails with a traceback; names stand for what this stack has."""
    monkeypatch.setenv("TIDEMARK_DIR", str(world.directory))
    monkeypatch.chdir(tmp_path)
    at = rfc3339(time.time() - 900)
    world.send(
        [
            Message(NAMED.encode(), event(NAMED, "documented-1", "api.request", None, at)),
            Message(NAMED.encode(), event(NAMED, "documented-2", "llm.request", '{"tokens": " 7 "}', at, "edge-1")),
        ]
    )
    world.command.run("settle")
    (letter,) = [row for row in world.command.json("dead-letters", "list", "--source", "edge-1") if row["event_id"] == "documented-2"]
    stands_for = {".tidemark": str(world.directory), "2026-11-03T10:00:00Z": at, "2026-11-03": at, "2:1041": letter["id"]}
    faults = []
    for example in whole():
        if rule(example.words, dict(ELSEWHERE)) is not None:
            continue
        capsys.readouterr()
        expected = FINDS.get(rule(example.words, dict(FINDS)) or "", (0,))
        code = run([stands_for.get(word, word) for word in example.words])
        said = capsys.readouterr()
        if code not in expected or re.search(r"Traceback|Error\b.*line \d+", said.err) or not (said.out or said.err):
            faults.append(f"{example.where}: {example.text}: exit code {code}\n{said.out[-500:]}\n{said.err[-800:]}")
    assert not faults, "\n\n".join(faults)
