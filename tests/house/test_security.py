"""The security list names what exists: ten points, each with tests that are there."""

from __future__ import annotations

import re

from tests.house import tree
from tests.house.test_faults import NAMED, functions

LIST = tree.ROOT / "infra" / "docs" / "security.md"


def missing(text: str) -> list[str]:
    """What is wrong with the list: points that are gone, empty cells, rows without a test, tests that are not in the tree."""
    found = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in text.splitlines() if re.match(r"\| \d", line)]
    wrong = [] if [row[0] for row in found] == [str(number) for number in range(1, 11)] else ["the points are not 1 to 10, each once and in order"]
    for row in found:
        if len(row) != 5 or not all(row):
            wrong.append(f"{row[0]}: it has {len(row)} cells, or an empty one")
            continue
        tests = NAMED.findall(row[4])
        wrong += [] if tests else [f"{row[0]}: no test shows it"]
        wrong += [f"{row[0]}: there is no {path}::{name}" for path, name in tests if name not in functions(path)]
    return wrong


def test_every_point_names_what_shows_it() -> None:
    """All ten points are there once, and each names tests that exist."""
    assert missing(LIST.read_text()) == []


def test_the_check_of_the_list_can_fail() -> None:
    """A point that is gone and a test that is gone are each named."""
    text = LIST.read_text()
    assert missing("\n".join(line for line in text.splitlines() if not line.startswith("| 7 ")))
    assert missing(text.replace("test_no_stripe_object_is_logged", "test_nothing")) == ["9: there is no contract/test_security.py::test_nothing"]
