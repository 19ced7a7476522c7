"""The fault matrix names what exists: all 58 rows once, each with tests that are there or the capability that brings them."""

from __future__ import annotations

import ast
import re
from functools import cache

from tests.house import tree

MATRIX = tree.ROOT / "infra" / "docs" / "faults.md"
ROWS = [f"{part}{number}" for part, count in (("A", 22), ("B", 7), ("C", 14), ("D", 15)) for number in range(1, count + 1)]
NAMED = re.compile(r"`([\w/]+\.py)::(test_\w+)`")
LATER = re.compile(r"^later capability: \w+")


def rows(text: str) -> list[list[str]]:
    """The cells of each row of the tables."""
    lines = [line for line in text.splitlines() if re.match(r"\| [A-D]\d", line)]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]


def missing(found: list[list[str]]) -> list[str]:
    """What is wrong with the rows: ids, empty cells, tests that are not in the tree, rows that show nothing."""
    wrong = [] if [row[0] for row in found] == ROWS else ["the rows are not A1 to D15, each once and in order"]
    for row in found:
        if len(row) != 5 or not all(row):
            wrong.append(f"{row[0]}: it has {len(row)} cells, or an empty one")
            continue
        tests = NAMED.findall(row[4])
        if not tests and not LATER.search(row[4]):
            wrong.append(f"{row[0]}: neither a test nor a later capability")
        wrong += [f"{row[0]}: there is no {path}::{name}" for path, name in tests if name not in functions(path)]
        if NAMED.sub("", row[4]).strip(" ,") and tests:
            wrong.append(f"{row[0]}: something else than tests beside the tests")
    return wrong


@cache
def functions(path: str) -> frozenset[str]:
    """Names of the test functions of a file below tests/; none where there is no such file."""
    file = tree.ROOT / "tests" / path
    if not file.is_file():
        return frozenset()
    nodes = ast.walk(ast.parse(file.read_text()))
    return frozenset(node.name for node in nodes if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))


def test_every_row_names_what_shows_it() -> None:
    """All 58 faults are there once, and each names tests that exist, or in words the capability that brings it."""
    assert missing(rows(MATRIX.read_text())) == []


def test_the_check_of_the_matrix_can_fail() -> None:
    """A row that is gone, a test that is gone, a row without any: each is named."""
    good = rows(MATRIX.read_text())
    assert missing(good[1:])
    assert missing([[*good[0][:4], "`core/test_nothing.py::test_nothing`"], *good[1:]]) == ["A1: there is no core/test_nothing.py::test_nothing"]
    assert missing([[*good[0][:4], "we are sure"], *good[1:]]) == ["A1: neither a test nor a later capability"]
