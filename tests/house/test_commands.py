"""A document that names a command which does not exist is wrong, and so is a command that no document names."""

from __future__ import annotations

from tests.house import tree
from tests.house.commands import Verb, cli, document_faults, examples, has_placeholder, make_targets, parse_fault


def test_documents_name_real_commands() -> None:
    """Every `make` and `tidemark` command in a Markdown file exists, with every option it is given."""
    found = []
    for path, text in tree.texts().items():
        if path.endswith(".md"):
            found += [f"{path}: {fault}" for fault in document_faults(text, make_targets(), cli())]
    assert not found, "\n".join(found)


def test_every_example_is_a_whole_command() -> None:
    """Every command in a code block of README and docs, and in a verb's own help, is taken by the command line, down to its last argument."""
    whole = [example for example in examples() if example.must_parse and not has_placeholder(example.words)]
    assert len(whole) >= 80
    found = [f"{example.where}: {example.text}: {fault}" for example in whole if (fault := parse_fault(example.words)) is not None]
    assert not found, "\n".join(found)


def test_a_wrong_example_is_found() -> None:
    """A missing argument, an unknown option, a value of the wrong type and a verb that is none are each reported; what is right is not."""
    for wrong in ("explain acme --limit x", "dead-letters show", "dead-letters shows", "status --far", "dead-letters"):
        assert parse_fault(wrong.split()) is not None, wrong
    for right in ("status --json", "dead-letters show 2:1041", "adjustments --all"):
        assert parse_fault(right.split()) is None, right


def test_the_readme_shows_the_two_commands() -> None:
    """The README shows `make demo` and `make test`, the only two commands a newcomer needs."""
    readme = tree.texts()["README.md"]
    assert "make demo" in readme
    assert "make test" in readme


def test_every_make_target_is_explained() -> None:
    """Every target that users rely on is in the Makefile, and each but the maintainers' own has a line in `make help`."""
    text = tree.texts()["Makefile"]
    relied_on = {"help", "env", "demo", "test", "check", "bench", "chaos", "clean"}
    assert relied_on <= make_targets()
    silent = {line.split(":")[0] for line in text.splitlines() if line.split(":")[0] in relied_on and "## " not in line}
    assert silent <= {"chaos"}


def test_planted_faults_are_found() -> None:
    """An unknown target, verb or option in a code span or block is reported, and prose is not."""
    root = Verb("tidemark", verbs={"up": Verb("up", frozenset({"--dir"}))})
    text = "make it so, tidemark is nice\n`make nothing` and `.venv/bin/tidemark up --dir D`\n```\nmake demo LOG=x && tidemark up --far\n"
    assert list(document_faults(text + "tidemark down  # bye\n```\n", frozenset({"demo"}), root)) == [
        "line 2: `nothing` is no target of the Makefile",
        "line 4: --far is no option of `up`",
        "line 5: `down` is no verb of tidemark",
    ]
