"""What the repository as a whole may hold, and what it must."""

from __future__ import annotations

import re
from collections.abc import Iterator

from tests.house import tree

README_LINES = 100
"""One screen and a half: who needs more wants a folder's README or infra/docs."""
FOLDER_README_LINES = 60

# Written in pieces, so that this file does not name what it forbids.
MACHINE_PATHS = re.compile(r"(?<![\w.])/(" + "|".join(("wo" + "rk", "fa" + "rm", "ro" + "ot", "ho" + "me", "Us" + "ers")) + r")/[\w.]")
INDEX_HOSTS = re.compile(
    r"https?://(files|registry|proxy|sum|repo1?|deb|static|index)\.[a-z]|https?://[^\s]*/simple\b|"
    + "|".join(("py" + r"pi\.org", "python" + "hosted", r"maven\." + "org", r"repo\.maven" + r"\.apache", "npm" + r"js\.(org|com)")),
    re.IGNORECASE,
)
KEYS = re.compile(r"\b[rs]k_(live|test)_[0-9A-Za-z]{16,}|\bwhsec_[0-9A-Za-z]{16,}|-----BEGIN [A-Z ]*PRIVATE KEY-----|AKIA[0-9A-Z]{16}")


def matches(texts: dict[str, str], pattern: re.Pattern[str], what: str) -> Iterator[str]:
    """One line for every line of every text that the pattern finds."""
    for path, text in texts.items():
        for number, line in enumerate(text.splitlines(), 1):
            if pattern.search(line):
                yield f"{path}:{number}: {what}"


def misnumbered(paths: list[str]) -> Iterator[str]:
    """Migrations (any .sql in a folder named schema) whose names are not 0001_…, 0002_…, without a gap, in each folder."""
    folders: dict[str, list[str]] = {}
    for path in paths:
        folder, _, name = path.rpartition("/")
        if name.endswith(".sql") and folder.endswith("/schema"):
            folders.setdefault(folder, []).append(name)
    for folder, names in folders.items():
        for number, name in enumerate(sorted(names), 1):
            if not re.fullmatch(rf"{number:04d}_[a-z0-9_]+\.sql", name):
                yield f"{folder}/{name}: should be {number:04d}_<what_it_does>.sql"


def test_the_top_of_the_tree_is_the_picture() -> None:
    """Only the five folders, the eight named files and dot files stand at the top."""
    found = {path.split("/")[0] for path in tree.files()}
    assert {name for name in found if not name.startswith(".")} <= tree.TOP_LEVEL


def test_no_machine_no_index_no_key() -> None:
    """No committed file names a path of one machine, a host of a package registry, or anything shaped like a live secret."""
    texts = tree.texts()
    found = [
        *matches(texts, MACHINE_PATHS, "a path of one machine"),
        *matches(texts, INDEX_HOSTS, "names a package registry's host"),
        *matches(texts, KEYS, "looks like a secret"),
    ]
    assert not found, "\n".join(found)


def test_migrations_are_numbered_and_explained() -> None:
    """Migrations are numbered without a gap, and each begins with a comment that says why it is so."""
    found = list(misnumbered(list(tree.files())))
    sql = {path: text for path, text in tree.texts().items() if path.endswith(".sql")}
    found += [f"{path}: begins without a comment" for path, text in sql.items() if not text.startswith("--")]
    assert not found, "\n".join(found)


def test_every_folder_says_what_it_owns() -> None:
    """Each top folder has a short README that says what it owns and what it does not."""
    found = []
    for package in tree.PACKAGES:
        text = tree.texts().get(f"{package}/README.md", "")
        if "Owns" not in text or "Does not own" not in text:
            found.append(f"{package}/README.md: does not say what the folder owns and what it does not own")
        if len(text.splitlines()) > FOLDER_README_LINES:
            found.append(f"{package}/README.md: longer than {FOLDER_README_LINES} lines")
    assert not found, "\n".join(found)


def test_readme_fits() -> None:
    """The README has at most 100 lines and names every top folder."""
    text = tree.texts()["README.md"]
    assert len(text.splitlines()) <= README_LINES
    assert [package for package in tree.PACKAGES if f"`{package}/`" not in text] == []


def test_links_in_documents_lead_somewhere() -> None:
    """Every relative link in a Markdown file points to a file or folder that is there."""
    found = []
    for path, text in tree.texts().items():
        if not path.endswith(".md"):
            continue
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", text):
            if not (tree.ROOT / path).parent.joinpath(target).exists():
                found.append(f"{path}: {target} is not there")
    assert not found, "\n".join(found)


def test_changelog_keeps_its_form() -> None:
    """The changelog begins with Unreleased and groups its lines under the six headings of Keep a Changelog."""
    lines = tree.texts()["CHANGELOG.md"].splitlines()
    releases = [line for line in lines if line.startswith("## ")]
    groups = {line for line in lines if line.startswith("### ")}
    assert releases[0] == "## [Unreleased]"
    assert all(re.fullmatch(r"## \[\d+\.\d+\.\d+\] - \d{4}-\d\d-\d\d", line) for line in releases[1:])
    assert groups <= {f"### {name}" for name in ("Added", "Changed", "Deprecated", "Removed", "Fixed", "Security")}


def test_decisions_are_numbered() -> None:
    """Decision records are named by a four-digit number and a title, each number once, and have the headings of the template."""
    records = [path for path in tree.files() if path.startswith("infra/docs/decisions/") and path.endswith(".md")]
    names = [path.rsplit("/", 1)[1] for path in records]
    numbers = [name[:4] for name in names]
    headings = re.findall(r"^## .+$", tree.texts()["infra/docs/decisions/0000-template.md"], re.MULTILINE)
    assert all(re.fullmatch(r"\d{4}-[a-z0-9-]+\.md", name) for name in names), names
    assert len(set(numbers)) == len(numbers), names
    assert not [(path, heading) for path in records for heading in headings if heading not in tree.texts()[path]]


def test_planted_faults_are_found() -> None:
    """A machine's path, a registry's host, a secret and a gap in the migrations are each reported when planted."""
    assert list(matches({"a": "see /" + "root/x"}, MACHINE_PATHS, "p")) == ["a:1: p"]
    assert list(matches({"a": "x\nhttps://files." + "example.org"}, INDEX_HOSTS, "h")) == ["a:2: h"]
    assert list(matches({"a": "sk_" + "live_" + "a1B2" * 5}, KEYS, "k")) == ["a:1: k"]
    assert list(matches({"a": "`sk_test_…`, https://stripe.com, /tmp/x, a/home/b"}, MACHINE_PATHS, "p")) == []
    assert list(misnumbered(["a/schema/0001_x.sql", "a/schema/0003_y.sql"])) == ["a/schema/0003_y.sql: should be 0002_<what_it_does>.sql"]
