"""A document that names a command which does not exist is wrong, and so is a command that no document names."""

from __future__ import annotations

from tests.house import tree
from tests.house.commands import Verb, cli, document_faults, make_targets


def test_documents_name_real_commands() -> None:
    """Every `make` and `tidemark` command in a Markdown file exists, with every option it is given."""
    found = []
    for path, text in tree.texts().items():
        if path.endswith(".md"):
            found += [f"{path}: {fault}" for fault in document_faults(text, make_targets(), cli())]
    assert not found, "\n".join(found)


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
