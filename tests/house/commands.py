"""Whether a command that a document, a compose file or a script names is one that exists."""

from __future__ import annotations

import importlib
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any, NamedTuple

import typer
import typer.main

from tests.house import tree


def make_targets() -> frozenset[str]:
    """Targets of the Makefile."""
    return frozenset(re.findall(r"^([a-z]+):", tree.texts()["Makefile"], re.MULTILINE))


@dataclass(frozen=True)
class Verb:
    """One command: its options, and the verbs below it where it is a group."""

    name: str
    options: frozenset[str] = frozenset()
    verbs: Mapping[str, Verb] = field(default_factory=dict)


@cache
def cli() -> Verb | None:
    """The command line as infra.cli.app parses it, or None as long as that file is not there."""
    if "infra/cli/app.py" not in tree.files():
        return None
    return _verb(typer.main.get_command(importlib.import_module("infra.cli.app").app), "tidemark")


def _verb(command: Any, name: str) -> Verb:
    options = {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}
    below = {each: _verb(found, each) for each, found in getattr(command, "commands", {}).items()}
    return Verb(name, frozenset(options | {"--help"}), below)


def command_fault(words: list[str], root: Verb) -> str | None:
    """What is wrong with the words after `tidemark`: an unknown verb or option; placeholders (FILE, …, [..]) are arguments."""
    verb = root
    rest = list(words)
    while rest and verb.verbs and not rest[0].startswith("-"):
        if rest[0] not in verb.verbs:
            return f"`{rest[0]}` is no verb of {verb.name}"
        verb, rest = verb.verbs[rest[0]], rest[1:]
    for word in rest:
        option = word.split("=")[0].strip("[]")
        if option.startswith("--") and option not in verb.options:
            return f"{option} is no option of `{verb.name}`"
    return None


def documented(text: str) -> Iterator[tuple[int, str]]:
    """(line, command) of every `tidemark …` and `make …` in code spans and code blocks of a Markdown text."""
    in_block = False
    for number, line in enumerate(text.splitlines(), 1):
        if line.lstrip().startswith("```"):
            in_block = not in_block
            continue
        for piece in [line] if in_block else re.findall(r"`([^`]+)`", line):
            for found in re.finditer(r"(?:^|[\s/&;|])((?:tidemark|make) [^#&;|]*)", " " + piece):
                yield number, found[1].strip()


class Example(NamedTuple):
    """A whole command that a reader may copy: from a code block or span of a document, or from a verb's own help."""

    where: str
    words: tuple[str, ...]
    must_parse: bool

    @property
    def text(self) -> str:
        """As it is typed."""
        return shlex.join(("tidemark", *self.words))


def examples() -> list[Example]:
    """Every `tidemark …` command of README and `infra/docs/*.md`, and every example in a help text; spans only where they are whole commands."""
    found = [example for path, text in tree.texts().items() if _is_guide(path) for example in _of_document(path, text)]
    root = typer.main.get_command(importlib.import_module("infra.cli.app").app)
    return found + list(_of_help(root, "tidemark"))


def _is_guide(path: str) -> bool:
    return path == "README.md" or (path.startswith("infra/docs/") and path.count("/") == 2 and path.endswith(".md"))


def _of_document(path: str, text: str) -> Iterator[Example]:
    blocks = {number for number, line, in_block in _lines(text) if in_block}
    for number, command in documented(text):
        words = _words(command)
        if words[:1] == ["tidemark"] and not any(word.endswith(":") for word in words):  # `audit: clean` is what one said
            yield Example(f"{path}:{number}", tuple(words[1:]), number in blocks)


def _lines(text: str) -> Iterator[tuple[int, str, bool]]:
    in_block = False
    for number, line in enumerate(text.splitlines(), 1):
        if line.lstrip().startswith("```"):
            in_block = not in_block
        else:
            yield number, line, in_block


def _words(command: str) -> list[str]:
    try:
        return shlex.split(command)
    except ValueError:
        return []


def _of_help(command: Any, name: str) -> Iterator[Example]:
    """Lines of a help text that are commands; what stands after two spaces is said about them."""
    for line in (command.help or "").splitlines():
        typed = re.split(r"\s{2,}|\s[#&;|]", line.strip())[0].strip()
        if re.match(r"([A-Z_]+=\S+ )*tidemark ", typed):
            words = _words(typed)
            yield Example(f"{name} --help", tuple(words[words.index("tidemark") + 1 :]), must_parse=True)
    for below, found in getattr(command, "commands", {}).items():
        yield from _of_help(found, f"{name} {below}")


PLACEHOLDER = re.compile(r".*(…|\[|\]).*|[A-Z][A-Z_]*", re.DOTALL)
"""A word that stands for something: FILE, CELL, "SELECT …"."""


def has_placeholder(words: Sequence[str]) -> bool:
    """Whether a command names something that a reader has to put in."""
    return any(PLACEHOLDER.fullmatch(word) for word in words)


def parse_fault(words: Sequence[str]) -> str | None:
    """Why the command line does not take these words, every argument, type and missing option included; None where it does."""
    command: Any = typer.main.get_command(importlib.import_module("infra.cli.app").app)
    rest, parent = list(words), None
    while True:
        try:
            context = command.make_context(command.name or "tidemark", list(rest), parent=parent)
        except typer.Exit:
            return None
        except Exception as error:  # noqa: BLE001 - typer keeps its own copy of click's errors in a private package
            return str(getattr(error, "message", error)) or type(error).__name__
        below = [*getattr(context, "_protected_args", []), *context.args]
        if not getattr(command, "commands", None) or not below:
            return None if not getattr(command, "no_args_is_help", False) or below else "a verb is missing"
        if below[0] not in command.commands:
            return f"{below[0]} is no verb"
        command, rest, parent = command.commands[below[0]], below[1:], context


def document_faults(text: str, targets: frozenset[str], root: Verb | None) -> Iterator[str]:
    """One sentence for each command of a document that does not exist."""
    for number, command in documented(text):
        try:
            program, *words = shlex.split(command)
        except ValueError:
            continue
        if program == "make":
            named = [word for word in words if re.fullmatch(r"[a-z]+", word)]
            yield from (f"line {number}: `{word}` is no target of the Makefile" for word in named if word not in targets)
        elif root is not None and re.fullmatch(r"[a-z-]+", words[0] if words else ""):
            fault = command_fault(words, root)
            if fault:
                yield f"line {number}: {fault}"
