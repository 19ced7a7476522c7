"""Whether a command that a document, a compose file or a script names is one that exists."""

from __future__ import annotations

import importlib
import re
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

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
